use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::{GenerateError, NewName};

/// The folder with the sources of a migration crate.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn find(crate_dir: Option<&Path>) -> Result<Self, GenerateError> {
        let below = |dir: &Path| Self { path: dir.join("src") };
        if let Some(dir) = crate_dir {
            let folder = below(dir);
            let list = folder.list();
            return if folder.holds_migrator() {
                Ok(folder)
            } else {
                Err(GenerateError::NotACrate { list })
            };
        }
        let here = env::current_dir().map_err(|error| GenerateError::io(".", error))?;
        let mut candidates = here.ancestors().flat_map(|dir| [dir.join("migration"), dir.into()]);
        candidates
            .find_map(|dir| Some(below(&dir)).filter(Self::holds_migrator))
            .ok_or(GenerateError::NoCrate { from: here })
    }

    /// The file that lists the migrations. A link leads to the file itself, to be replaced there.
    pub(super) fn list(&self) -> PathBuf {
        let list = self.path.join("lib.rs");
        fs::canonicalize(&list).unwrap_or(list)
    }

    /// Other crates have a file `src/lib.rs` too.
    fn holds_migrator(&self) -> bool {
        fs::read_to_string(self.list()).is_ok_and(|text| text.contains("fn migrations("))
    }

    /// The name of the new migration's module: after the newest there is, also when the clock of
    /// whoever made that one was ahead.
    pub(super) fn next(&self, name: &NewName, today: &str) -> Result<String, GenerateError> {
        let entries = fs::read_dir(&self.path).map_err(|e| GenerateError::io(&self.path, e))?;
        let mut day = today.to_owned();
        let mut number = 0;
        for entry in entries {
            let file = entry.map_err(|error| GenerateError::io(&self.path, error))?.path();
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let Some((its_day, its_number, its_name)) = parts(&stem) else { continue };
            if its_name == name.as_str() {
                return Err(GenerateError::Exists { name: name.to_string(), file });
            }
            if its_day > day.as_str() {
                its_day.clone_into(&mut day);
                number = its_number;
            } else if its_day == day {
                number = number.max(its_number);
            }
        }
        Ok(format!("m{day}_{:06}_{name}", number + 1))
    }
}

/// Day, number and name of `mYYYYMMDD_NNNNNN_name`.
fn parts(stem: &str) -> Option<(&str, u32, &str)> {
    let mut parts = stem.strip_prefix('m')?.splitn(3, '_');
    let (day, number, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_day = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    if is_day { Some((day, number.parse().ok()?, name)) } else { None }
}
