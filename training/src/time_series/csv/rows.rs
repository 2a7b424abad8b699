//! Splits a file into rows of cells, in bounded memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};

use super::sniff::Dialect;
use crate::format::count;

/// The longest row, in bytes. A file without ends of lines, or with a quote that is never closed, is one row.
const MAX_BYTES: u64 = 32 << 20;
/// The most cells of a row.
const MAX_CELLS: usize = 1 << 20;

/// A reader that fails after a number of bytes, which is reset before each row.
pub(super) struct Limited<R> {
    input: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            return Err(io::Error::other(format!("found no end of the row within {} MiB", MAX_BYTES >> 20)));
        }
        let read = self.input.read(buffer)?;
        self.left.set(self.left.get().saturating_sub(read as u64));
        Ok(read)
    }
}

/// The rows that are not blank, with their line numbers.
pub(super) struct Rows<R> {
    reader: csv::Reader<R>,
    /// The lines before those of the reader.
    skipped: u64,
    /// The bytes that the current row may still have.
    left: Rc<Cell<u64>>,
    begun: bool,
    has_comments: bool,
}

/// The rows of a reader whose rows are limited in length.
pub(super) type LimitedRows<R> = Rows<io::Chain<Limited<R>, &'static [u8]>>;

impl<R: Read> Rows<io::Chain<Limited<R>, &'static [u8]>> {
    /// Returns the rows of `input`, whose first line is number `skipped + 1` of the file.
    pub fn new(input: R, dialect: &Dialect) -> Self {
        let left = Rc::new(Cell::new(MAX_BYTES));
        let input = Limited { input, left: Rc::clone(&left) };
        let reader = dialect.reader().buffer_capacity(1 << 16).from_reader(input.chain(&b"\n"[..]));
        Self {
            reader,
            skipped: dialect.skip as u64,
            left,
            begun: false,
            has_comments: dialect.comment.is_some(),
        }
    }

    /// Returns the number of lines before those of the reader.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Reads the next row into `cells`. Returns the line on which it begins, from 1, or `None` after the last row.
    pub fn next(&mut self, cells: &mut csv::ByteRecord) -> Result<Option<u64>> {
        let mut gap = None;
        loop {
            let (line, byte) = (self.reader.position().line(), self.reader.position().byte());
            let place = self.skipped + line;
            self.left.set(MAX_BYTES);
            let read = self.reader.read_byte_record(cells);
            if !read.with_context(|| format!("row {place}: cannot split it into cells"))? {
                return Ok(None);
            }
            ensure!(
                cells.len() <= MAX_CELLS,
                "row {place}: found {}, expected at most {MAX_CELLS}",
                count(cells.len() as u64, "cell")
            );
            let after = self.reader.position();
            // Lines beyond one are in quoted cells, or were passed over: empty lines and comments.
            let passed = match after.line() - line {
                0 | 1 => 0,
                lines => {
                    let inside = cells.iter().flatten().filter(|&&byte| byte == b'\n').count() as u64;
                    (lines - 1).saturating_sub(inside)
                }
            };
            let blank =
                cells.len() == 1 && cells[0].trim_ascii().is_empty() && after.byte() - byte - passed <= 2;
            if passed > 0 && !self.has_comments || blank {
                gap.get_or_insert(place);
            }
            if blank {
                continue;
            }
            if let (Some(gap), 1, true) = (gap, cells.len(), self.begun) {
                bail!("row {gap} is blank, expected a value in each row of a file with one column");
            }
            self.begun = true;
            return Ok(Some(place + passed));
        }
    }
}
