//! Tenants from CSV (RFC 4180): a header line, then one tenant per record.

use std::io::{self, Chain, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use thiserror::Error;

use super::row::{Fields, Row, Unreadable, split};

const COLUMNS: [&str; 4] = ["slug", "name", "domain", "tags"];

/// An invalid header line.
#[derive(Debug, Error, PartialEq, Eq)]
pub(in crate::cli) enum HeaderError {
    #[error(
        "the file is empty; its first line must name the columns, such as slug,name,domain,tags"
    )]
    Empty,
    #[error("the header line has no column `slug`; the first line must name the columns")]
    NoSlug,
    #[error(
        "the header line has an unknown column {0:?}; the columns are slug, name, domain and tags"
    )]
    Unknown(String),
    #[error("the header line has the column `{0}` twice")]
    Twice(&'static str),
}

/// Input with LF at line ends, where a spreadsheet has written CR alone ("CSV (Macintosh)").
struct LineEnds<R> {
    inner: R,
    /// Whether lines end with CR alone; known after the first bytes with a CR.
    cr: Option<bool>,
    /// Number of quotes so far.
    quotes: u64,
}

impl<R: Read> Read for LineEnds<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let bytes = &mut buffer[..length];
        self.quotes += bytes.iter().filter(|byte| **byte == b'"').count() as u64;
        // The LF of a CRLF at the end of these bytes may be in the next ones.
        if self.cr.is_none() && bytes.iter().rev().skip(1).any(|byte| *byte == b'\r') {
            self.cr = Some(!bytes.contains(&b'\n'));
        }
        if self.cr == Some(true) {
            bytes.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
        }
        Ok(length)
    }
}

/// Records of a CSV file as rows.
pub(super) struct Records<R> {
    reader: csv::Reader<Chain<LineEnds<R>, &'static [u8]>>,
    /// Column of each cell of a record.
    columns: Vec<&'static str>,
    record: ByteRecord,
}

impl<R: Read> Records<R> {
    /// Reads the header line.
    pub(super) fn new(input: R) -> io::Result<Result<Self, HeaderError>> {
        let mut builder = ReaderBuilder::new();
        // Records with too many or too few cells are rejected one by one. Each line ends with LF,
        // so that the reader's count of lines is exact; a CR before it is removed here.
        builder.has_headers(false).flexible(true).terminator(Terminator::Any(b'\n'));
        let input = LineEnds { inner: input, cr: None, quotes: 0 }.chain(&b"\n"[..]);
        let (reader, record) = (builder.from_reader(input), ByteRecord::new());
        let mut records = Self { reader, columns: Vec::new(), record };
        if !records.read()? {
            return Ok(Err(HeaderError::Empty));
        }
        Ok(columns_of(&records.record).map(|columns| Self { columns, ..records }))
    }

    /// Reads the next record that is not blank. Spreadsheets leave lines with nothing but commas.
    fn read(&mut self) -> io::Result<bool> {
        while self.reader.read_byte_record(&mut self.record)? {
            if self.record.iter().any(|cell| !cell.trim_ascii().is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn row(&self) -> Row {
        let end = self.reader.position();
        let breaks = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        // The line end behind the last record is in its last cell if a quote is not closed.
        let is_closed = self.reader.get_ref().get_ref().0.quotes.is_multiple_of(2)
            || self.record.iter().next_back().is_none_or(|cell| !cell.ends_with(b"\n"));
        Row {
            line: end.line().saturating_sub(breaks + u64::from(is_closed)),
            end: end.byte(),
            fields: fields(&self.record, &self.columns),
        }
    }
}

impl<R: Read> Iterator for Records<R> {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<io::Result<Row>> {
        self.read().map(|found| found.then(|| self.row())).transpose()
    }
}

fn columns_of(header: &ByteRecord) -> Result<Vec<&'static str>, HeaderError> {
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
        Some(String::from_utf8_lossy(slug).trim_end_matches('\r').to_owned())
    };
    let refuse = |reason: String| Err(Unreadable { slug: slug(), reason });
    if record.len() != columns.len() {
        let (has, wanted) = (record.len(), columns.len());
        return refuse(format!(
            "expected {wanted} cells, found {has}; quote values that contain commas"
        ));
    }
    let mut fields = Fields::default();
    for (column, cell) in cells() {
        let cell = cell.strip_suffix(b"\r").unwrap_or(cell);
        let Ok(text) = str::from_utf8(cell) else {
            return refuse(format!("{column} is not UTF-8; save the file as UTF-8"));
        };
        if text.contains('\n') {
            return refuse(format!("{column} spans several lines; is a quote not closed?"));
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
    fn counts_lines_as_an_editor_does() {
        for (text, lines) in [
            ("slug\na\nb\n", vec![2, 3]),
            ("slug\r\na\r\nb", vec![2, 3]),
            ("slug,name\ra,A\r\rb,B", vec![2, 4]),
            ("\u{feff}slug\n\n\na\n\nb\n\n", vec![4, 6]),
            ("\r\n\r\nslug,name\r\n\r\na,\r\n,\r\nb,", vec![5, 7]),
            ("slug,name\n\"a\",\"two\n\nlines\"\nb,\n", vec![2, 5]),
            ("slug,name\na,\nb,\"open\nc,C\n", vec![2, 3]),
            ("slug,name\na,\n\n\nb,\"open\nc,C", vec![2, 5]),
            ("slug,name\r\na,\r\nb,\"open\r\nc,C\r\n\r\n", vec![2, 3]),
            ("slug,name\na,5\" pipe\nb,\"two\nlines\"", vec![2, 3]),
            ("slug,name\r\na,\"two\r\nlines\"\r\n\r\nb,\"more\r\nlines\"", vec![2, 5]),
        ] {
            let found = rows(text);
            assert_eq!(found.iter().map(|row| row.line).collect::<Vec<_>>(), lines, "{text:?}");
            assert!(found.is_sorted_by_key(|row| row.end), "{text:?}");
            assert!(found[1].end <= text.len() as u64 + 1, "{text:?}");
        }
    }

    #[test]
    fn parses_quoted_cells_and_several_values() {
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
    fn reads_on_after_an_invalid_record() {
        let text = b"slug,name\na,A,B\nb\nc,\xff\nd,\"open\ne,E\n";
        let records = Records::new(&text[..]).unwrap().unwrap();
        let reasons = records.map(|row| {
            let unreadable = row.unwrap().fields.unwrap_err();
            (unreadable.slug.unwrap(), unreadable.reason)
        });
        let reasons: Vec<_> = reasons.collect();
        for ((slug, reason), (wanted, part)) in reasons.iter().zip([
            ("a", "expected 2 cells, found 3"),
            ("b", "expected 2 cells, found 1"),
            ("c", "name is not UTF-8"),
            ("d", "name spans several lines; is a quote not closed?"),
        ]) {
            assert!(slug == wanted && reason.contains(part), "{slug}: {reason}");
        }
        assert_eq!(reasons.len(), 4);
    }

    #[test]
    fn rejects_invalid_headers() {
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
