//! A table for people: columns as wide as their widest cell, two spaces apart, a style for each cell.

use anstyle::Style;

use crate::output::HEAD;

/// A cell: its text on one line, and its style.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in a style.
    pub(crate) fn new(text: impl Into<String>, style: Style) -> Self {
        let text: String = text.into();
        // Words of workloads and providers land here: no control character may reach a terminal.
        let text = text
            .trim_end()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        Self { text, style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Style::new())
    }
}

/// A table being filled.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// With headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self {
            rows: vec![headings.iter().map(|heading| Cell::new(*heading, HEAD)).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Whether it has headings only.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(Cell::width)
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut owed = 0;
            for (cell, width) in row.iter().zip(&widths) {
                if !cell.text.is_empty() {
                    line.push_str(&" ".repeat(owed));
                    let style = cell.style;
                    line.push_str(&format!("{style}{}{style:#}", cell.text));
                    owed = 0;
                }
                owed += width - cell.width() + 2;
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_end_in_spaces() {
        let mut table = Table::new(["NAME", "STATE", "NOTE"]);
        table.row(["a".into(), Cell::new("ready", Style::new()), "".into()]);
        table.row(["longer-name".into(), "".into(), "why\u{1b}[2J not\n".into()]);
        expect![[r#"
            NAME         STATE  NOTE
            a            ready
            longer-name         why [2J not
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&table.text()).to_string());
    }
}
