//! Tenants out of CSV (RFC 4180): a header line, then one tenant per record.

use std::io::{self, Read};

use csv::{ByteRecord, ReaderBuilder};
use thiserror::Error;

use super::{
    newlines::Newlines,
    row::{Fields, Row, Unreadable, split},
};

const COLUMNS: [&str; 4] = ["slug", "name", "domain", "tags"];

/// What is wrong with the header line.
#[derive(Debug, Error, PartialEq, Eq)]
pub(in crate::cli) enum HeaderError {
    #[error("it is empty: the first line must name the columns, such as slug,name,domain,tags")]
    Empty,
    #[error("its header line has no column slug; the first line must name the columns")]
    NoSlug,
    #[error(
        "its header line has an unknown column {0:?}; the columns are slug, name, domain and tags"
    )]
    Unknown(String),
    #[error("its header line has the column {0} twice")]
    Twice(&'static str),
}

/// One tenant after the other.
pub(super) struct Records<R> {
    reader: csv::Reader<Newlines<R>>,
    /// What each cell of a record is.
    columns: Vec<&'static str>,
    record: ByteRecord,
}

impl<R: Read> Records<R> {
    /// Reads the header line.
    pub(super) fn new(input: R) -> io::Result<Result<Self, HeaderError>> {
        let mut builder = ReaderBuilder::new();
        // A record with too many or too few cells is this program's to refuse.
        builder.has_headers(false).flexible(true);
        let mut reader = builder.from_reader(Newlines::new(input));
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record)? {
            return Ok(Err(HeaderError::Empty));
        }
        Ok(columns(&record).map(|columns| Self { reader, columns, record }))
    }

    fn row(&mut self) -> Row {
        let end = self.reader.position().byte();
        // The record's last byte: the end of its line, or what stands before the end of the file.
        let last = self.reader.get_mut().line_of(end.saturating_sub(1));
        let breaks = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        Row {
            line: last.saturating_sub(breaks as u64),
            end,
            fields: fields(&self.record, &self.columns),
        }
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<io::Result<Row>> {
        loop {
            match self.reader.read_byte_record(&mut self.record) {
                // Spreadsheets leave lines behind that have nothing but commas.
                Ok(true) if self.record.iter().all(|cell| cell.trim_ascii().is_empty()) => {}
                Ok(true) => return Some(Ok(self.row())),
                Ok(false) => return None,
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

fn columns(header: &ByteRecord) -> Result<Vec<&'static str>, HeaderError> {
    let mut columns = Vec::new();
    for cell in header {
        let cell = String::from_utf8_lossy(cell);
        let Some(column) = COLUMNS.into_iter().find(|column| *column == cell.trim()) else {
            return Err(HeaderError::Unknown(cell.chars().take(80).collect()));
        };
        if columns.contains(&column) {
            return Err(HeaderError::Twice(column));
        }
        columns.push(column);
    }
    if columns.contains(&"slug") { Ok(columns) } else { Err(HeaderError::NoSlug) }
}

fn fields(record: &ByteRecord, columns: &[&'static str]) -> Result<Fields, Unreadable> {
    let cells = || columns.iter().zip(record);
    let slug = || {
        let (_, slug) = cells().find(|(column, _)| **column == "slug")?;
        Some(String::from_utf8_lossy(slug).into_owned())
    };
    let refuse = |reason: String| Err(Unreadable { slug: slug(), reason });
    if record.len() != columns.len() {
        let (has, wanted) = (record.len(), columns.len());
        return refuse(format!(
            "the number of its cells is {has}, of the header line's {wanted}; put what has commas \
             in it in quotes"
        ));
    }
    let mut fields = Fields::default();
    for (column, cell) in cells() {
        let Ok(text) = str::from_utf8(cell) else {
            return refuse(format!("its {column} is not UTF-8; save the file as UTF-8"));
        };
        if text.contains('\n') {
            return refuse(format!("its {column} goes over several lines; is a quote not closed?"));
        }
        match *column {
            "slug" => fields.slug = text.to_owned(),
            "name" => fields.name = Some(text.to_owned()).filter(|name| !name.trim().is_empty()),
            "domain" => fields.domains = split(text),
            _ => fields.tags = split(text),
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        let records = Records::new(text.as_bytes()).unwrap().unwrap();
        records.map(Result::unwrap).collect()
    }

    #[test]
    fn a_record_is_told_by_the_line_that_an_editor_shows() {
        for (text, lines) in [
            ("slug\na\nb\n", vec![2, 3]),
            ("slug\r\na\r\nb", vec![2, 3]),
            ("\u{feff}slug\n\n\na\n\nb\n\n", vec![4, 6]),
            ("\r\n\r\nslug,name\r\n\r\na,\r\n,\r\nb,", vec![5, 7]),
            ("slug,name\n\"a\",\"two\n\nlines\"\nb,\n", vec![2, 5]),
            ("slug,name\r\na,\"two\r\nlines\"\r\n\r\nb,\"more\r\nlines\"", vec![2, 5]),
        ] {
            let found = rows(text);
            assert_eq!(found.iter().map(|row| row.line).collect::<Vec<_>>(), lines, "{text:?}");
            assert!(found.is_sorted_by_key(|row| row.end), "{text:?}");
            assert!(found[1].end <= text.len() as u64, "{text:?}");
        }
    }

    #[test]
    fn cells_may_be_quoted_and_hold_several_values() {
        let text = "tags, domain ,slug,name\n\
                    \"a; b\",x.example.org y.example.org,acme,\"Acme \"\"Ltd\"\", London\"\n\
                    ,,plain,\n";
        let found: Vec<Fields> = rows(text).into_iter().map(|row| row.fields.unwrap()).collect();
        let acme = Fields {
            slug: "acme".to_owned(),
            name: Some("Acme \"Ltd\", London".to_owned()),
            domains: ["x.example.org", "y.example.org"].map(str::to_owned).to_vec(),
            tags: ["a", "b"].map(str::to_owned).to_vec(),
        };
        let plain = Fields { slug: "plain".to_owned(), ..Fields::default() };
        assert_eq!(found, [acme, plain]);
    }

    #[test]
    fn a_record_that_cannot_be_read_does_not_hold_up_the_next() {
        let text = b"slug,name\na,A,B\nb\nc,\xff\nd,\"open\ne,E\n";
        let records = Records::new(&text[..]).unwrap().unwrap();
        let reasons = records.map(|row| {
            let unreadable = row.unwrap().fields.unwrap_err();
            (unreadable.slug.unwrap(), unreadable.reason)
        });
        let reasons: Vec<_> = reasons.collect();
        for ((slug, reason), (wanted, part)) in reasons.iter().zip([
            ("a", "number of its cells is 3, of the header line's 2"),
            ("b", "number of its cells is 1"),
            ("c", "its name is not UTF-8"),
            ("d", "its name goes over several lines; is a quote not closed?"),
        ]) {
            assert!(slug == wanted && reason.contains(part), "{slug}: {reason}");
        }
        assert_eq!(reasons.len(), 4);
    }

    #[test]
    fn a_wrong_header_is_refused_by_name() {
        for (text, wanted) in [
            ("", HeaderError::Empty),
            ("\n\n", HeaderError::Empty),
            ("name,domain\n", HeaderError::NoSlug),
            ("slug,plan\n", HeaderError::Unknown("plan".to_owned())),
            ("Slug\n", HeaderError::Unknown("Slug".to_owned())),
            ("slug,name,slug\n", HeaderError::Twice("slug")),
        ] {
            let found = Records::new(text.as_bytes()).unwrap().err();
            assert_eq!(found, Some(wanted), "{text:?}");
        }
    }
}
