//! The programs, started as a user would.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Child, Command, Output, Stdio},
};

/// The `tenantry` or `migration` program, without our environment variables.
pub fn program(name: &str) -> Command {
    let mut command = Command::new(tests::programs().join(name));
    for (name, _) in std::env::vars() {
        if name.starts_with("TENANTRY_") || name == "DATABASE_URL" || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // Any free port; callers give no keys unless a test is about them.
    command.env("TENANTRY_LISTEN", "127.0.0.1:0").env("TENANTRY_ANONYMOUS", "true");
    command.stdin(Stdio::null());
    command
}

/// `program` on a database, with these arguments.
pub fn program_on(name: &str, url: &str, arguments: &[&str]) -> Command {
    let mut command = program(name);
    command.env("DATABASE_URL", url).args(arguments);
    command
}

/// Output and exit code of a program.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> Self {
        Self::with(command.output().unwrap())
    }

    /// From `output`.
    pub fn with(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Waits for the end of a program that was started with pipes.
    pub fn ended(child: Child) -> Self {
        Self::with(child.wait_with_output().unwrap())
    }

    /// Runs a program on a database to its end.
    pub fn on(name: &str, url: &str, arguments: &[impl AsRef<OsStr>]) -> Self {
        Self::of(program_on(name, url, &[]).args(arguments))
    }

    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Asserts that stderr contains all of these.
    #[track_caller]
    pub fn complains<const N: usize>(self, texts: [&str; N]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in {self:#?}");
        }
        self
    }

    /// Asserts that stdout contains all of these.
    #[track_caller]
    pub fn says<const N: usize>(self, texts: [&str; N]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "no {text:?} in {self:#?}");
        }
        self
    }
}

/// Runs a command to its end, with this input from a pipe.
pub fn answer(command: &mut Command, typed: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that reads nothing may have ended.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    Ran::ended(child)
}

/// Runs a command to its end in a pseudo-terminal with this input; stdout and stderr are merged. Uses
/// `script`, which is in the base system of Debian and macOS.
pub fn at_terminal(command: &Command, typed: &str) -> Ran {
    answer(&mut in_terminal(command), typed)
}

/// The command that runs `command` in a pseudo-terminal.
pub fn in_terminal(command: &Command) -> Command {
    let mut words = vec![command.get_program().to_str().unwrap()];
    words.extend(command.get_args().map(|word| word.to_str().unwrap()));
    let mut script = Command::new("script");
    if cfg!(target_os = "linux") {
        script.args(["-qec", &format!("'{}'", words.join("' '")), "/dev/null"]);
    } else {
        script.args(["-q", "/dev/null"]).args(words);
    }
    script.env("TERM", "xterm");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script
}
