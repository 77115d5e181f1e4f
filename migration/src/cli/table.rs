use comfy_table::{Table, presets};

/// Rows in columns, for a terminal: no lines, two blanks between columns.
#[must_use]
pub fn table<const N: usize>(
    header: Option<[&str; N]>,
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    if let Some(header) = header {
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
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let text = super::table(Some(["A", "B"]), [row("long", "x"), row("", "y")]);
        assert_eq!(text, "A     B\nlong  x\n      y");
    }
}
