use comfy_table::{Table, presets};

/// Formats rows as columns that are separated by two spaces. The header may be empty.
#[must_use]
pub fn table(header: Vec<&str>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    if !header.is_empty() {
        table.set_header(header);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    #[test]
    fn aligns_columns() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = super::table(vec!["A", "B"], [row("long", "x"), row("", "y")]);
        assert_eq!(text, "A     B\nlong  x\n      y");
    }
}
