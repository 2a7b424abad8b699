//! Reads a sheet of a workbook.

use std::io::{Cursor, Write};

use anyhow::{Context, Result, bail, ensure};
use calamine::{DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Xlsx};
use chrono::NaiveDate;

use super::time::{Moment, Precision};
use super::{CsvConfig, Rows, write_number, write_text};
use crate::format::listed;

/// The most bytes of the cells of a sheet with their places, which are kept in memory.
const MAX_BYTES: usize = 2 << 30;
/// The most bytes of the commas of empty cells.
const MAX_EMPTY: u64 = 4 << 30;
/// The rows that are written at a time.
const BLOCK: u32 = 1024;

/// The cells of a sheet, in its order.
#[derive(Debug, Default)]
pub(super) struct Table {
    cells: Vec<Cell>,
    /// The text of all cells of text.
    text: Vec<u8>,
    /// The digits of the dates of each column.
    columns: Vec<Precision>,
    /// The decimal separator of cells of text.
    decimal: char,
    /// The place from which the next rows are written: a row, a cell, and a place in `text`.
    row: u32,
    cell: usize,
    at: usize,
}

/// A cell that is not empty.
#[derive(Debug)]
struct Cell {
    row: u32,
    column: u32,
    value: Value,
}

#[derive(Debug)]
enum Value {
    /// This many bytes of text.
    Text(u32),
    Date(Moment),
    Time(Moment),
}

impl Table {
    /// Reads the sheet of `config` from a workbook, or the only one.
    pub fn open(file: Cursor<Vec<u8>>, config: &CsvConfig, notes: &mut Vec<String>) -> Result<Self> {
        let mut workbook = Xlsx::new(file).context(
            "it is a ZIP archive, but cannot be read as an .xlsx workbook; try to export it as CSV",
        )?;
        let sheet = sheet(&workbook, config, notes)?;
        let mut cells = workbook.worksheet_cells_reader(&sheet).context("cannot read the sheet")?;
        let mut table = Self {
            decimal: config.decimal.unwrap_or(if config.thousands == Some('.') { ',' } else { '.' }),
            ..Self::default()
        };
        while let Some(cell) = cells.next_cell().with_context(|| format!("cannot read sheet {sheet}"))? {
            let (row, column) = cell.get_position();
            table.push(row, column, cell.get_value())?;
        }
        ensure!(!table.cells.is_empty(), "sheet {sheet} is empty, expected rows of numbers");
        let empty = u64::from(table.height()) * table.columns.len() as u64;
        ensure!(
            empty <= MAX_EMPTY,
            "sheet {sheet} has {} rows and {} columns, most of them empty; try to delete the cells far outside of the table",
            table.height(),
            table.columns.len()
        );
        Ok(table)
    }

    /// Returns the number of rows up to the last cell.
    fn height(&self) -> u32 {
        self.cells.last().map_or(0, |cell| cell.row + 1)
    }

    fn push(&mut self, row: u32, column: u32, value: &DataRef) -> Result<()> {
        if *value == DataRef::Empty {
            return Ok(());
        }
        if let Some(last) = self.cells.last() {
            ensure!(
                (last.row, last.column) < (row, column),
                "the cell in row {}, column {column} is out of order; the workbook is damaged",
                row + 1
            );
        }
        let width = column as usize + 1;
        if self.columns.len() < width {
            self.columns.resize(width, Precision::default());
        }
        let value = match value {
            DataRef::DateTime(date) => date_value(date),
            _ => None,
        }
        .map_or_else(|| self.write(value), Ok)?;
        if let Value::Date(moment) | Value::Time(moment) = &value {
            let precision = &mut self.columns[column as usize];
            *precision = moment.precision().max(*precision);
        }
        self.cells.push(Cell { row, column, value });
        let bytes = self.text.len() + self.cells.len() * size_of::<Cell>();
        ensure!(
            bytes <= MAX_BYTES,
            "the sheet needs more than {} GiB of memory, expected at most that; try to export it as CSV",
            MAX_BYTES >> 30
        );
        Ok(())
    }

