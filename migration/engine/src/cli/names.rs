/// How messages name the commands of an application.
#[derive(Debug, Clone)]
pub(super) struct CommandNames {
    /// This command: `migration`, or `library migration`.
    pub(super) migration: String,
    /// The command that has the subcommand `tenant`, if it is known.
    pub(super) application: Option<String>,
}

impl CommandNames {
    /// A command line of this command.
    pub(super) fn migration(&self, words: &str) -> String {
        format!("{} {words}", self.migration)
    }

    /// A command line of `tenant`.
    pub(super) fn tenant(&self, words: &str) -> String {
        let application = self.application.as_deref().unwrap_or("APPLICATION");
        format!("{application} tenant {words}")
    }
}

/// The file name of this executable, for a command without a name.
#[must_use]
pub fn executable_name() -> String {
    let file = std::env::args_os().next();
    let name = file.as_deref().map(std::path::Path::new).and_then(std::path::Path::file_stem);
    name.and_then(std::ffi::OsStr::to_str).unwrap_or("command").to_owned()
}
