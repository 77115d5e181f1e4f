use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use super::{
    args::{Format, ImportArgs},
    csv::Records,
    jsonl::Objects,
    row::Row,
};
use crate::cli::error::Error;

/// An open file.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Length in bytes, unless it is a pipe.
    pub(super) size: Option<u64>,
    pub(super) rows: Box<dyn Iterator<Item = io::Result<Row>> + Send>,
}

impl Source {
    /// Opens the file and reads a CSV header.
    pub(super) fn open(args: &ImportArgs) -> Result<Self, Error> {
        let format = args.format()?;
        let path = if args.is_stdin() { "standard input".into() } else { args.file.clone() };
        let failed = |source| Error::File { path: path.clone(), source };
        let (input, size): (Box<dyn Read + Send>, _) = if args.is_stdin() {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(&args.file).map_err(failed)?;
            let kept = file.metadata().map_err(failed)?;
            if kept.is_dir() {
                return Err(failed(io::ErrorKind::IsADirectory.into()));
            }
            (Box::new(file), kept.is_file().then_some(kept.len()))
        };
        let rows: Box<dyn Iterator<Item = _> + Send> = match format {
            Format::Csv => {
                let records = Records::new(input).map_err(failed)?;
                let header = |source| Error::Header { path: path.clone(), source };
                Box::new(records.map_err(header)?)
            }
            Format::Jsonl | Format::Tar => Box::new(Objects::new(input)),
        };
        Ok(Self { path, size, rows })
    }
}