    /// Writes a cell as text.
    fn write(&mut self, value: &DataRef) -> Result<Value> {
        let (start, text) = (self.text.len(), &mut self.text);
        match value {
            DataRef::Empty => {}
            DataRef::Int(number) => write!(text, "{number}")?,
            DataRef::Float(number) if self.decimal == ',' => {
                let mut cell = Vec::new();
                write_number(&mut cell, *number);
                write_text(text, &String::from_utf8_lossy(&cell).replace('.', ","));
            }
            DataRef::Float(number) => write_number(text, *number),
            DataRef::DateTime(date) => write_number(text, date.as_f64()),
            DataRef::Bool(value) => write!(text, "{value}")?,
            DataRef::Error(error) => write!(text, "{error}")?,
            DataRef::String(cell) | DataRef::DateTimeIso(cell) | DataRef::DurationIso(cell) => {
                write_text(text, cell);
            }
            DataRef::SharedString(cell) => write_text(text, cell),
        }
        Ok(Value::Text(u32::try_from(self.text.len() - start)?))
    }
}

/// Returns the date of a cell, or its time of day if it has no date; `None` for a length of time, or for February 29 of 1900, which
/// only Excel has.
fn date_value(date: &ExcelDateTime) -> Option<Value> {
    let (year, month, day, hour, minute, second, millisecond) = date.to_ymd_hms_milli();
    let time = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
    let moment =
        |days: i64| Moment { seconds: days * 86_400 + time, nanoseconds: u32::from(millisecond) * 1_000_000 };
    match date.as_f64() {
        serial if !serial.is_finite() || date.is_duration() && serial >= 1.0 => None,
        serial if serial < 1.0 => Some(Value::Time(moment(0))),
        _ => {
            let date = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())?;
            Some(Value::Date(moment(date.to_epoch_days().into())))
        }
    }
}

/// Returns the name of the sheet of `config`, or of the only visible one.
fn sheet<R: std::io::Read + std::io::Seek>(
    workbook: &Xlsx<R>,
    config: &CsvConfig,
    notes: &mut Vec<String>,
) -> Result<String> {
    let sheets: Vec<_> =
        workbook.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).collect();
    let names: Vec<&str> = sheets.iter().map(|sheet| sheet.name.as_str()).collect();
    let visible: Vec<&str> = sheets
        .iter()
        .filter(|sheet| sheet.visible == SheetVisible::Visible)
        .map(|sheet| sheet.name.as_str())
        .collect();
    let name = match (&config.sheet, &visible[..]) {
        (Some(wanted), _) => {
            let number = || wanted.parse::<usize>().ok().and_then(|number| names.get(number));
            *names.iter().find(|name| *name == wanted).or_else(number).with_context(|| {
                format!("--sheet: found no sheet {wanted}, expected one of {}", listed(&names))
            })?
        }
        (None, [only]) => only,
        (None, []) => bail!("the workbook has no visible sheet, expected one; try --sheet NAME"),
        (None, _) => {
            bail!("the workbook has sheets {}, expected one; try --sheet {}", listed(&names), visible[0])
        }
    };
    if names.len() > 1 {
        notes.push(format!("read sheet {name} of {} (--sheet)", names.len()));
    }
    Ok(name.to_owned())
}

impl Rows for Table {
    fn write(&mut self, text: &mut Vec<u8>) -> Result<bool> {
        let (height, width) = (self.height(), self.columns.len() as u32);
        for row in self.row..height.min(self.row.saturating_add(BLOCK)) {
            let (mut column, first) = (0, self.cell);
            while let Some(cell) = self.cells.get(self.cell).filter(|cell| cell.row == row) {
                text.extend(std::iter::repeat_n(b',', (cell.column - column) as usize));
                column = cell.column;
                let precision = self.columns[column as usize];
                match cell.value {
                    Value::Text(length) => {
                        let end = self.at + length as usize;
                        text.extend_from_slice(&self.text[self.at..end]);
                        self.at = end;
                    }
                    Value::Date(moment) => moment.write(text, precision, false),
                    Value::Time(moment) => moment.write_time(text, precision),
                }
                self.cell += 1;
            }
            // A row without cells is a blank line.
            if self.cell > first {
                text.extend(std::iter::repeat_n(b',', (width - 1 - column) as usize));
            }
            text.push(b'\n');
            self.row = row + 1;
        }
        Ok(self.row < height)
    }
}
