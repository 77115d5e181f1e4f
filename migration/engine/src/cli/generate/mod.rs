//! `migration generate`: a new file beside the migrator's `lib.rs`, which lists it; with `--shared`, in
//! the folder `shared`, beside its `mod.rs`.

mod register;
mod template;

use std::{
    env,
    fs::{self, File, Permissions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use sea_orm::prelude::ChronoUtc;
use tempfile::{Builder, NamedTempFile};
use thiserror::Error;

/// `migration generate`
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Name of the migration in snake case. `create_books` starts with a table, `add_title_to_books`
    /// with a column.
    #[arg(value_parser = parse_name)]
    name: String,
    /// Directory of the migration crate [default: found from the current directory upwards].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Create a migration of shared tables, which exist once, in the module `shared` of the crate.
    #[arg(long)]
    shared: bool,
}

#[derive(Debug, Error)]
enum GenerateError {
    #[error(
        "no migration crate in {0:?} or above (a directory with src/lib.rs that contains a \
         migrator); go to the workspace, or use --dir"
    )]
    NoCrate(PathBuf),
    #[error("{0:?} does not exist or contains no migrator; --dir is the migration crate")]
    NotACrate(PathBuf),
    #[error("migration {0:?} already exists: {1:?}; choose another name")]
    Exists(String, PathBuf),
    #[error("cannot list {1} in {0:?}: no `vec![…]` in `fn migrations`; nothing was written")]
    NoList(PathBuf, String),
    #[error("{0:?}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// Creates the migration and prints its path.
pub(super) fn run(arguments: &GenerateArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let source = source_dir(arguments.dir.as_deref())?;
    let folder = match arguments.shared {
        true => Folder::shared(&source),
        false => Folder::tenants(source.clone()),
    };
    let created = folder.create()?;
    let generated = generate(&arguments.name, &folder);
    if created && generated.is_err() {
        // Nothing is left behind.
        let _ = fs::remove_dir_all(&folder.path);
    }
    let file = generated?;
    let mut out = io::stdout().lock();
    writeln!(out, "wrote {}", file.display())?;
    writeln!(out, "registered in {}", folder.list.display())?;
    if created {
        let list = migrator_file(&source.join("lib.rs"));
        write!(out, "\nAdd to {}:\n\n{}", list.display(), template::SHARED_USE)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder of migrations, and the file that lists them.
struct Folder {
    path: PathBuf,
    list: PathBuf,
}

impl Folder {
    fn tenants(source: PathBuf) -> Self {
        Self { list: migrator_file(&source.join("lib.rs")), path: source }
    }

    fn shared(source: &Path) -> Self {
        let (path, beside) = (source.join("shared"), source.join("shared.rs"));
        let list = if beside.exists() { beside } else { path.join("mod.rs") };
        Self { list: migrator_file(&list), path }
    }

    /// Creates a missing folder with an empty migrator. Returns whether it did.
    fn create(&self) -> Result<bool, GenerateError> {
        let io = |error| GenerateError::Io(self.list.clone(), error);
        if self.list.exists() {
            fs::create_dir_all(&self.path).map_err(io)?;
            return Ok(false);
        }
        fs::create_dir_all(&self.path).map_err(io)?;
        let mut file = File::create_new(&self.list).map_err(io)?;
        file.write_all(template::SHARED_MIGRATOR.as_bytes()).map_err(io)?;
        Ok(true)
    }
}

fn parse_name(name: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && name.chars().all(allowed) && name.len() <= 100 {
        return Ok(name.to_owned());
    }
    Err("use at most 100 letters a-z, digits and _, and start with a letter, such as \
         add_title_to_books"
        .to_owned())
}

/// Writes `mYYYYMMDD_NNNNNN_name.rs` and lists it, or changes nothing. Returns the file.
fn generate(name: &str, folder: &Folder) -> Result<PathBuf, GenerateError> {
    let Folder { path: folder, list } = folder;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| GenerateError::Io(path, error)
    };
    // Serialises concurrent commands, which number their files one after the other.
    let lock = File::open(folder).map_err(io(folder))?;
    lock.lock().map_err(io(folder))?;

    let module = next_module(folder, name)?;
    let text = fs::read_to_string(list).map_err(io(list))?;
    let permissions = fs::metadata(list).map_err(io(list))?.permissions();
    let listed = register::register(&text, &module)
        .ok_or_else(|| GenerateError::NoList(list.clone(), module.clone()))?;
    let file = folder.join(format!("{module}.rs"));
    let new_file = temporary(folder, &template::fill(name), &permissions).map_err(io(&file))?;
    // Beside the list, which it replaces.
    let beside = list.parent().unwrap_or(folder);
    let new_list = temporary(beside, &listed, &permissions).map_err(io(list))?;
    new_file.persist_noclobber(&file).map_err(|it| io(&file)(it.error))?;
    if let Err(failed) = new_list.persist(list) {
        let _ = fs::remove_file(&file);
        return Err(io(list)(failed.error));
    }
    Ok(file)
}

fn temporary(folder: &Path, text: &str, permissions: &Permissions) -> io::Result<NamedTempFile> {
    let mut file = Builder::new().prefix(".generate").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(permissions.clone())?;
    Ok(file)
}

/// The `src` directory of the migration crate.
fn source_dir(crate_dir: Option<&Path>) -> Result<PathBuf, GenerateError> {
    let contains_migrator = |folder: &PathBuf| {
        let list = migrator_file(&folder.join("lib.rs"));
        fs::read_to_string(list).is_ok_and(|text| text.contains("fn migrations("))
    };
    if let Some(dir) = crate_dir {
        let folder = Some(dir.join("src")).filter(contains_migrator);
        return folder.ok_or_else(|| GenerateError::NotACrate(dir.join("src/lib.rs")));
    }
    let here = env::current_dir().map_err(|error| GenerateError::Io(".".into(), error))?;
    let candidates = here.ancestors().flat_map(|dir| [dir.join("migration"), dir.to_owned()]);
    let found = candidates.map(|dir| dir.join("src")).find(contains_migrator);
    found.ok_or(GenerateError::NoCrate(here))
}

/// The file that lists the migrations: a symbolic link is resolved, so that it is kept.
fn migrator_file(list: &Path) -> PathBuf {
    fs::canonicalize(list).unwrap_or_else(|_| list.to_owned())
}

/// The name of the new module, which sorts after all others, even if their dates are in the future.
fn next_module(folder: &Path, name: &str) -> Result<String, GenerateError> {
    let failed = |error| GenerateError::Io(folder.to_owned(), error);
    let (mut day, mut number) = (ChronoUtc::now().format("%Y%m%d").to_string(), 0);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let Some((its_day, its_number, its_name)) = parts(&stem) else { continue };
        if its_name == name {
            return Err(GenerateError::Exists(name.to_owned(), file));
        }
        if its_day > day.as_str() {
            (day, number) = (its_day.to_owned(), its_number);
        } else if its_day == day {
            number = number.max(its_number);
        }
    }
    Ok(format!("m{day}_{:06}_{name}", number + 1))
}

/// Day, number and name of `mYYYYMMDD_NNNNNN_name`.
fn parts(stem: &str) -> Option<(&str, u32, &str)> {
    let mut parts = stem.strip_prefix('m')?.splitn(3, '_');
    let (day, number, name) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    let is_day = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    is_day.then_some((day, number, name))
}
