//! Aligned columns.

use super::text::plain;

/// Rows of cells. The last column is as wide as it likes.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without a headline.
    pub(super) const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// A table with a headline.
    pub(super) fn with_head(head: &[&str]) -> Self {
        let mut table = Self::new();
        table.row(head.iter().map(|cell| (*cell).to_owned()));
        table
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// A line a row, each after `indent`, three spaces between columns.
    pub(super) fn render(&self, indent: &str) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut shown = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            shown.push_str(indent);
            shown.push_str(cells.collect::<Vec<_>>().join("   ").trim_end());
            shown.push('\n');
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_where_text_ends() {
        let mut table = Table::with_head(&["A", "LONGER", "C"]);
        table.row(["é".to_owned(), "x".to_owned(), "tail".to_owned()]);
        table.row(["wide".to_owned(), String::new(), String::new()]);
        assert_eq!(table.render("  "), "  A      LONGER   C\n  é      x        tail\n  wide\n");
    }

    #[test]
    fn a_line_end_in_a_cell_cannot_fake_a_row() {
        let mut table = Table::new();
        table.row(["a\nb".to_owned()]);
        assert_eq!(table.render(""), "a\\nb\n");
    }
}
