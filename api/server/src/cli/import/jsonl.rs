//! Tenants from JSON Lines: one object per line.

use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;
use serde_json::Value;

use super::row::{Fields, Row, Unreadable, split};

/// Objects of a JSON Lines file as rows.
pub(super) struct Objects<R> {
    reader: BufReader<R>,
    line: u64,
    end: u64,
}

impl<R: Read> Objects<R> {
    pub(super) fn new(input: R) -> Self {
        Self { reader: BufReader::new(input), line: 0, end: 0 }
    }
}

impl<R: Read> Iterator for Objects<R> {
    type Item = io::Result<Row>;

    fn next(&mut self) -> Option<io::Result<Row>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match self.reader.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.end += count as u64,
                Err(error) => return Some(Err(error)),
            }
            self.line += 1;
            let mut text = bytes.as_slice();
            if self.line == 1 {
                text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
            }
            let text = text.trim_ascii();
            if !text.is_empty() {
                return Some(Ok(Row { line: self.line, end: self.end, fields: fields(text) }));
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    slug: String,
    name: Option<String>,
    domain: Option<Texts>,
    domains: Option<Texts>,
    tags: Option<Texts>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn all(texts: Option<Self>) -> Vec<String> {
        match texts {
            None => Vec::new(),
            Some(Self::One(text)) => split(&text),
            Some(Self::Many(texts)) => texts,
        }
    }
}

fn fields(text: &[u8]) -> Result<Fields, Unreadable> {
    // serde would accept a list of the values.
    if !text.starts_with(b"{") {
        return Err(Unreadable { slug: None, reason: "not a JSON object".to_owned() });
    }
    match serde_json::from_slice::<Object>(text) {
        Ok(object) => {
            let mut domains = Texts::all(object.domain);
            domains.extend(Texts::all(object.domains));
            let tags = Texts::all(object.tags);
            Ok(Fields { slug: object.slug, name: object.name, domains, tags })
        }
        Err(error) => {
            let value: Option<Value> = serde_json::from_slice(text).ok();
            let slug = value.and_then(|value| Some(value["slug"].as_str()?.to_owned()));
            Err(Unreadable { slug, reason: reason(&error) })
        }
    }
}

/// Without the line number, which is always 1 here.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line 1 ").map_or(text.as_str(), |(text, _)| text);
    if error.is_data() {
        text.to_owned()
    } else {
        format!("not JSON: {text} at column {}", error.column())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_keys_in_any_order_and_strings_or_lists() {
        let text = "\u{feff}{\"slug\":\"a\",\"name\":\"A\",\"domain\":\"x.org\",\"tags\":\"eu; b\"}\r\n\r\n\
                    {\"tags\":[\"c\"],\"domains\":[\"y.org\",\"z.org\"],\"slug\":\"b\",\"name\":null}";
        let rows: Vec<Row> = Objects::new(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(rows[1].end, text.len() as u64);
        let all = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let [a, b] = [0, 1].map(|index| rows[index].fields.as_ref().unwrap());
        assert_eq!((&a.name, &a.domains), (&Some("A".to_owned()), &all(&["x.org"])));
        assert_eq!(a.tags, all(&["eu", "b"]));
        assert_eq!(
            (&b.name, &b.domains, &b.tags),
            (&None, &all(&["y.org", "z.org"]), &all(&["c"]))
        );
    }

    #[test]
    fn reports_the_slug_of_an_invalid_line() {
        for (line, slug, part) in [
            ("[\"acme\"]", None, "not a JSON object"),
            ("slug", None, "not a JSON object"),
            ("{\"slug\":", None, "not JSON: EOF while parsing a value at column 8"),
            ("{\"slug\":\"a\"} x", None, "not JSON: trailing characters at column 14"),
            ("{\"name\":\"A\"}", None, "missing field `slug`"),
            ("{\"slug\":1}", None, "invalid type: integer `1`, expected a string"),
            ("{\"slug\":\"a\",\"plan\":1}", Some("a"), "unknown field `plan`"),
            ("{\"slug\":\"a\",\"slug\":\"b\"}", Some("b"), "duplicate field `slug`"),
            ("{\"slug\":\"a\",\"tags\":{}}", Some("a"), "expected a string or a list of strings"),
        ] {
            let error = fields(line.as_bytes()).unwrap_err();
            assert_eq!(error.slug.as_deref(), slug, "{line}");
            assert!(error.reason.contains(part), "{line}: {}", error.reason);
        }
    }
}
