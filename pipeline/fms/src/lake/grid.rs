//! A table for people: columns as wide as they have to be.

use std::fmt::Write as _;

/// The lines of a table, of which the first has the heads. The last column is not filled up.
pub(super) fn grid<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |cell: usize| rows.iter().map(|row| row[cell].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
