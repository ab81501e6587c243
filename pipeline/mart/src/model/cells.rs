//! Rows as a table of texts, as people write and read them: names between `|`, and a line for each row.

use std::fmt;

/// A table of texts. A cell without text is null.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cells {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with a cell for each column.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Cells {
    /// Reads a table. An error has the number of its line, from 0 on.
    pub(crate) fn read(text: &str) -> Result<Self, (usize, String)> {
        let mut cells = Self::default();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let row = line.split('|').map(|cell| Some(cell.trim().to_owned()).filter(|cell| !cell.is_empty()));
            let row: Vec<Option<String>> = row.collect();
            if cells.columns.is_empty() {
                let names: Option<Vec<String>> = row.into_iter().collect();
                cells.columns = names.ok_or((number, "a column of the table has no name".to_owned()))?;
            } else if row.len() == cells.columns.len() {
                cells.rows.push(row);
            } else {
                let (found, expected) = (row.len(), cells.columns.len());
                return Err((number, format!("the row has {found} cells, and the table {expected} columns")));
            }
        }
        if cells.columns.is_empty() {
            return Err((0, "the table has no line with the names of its columns".to_owned()));
        }
        Ok(cells)
    }
}

impl fmt::Display for Cells {
    /// Aligned, and read again as the same table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.columns.iter().map(String::as_str).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect());
        let lines: Vec<Vec<&str>> = [names].into_iter().chain(rows).collect();
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for line in &lines {
            let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join(" | ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_without_text_are_null() {
        let cells = Cells::read("\nid | speed\n1  |\n2  | 3.5\n").expect("a table");
        assert_eq!(cells.rows, [[Some("1".to_owned()), None], [Some("2".to_owned()), Some("3.5".to_owned())]]);
        assert_eq!(Cells::read("a | b\n1\n"), Err((1, "the row has 1 cells, and the table 2 columns".to_owned())));
        assert!(Cells::read("a | \n").is_err() && Cells::read("\n").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(rows in prop::collection::vec(prop::array::uniform2("[a-z0-9.:-]{0,6}"), 0..5)) {
            let cell = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
            // A row of nulls in a table of one column would be a line without a text.
            let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
            let cells = Cells { columns: vec!["a".to_owned(), "b".to_owned()], rows };
            prop_assert_eq!(Cells::read(&cells.to_string()), Ok(cells));
        }
    }
}
