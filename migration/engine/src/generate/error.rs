use std::{io, path::PathBuf};

use thiserror::Error;

/// Why no migration was made. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is no migration crate here.
    #[error(
        "no migration crate at {from:?} or above it (a folder with src/lib.rs that holds a migrator); \
         go to the workspace, or name the crate with --dir"
    )]
    NoCrate {
        /// Where it was looked for.
        from: PathBuf,
    },

    /// The folder that was named holds no migrator.
    #[error("{list:?} does not exist or holds no migrator; --dir names the migration crate")]
    NotACrate {
        /// The file that should be there.
        list: PathBuf,
    },

    /// There is a migration of this name.
    #[error("there is a migration {name:?} already: {file:?}; choose another name")]
    Exists {
        /// The name.
        name: String,
        /// Its file.
        file: PathBuf,
    },

    /// The list of migrations is not written in the usual way.
    #[error(
        "{list:?} has no `vec![…]` in `fn migrations`, so {module} cannot be listed there; nothing \
         was written"
    )]
    NoPlace {
        /// The file that lists the migrations.
        list: PathBuf,
        /// The new migration.
        module: String,
    },

    /// A file could not be read or written.
    #[error("{path:?}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl GenerateError {
    pub(super) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}
