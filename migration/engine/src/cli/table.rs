use comfy_table::{Table, presets};

/// Rows in columns, for a terminal: no lines, two blanks between columns. Without a header only
/// the rows.
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
    fn columns_are_as_wide_as_their_longest_cell() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = super::table(vec!["A", "B"], [row("long", "x"), row("", "y")]);
        assert_eq!(text, "A     B\nlong  x\n      y");
    }
}
