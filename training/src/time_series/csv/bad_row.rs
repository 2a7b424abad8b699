//! Explains rows that cannot be read.

use std::io::Read;

use anyhow::anyhow;

use super::number::{Na, Value, value};
use super::rows::LimitedRows;
use super::table::Table;

/// The most rows after an error in which a footer is looked for.
const FOOTER: usize = 5;

/// A row that cannot be read.
pub(super) struct BadRow {
    pub line: u64,
    /// Whether it is the first one below the names.
    pub is_first: bool,
    /// Whether it is the first one of the file, and was not taken for the names.
    pub is_header: bool,
    /// Whether it has more cells than the first one.
    pub is_wider: bool,
    /// Whether it has a number.
    pub has_number: bool,
    /// Whether it starts with #.
    pub is_comment: bool,
}

impl BadRow {
    pub fn new(table: &Table, named: bool, line: u64, cells: &csv::ByteRecord) -> Self {
        let is_number = |cell: &[u8]| {
            !matches!(value(cell, &table.separators, &Na::default()), None | Some(Value::Missing))
        };
        Self {
            line,
            is_first: named && table.rows == 0,
            is_header: !named && table.rows == 0,
            is_wider: cells.len() > table.names.len(),
            has_number: cells.iter().any(is_number),
            is_comment: cells.get(0).is_some_and(|cell| cell.trim_ascii().starts_with(b"#")),
        }
    }

    /// Adds to an error of the row what helps if it is no data. `rows` are those after it.
    pub fn explain<R: Read>(&self, error: &anyhow::Error, rows: &mut LimitedRows<R>) -> anyhow::Error {
        if self.is_comment {
            return anyhow!("{error:#}; if lines that start with # are comments, try --comment '#'");
        }
        let mut cells = csv::ByteRecord::new();
        let after = (0..FOOTER).take_while(|_| rows.next(&mut cells).is_ok_and(|row| row.is_some())).count();
        if self.line > 3 && after < FOOTER {
            let footer = after + 1;
            return anyhow!(
                "{error:#}; if the last {} no data, try --skip_footer {footer}",
                if footer == 1 { "row is".into() } else { format!("{footer} rows are") }
            );
        }
        if self.is_header && !self.is_wider {
            anyhow!("{error:#}; if the first row has the column names, try --header true")
        } else if self.is_wider {
            anyhow!("{error:#}; if the table begins there, try --skip_rows {}", self.line - 1)
        } else if self.is_first && !self.has_number {
            anyhow!("{error:#}; if the row has units, try --units_row")
        } else {
            anyhow!("{error:#}")
        }
    }
}
