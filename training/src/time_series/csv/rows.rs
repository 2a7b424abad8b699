//! Splits a file into rows of cells, in bounded memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::format::count;

/// The longest row, in bytes. A file without ends of lines, or with a quote that is never closed, is one row.
const MAX_BYTES: u64 = 32 << 20;
/// The most cells of a row.
const MAX_CELLS: usize = 1 << 20;

/// The cells of one row.
pub(super) struct Row {
    /// The line on which the row begins, from 1.
    pub line: u64,
    pub cells: csv::StringRecord,
}

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
    /// The bytes that the current row may still have.
    left: Rc<Cell<u64>>,
    begun: bool,
}

impl<R: Read> Rows<io::Chain<Limited<R>, &'static [u8]>> {
    pub fn new(input: R) -> Self {
        let left = Rc::new(Cell::new(MAX_BYTES));
        let input = Limited { input, left: Rc::clone(&left) };
        // Only LF ends a row, which allows the reader to count lines. A CR before it is trimmed as white space.
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .trim(csv::Trim::All)
            .from_reader(input.chain(&b"\n"[..]));
        Self { reader, left, begun: false }
    }

    pub fn next(&mut self) -> Result<Option<Row>> {
        let mut cells = csv::StringRecord::new();
        let mut gap = None;
        loop {
            let before = self.reader.position().clone();
            self.left.set(MAX_BYTES);
            let read = self.reader.read_record(&mut cells).map_err(|error| match error.kind() {
                csv::ErrorKind::Utf8 { .. } => anyhow!("found bytes that are not UTF-8, expected text"),
                _ => error.into(),
            });
            let split = || format!("row {}: cannot split it into cells", before.line());
            if !read.with_context(split)? {
                return Ok(None);
            }
            ensure!(
                cells.len() <= MAX_CELLS,
                "row {}: found {}, expected at most {MAX_CELLS}",
                before.line(),
                count(cells.len() as u64, "cell")
            );
            let after = self.reader.position();
            let inside = cells.iter().flat_map(str::bytes).filter(|&byte| byte == b'\n').count() as u64;
            // The csv crate skips empty lines, but not lines with only a CR, which are one byte longer.
            let passed = (after.line() - before.line()).saturating_sub(1 + inside);
            let line = before.line() + passed;
            let blank = after.byte() - before.byte() - passed <= 2 && cells.iter().eq([""]);
            if passed > 0 || blank {
                gap.get_or_insert(before.line());
            }
            if blank {
                continue;
            }
            if let (Some(gap), 1, true) = (gap, cells.len(), self.begun) {
                bail!("row {gap} is blank, expected a value in each row of a file with one column");
            }
            self.begun = true;
            return Ok(Some(Row { line, cells }));
        }
    }
}
