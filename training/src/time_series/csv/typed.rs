//! Reads files with typed cells, which are Parquet files and workbooks, as the text that they would have as CSV.

use std::io::{self, Cursor, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use super::CsvConfig;
use crate::process;

mod parquet;
mod time;
mod workbook;

/// The most bytes of a file with typed cells, which is read into memory.
const MAX_BYTES: u64 = 4 << 30;

/// The kinds of files with typed cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// A Parquet file. It has the names of its columns.
    Parquet,
    /// A workbook of Excel, an archive of XML files.
    Workbook,
}

/// A table that is written as CSV with commas, some rows at a time.
trait Rows {
    /// Appends the next rows to `text`. Returns false after the last row.
    fn write(&mut self, text: &mut Vec<u8>) -> Result<bool>;
}

impl Typed {
    /// Recognizes a file by its first bytes.
    pub fn of(start: &[u8]) -> Option<Self> {
        match start {
            [b'P', b'A', b'R', b'1', ..] => Some(Self::Parquet),
            [b'P', b'K', 3, 4, ..] => Some(Self::Workbook),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Parquet => "a Parquet file",
            Self::Workbook => "an .xlsx workbook",
        }
    }

    /// Returns the text of a file. Appends what was recognized or left out to `notes`, one sentence each.
    ///
    /// # Errors
    /// Fails if the file is damaged, too large, or has several sheets of which `config` names none, and for flags that only a text
    /// can have.
    pub fn text(
        self,
        input: impl Read,
        config: &CsvConfig,
        notes: &mut Vec<String>,
    ) -> Result<Box<dyn Read>> {
        self.check_flags(config)?;
        let mut bytes = Vec::new();
        input.take(MAX_BYTES + 1).read_to_end(&mut bytes).context("cannot read it")?;
        ensure!(
            bytes.len() as u64 <= MAX_BYTES,
            "it is {} of more than {} GiB, expected at most that; try it as CSV",
            self.name(),
            MAX_BYTES >> 30
        );
        notes.push(format!("the file is {}", self.name()));
        let rows = without_panic(|| -> Result<Box<dyn Rows>> {
            match self {
                Self::Parquet => Ok(Box::new(parquet::Table::open(Bytes::from(bytes), notes)?)),
                Self::Workbook => Ok(Box::new(workbook::Table::open(Cursor::new(bytes), config, notes)?)),
            }
        })?;
        Ok(Box::new(Text { rows, text: Vec::new(), at: 0 }))
    }

    /// Fails for flags that have no effect on the file.
    fn check_flags(self, config: &CsvConfig) -> Result<()> {
        let parquet = self == Self::Parquet;
        let given = [
            ("delimiter", config.delimiter.is_some()),
            ("encoding", config.encoding.is_some()),
            ("comment", config.comment.is_some()),
            ("decimal", parquet && config.decimal.is_some()),
            ("thousands", parquet && config.thousands.is_some()),
            ("sheet", parquet && config.sheet.is_some()),
            ("header", parquet && config.header.is_some()),
            ("skip_rows", parquet && config.skip_rows > 0),
            ("skip_footer", parquet && config.skip_footer > 0),
            ("units_row", parquet && config.units_row),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
            bail!("--{flag} has no effect on {}; try it without this flag", self.name());
        }
        Ok(())
    }
}

/// The text of a table.
struct Text {
    rows: Box<dyn Rows>,
    /// The rows that are written, of which `at` bytes are read.
    text: Vec<u8>,
    at: usize,
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() {
            self.text.clear();
            self.at = 0;
            let mut more = true;
            while more && self.text.is_empty() {
                let write = || self.rows.write(&mut self.text);
                more = without_panic(write).map_err(|error| io::Error::other(format!("{error:#}")))?;
            }
        }
        let read = (&self.text[self.at..]).read(buffer)?;
        self.at += read;
        Ok(read)
    }
}

/// Runs a reader of another crate, which may panic on a damaged file.
fn without_panic<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    process::catch_panic(read).unwrap_or_else(|| bail!("the file is damaged"))
}

/// Writes a cell of text, in quotes where it needs them. Ends of lines become spaces, so that each row is one line.
fn write_text(text: &mut Vec<u8>, cell: &str) {
    if !cell.contains([',', '"', '\n', '\r']) {
        text.extend_from_slice(cell.as_bytes());
        return;
    }
    text.push(b'"');
    for byte in cell.bytes() {
        match byte {
            b'"' => text.extend_from_slice(b"\"\""),
            b'\n' | b'\r' => text.push(b' '),
            _ => text.push(byte),
        }
    }
    text.push(b'"');
}

/// Writes a number with the digits that it needs to be read back exactly; a whole number without a point.
fn write_number(text: &mut Vec<u8>, number: f64) {
    let plain = number == 0.0 || (1e-5..1e16).contains(&number.abs());
    // Writing to a vector cannot fail.
    let _ = if plain { write!(text, "{number}") } else { write!(text, "{number:?}") };
}

#[cfg(test)]
mod tests;
