use std::io;

use comfy_table::{ColumnConstraint, Row, Table, Width, presets};
use terminal_size::terminal_size_of;

/// Space between two columns.
const GAP: u16 = 2;

/// Room in which a shortened column is still of use.
const MIN_ROOM: u16 = 12;

/// Formats rows as columns that are separated by two spaces. The header may be empty.
#[must_use]
pub fn table(header: Vec<&str>, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    if !header.is_empty() {
        table.set_header(header);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.trim_fmt()
}

/// Formats rows as [`table`] does. If standard output is a terminal that is too narrow, and
/// the table is not to be `wide`, columns without content are left out, and others are shortened or
/// left out, the last ones first, and named below the table.
#[must_use]
pub fn table_that_fits(header: &[&str], rows: Vec<Vec<String>>, wide: bool) -> String {
    match terminal_size_of(io::stdout()) {
        Some((width, _)) if !wide => fitted(header, rows, width.0),
        _ => table(header.to_vec(), rows),
    }
}

fn fitted(header: &[&str], rows: Vec<Vec<String>>, width: u16) -> String {
    let mut all = Table::new();
    all.set_header(header).add_rows(&rows);
    let widths = all.column_max_content_widths();
    let total: u32 = widths.iter().map(|it| u32::from(it.saturating_add(GAP))).sum();
    if total.saturating_sub(GAP.into()) <= width.into() {
        return table(header.to_vec(), rows);
    }
    let (mut shown, mut incomplete, mut used) = (Vec::new(), Vec::new(), 0_u16);
    for (index, &content) in widths.iter().enumerate() {
        let room = width.saturating_sub(used);
        let is_empty = rows.iter().all(|row| row.get(index).is_none_or(String::is_empty));
        let taken = match index {
            0 => content,
            _ if is_empty => continue,
            _ if content <= room => content,
            _ => {
                incomplete.push(header[index]);
                if room < MIN_ROOM {
                    continue;
                }
                room
            }
        };
        shown.push((index, taken));
        used = used.saturating_add(taken).saturating_add(GAP);
    }
    let text = shortened(header, &rows, &shown);
    match incomplete.len() {
        0 => text,
        _ => format!("{text}\n(not shown in full: {}; use --wide)", incomplete.join(", ")),
    }
}

/// Only these columns, each of this width.
fn shortened(header: &[&str], rows: &[Vec<String>], shown: &[(usize, u16)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_truncation_indicator("…");
    table.set_header(shown.iter().map(|(index, _)| header[*index]));
    for row in rows {
        let mut cells = Row::from(shown.iter().map(|(index, _)| &row[*index]));
        cells.max_height(1);
        table.add_row(cells);
    }
    for (column, (_, width)) in table.column_iter_mut().zip(shown) {
        column.set_padding((0, GAP));
        let width = Width::Fixed(width.saturating_add(GAP));
        column.set_constraint(ColumnConstraint::Absolute(width));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[[&str; 3]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn aligns_columns() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = table(vec!["A", "B"], [row("long", "x"), row("", "y")]);
        assert_eq!(text, "A     B\nlong  x\n      y");
    }

    #[test]
    fn leaves_out_empty_columns_and_shortens_those_that_do_not_fit() {
        let header = ["ONE", "TWO", "THREE"];
        let cells = [["aaaa", "b", "c"], ["a", "bbbb bbbb bbbb", "c"]];
        let fit = |cells: &[[&str; 3]], width| fitted(&header, rows(cells), width);
        let whole = "ONE   TWO             THREE\naaaa  b               c\na     bbbb bbbb bbbb  c";
        assert_eq!(fit(&cells, 27), whole);
        let without =
            "ONE   TWO\naaaa  b\na     bbbb bbbb bbbb\n(not shown in full: THREE; use --wide)";
        assert_eq!(fit(&cells, 26), without);
        let short = fit(&cells, 18);
        assert!(short.contains("\na     bbbb") && short.contains('…'), "{short}");
        assert!(short.ends_with("\n(not shown in full: TWO, THREE; use --wide)"), "{short}");
        assert!(short.lines().take(3).all(|line| line.chars().count() <= 18), "{short}");
        // A long column leaves room for a short one behind it, where none is left for itself.
        let without = "ONE   THREE\naaaa  c\na     c\n(not shown in full: TWO; use --wide)";
        assert_eq!(fit(&cells, 11), without);
        let without = "ONE\naaaa\na\n(not shown in full: TWO, THREE; use --wide)";
        assert_eq!(fit(&cells, 1), without);
        assert_eq!(fit(&[["a", "", "c"]], 11), "ONE  THREE\na    c");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let text = fitted(&["A", "B", "C"], rows(&[["\u{6f22}\u{5b57}", "b", "c"]]), 9);
        assert_eq!(text.lines().last(), Some("(not shown in full: C; use --wide)"));
    }
}
