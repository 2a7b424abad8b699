//! Reads the names of the columns, and recognizes rows that are not part of the table.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::CsvConfig;
use super::choose::integer;
use super::number::{Na, Separators, Value, value};
use super::rows::LimitedRows;
use super::typed::Typed;
use crate::format::count;
use crate::time_series::TimeReader;

/// The columns of a file: their names, and the first rows below them.
pub(super) struct Header {
    pub names: Vec<String>,
    /// Whether the names come from the file.
    pub named: bool,
    /// The first rows of data.
    pub sample: Vec<csv::ByteRecord>,
    /// The line of the first row of data, whose cells are in `cells`; `None` if there is none.
    pub first: Option<u64>,
    pub cells: csv::ByteRecord,
}

/// The first rows of a file.
pub(super) struct Sample {
    rows: Vec<csv::ByteRecord>,
    /// Whether the rows of data begin with a quote.
    are_quoted: bool,
}

impl Sample {
    /// Returns the sample of `rows`, which are at the start of `text`.
    pub fn new(rows: Vec<csv::ByteRecord>, text: &[u8]) -> Self {
        let is_quoted = |row: &csv::ByteRecord| {
            let at = row.position().and_then(|position| usize::try_from(position.byte()).ok());
            at.and_then(|at| text.get(at)) == Some(&b'"')
        };
        let are_quoted = rows.len() > 1 && rows.iter().skip(1).all(is_quoted);
        Self { rows, are_quoted }
    }
}

impl Header {
    /// Reads the first row, and that of units. `sample` are the first rows of the file, and `path` is its name.
    ///
    /// # Errors
    /// Fails if the file is empty, or if the first row is a title before the table.
    pub fn read<R: Read>(
        rows: &mut LimitedRows<R>,
        sample: Sample,
        typed: Option<Typed>,
        config: &CsvConfig,
        path: &Path,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let Sample { rows: mut sample, are_quoted } = sample;
        let mut cells = csv::ByteRecord::new();
        let line = rows.next(&mut cells)?.context("the file is empty, expected rows of numbers")?;
        let (texts, is_utf8) = texts(&cells);
        if !is_utf8 {
            notes.push("the column names are not UTF-8 and were read as cp1252 (--encoding)".into());
        }
        let is_parquet = typed == Some(Typed::Parquet);
        let is_header = || names_columns(&texts) || is_above_index(&texts, &sample);
        let named = is_parquet || config.header.unwrap_or_else(is_header);
        let counts =
            texts.len() > 1 && texts.iter().zip(0..).all(|(text, column)| text.parse() == Ok(column));
        if counts && !named && config.header.is_none() {
            notes.push(
                "the first row is read as values, although its cells count the columns (--header true)"
                    .into(),
            );
        }
        let mut names = if named { texts } else { made_up(texts.len(), path) };
        let mut first = Some(line);
        for _ in 0..usize::from(named) + usize::from(config.units_row) {
            first = if first.is_some() { rows.next(&mut cells)? } else { None };
            if !sample.is_empty() {
                sample.remove(0);
            }
        }
        if !is_parquet && config.header.is_none() {
            check_names(&names, &sample, rows.skipped(), line)?;
        }
        let wider = |row: &csv::ByteRecord| row.len() == names.len() + 1;
        if named && !sample.is_empty() && sample.iter().all(wider) {
            let all = |is: &dyn Fn(&csv::ByteRecord) -> bool| sample.iter().all(is);
            if all(&|row| row[names.len()].trim_ascii().is_empty()) {
                // A delimiter at the end of each row of data.
                names.push(String::new());
            } else if all(&|row| integer(&row[0]).is_some()) && (are_quoted || !may_have_commas(&sample)) {
                // R writes the names of the rows, which are numbers, below no name.
                names.insert(0, String::new());
            }
        }
        Ok(Self { names, named, sample, first, cells })
    }

    /// Gives the columns without a name their number as name, because a forecast needs one.
    pub fn name_all(&mut self) {
        let nameless = self.names.iter_mut().enumerate().filter(|(_, name)| name.is_empty());
        nameless.for_each(|(column, name)| *name = column.to_string());
    }

    fn is_nameless(&self, column: usize) -> bool {
        self.named && (self.names[column].is_empty() || self.names[column] == "Unnamed: 0")
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &[u8]> {
        self.sample.iter().filter_map(move |row| row.get(column)).map(<[u8]>::trim_ascii)
    }

    /// Returns whether the first column has whole numbers without a name, as pandas and R write the number of the row.
    pub fn has_nameless_numbers(&self) -> bool {
        self.names.len() > 1
            && self.is_nameless(0)
            && !self.sample.is_empty()
            && self.cells(0).all(|cell| integer(cell).is_some())
    }

    /// Returns whether these numbers count the rows.
    pub fn has_index(&self) -> bool {
        let mut cells = self.cells(0).map(integer);
        let Some(Some(first)) = cells.next() else { return false };
        self.has_nameless_numbers() && cells.zip(first + 1..).all(|(cell, next)| cell == Some(next))
    }

    pub fn is_empty(&self, column: usize) -> bool {
        self.is_nameless(column) && !self.sample.is_empty() && self.cells(column).all(<[u8]>::is_empty)
    }

    /// Returns whether the cells of the sample are dates, except for a few rows that are not data.
    fn is_date(&self, column: usize) -> bool {
        self.most(column, |cell| std::str::from_utf8(cell).is_ok_and(TimeReader::is_date))
    }

    /// Returns whether the cells of the sample are times of day, such as 23:59, except for a few rows that are not data.
    fn is_time_of_day(&self, column: usize) -> bool {
        let is_time = |cell: &[u8]| {
            cell.first().is_some_and(u8::is_ascii_digit)
                && cell.contains(&b':')
                && cell.iter().all(|byte| byte.is_ascii_digit() || b":. AaPpMm".contains(byte))
        };
        self.most(column, is_time)
    }

    /// Returns whether at least three quarters of the cells of the sample have a property.
    fn most(&self, column: usize, has: impl Fn(&[u8]) -> bool) -> bool {
        let cells = self.cells(column).count();
        cells > 0 && 4 * self.cells(column).filter(|cell| has(cell)).count() >= 3 * cells
    }

    /// Returns the first column whose numbers are probably timestamps: dates without separators, counts of time since 1970, or years.
    pub fn dated_numbers(&self) -> Option<usize> {
        let text = |cell: &[u8]| std::str::from_utf8(cell).unwrap_or_default().to_owned();
        let ascends = |column: usize| {
            let numbers: Vec<Option<i64>> = self.cells(column).map(integer).collect();
            numbers.len() > 1 && numbers.windows(2).all(|pair| pair[0].is_some() && pair[0] <= pair[1])
        };
        let is_year = |column: usize| {
            self.names[column].eq_ignore_ascii_case("year")
                && self
                    .cells(column)
                    .all(|cell| integer(cell).is_some_and(|year| (1000..3000).contains(&year)))
        };
        let is_dated =
            |column: usize| self.cells(column).all(|cell| TimeReader::is_dated_number(&text(cell)));
        (0..self.names.len()).find(|&column| ascends(column) && (is_year(column) || is_dated(column)))
    }

    /// Returns the column of dates, if there is one besides other columns, and the column of times of day beside it.
    pub fn only_dates(&self) -> Vec<usize> {
        let mut dates = (0..self.names.len()).filter(|&column| self.is_date(column));
        match (dates.next(), dates.next()) {
            (Some(date), None) if self.names.len() > 1 => {
                let has_time = self.cells(date).any(|cell| cell.contains(&b':'));
                let time = (date + 1 < self.names.len() && !has_time && self.is_time_of_day(date + 1))
                    .then_some(date + 1);
                [date].into_iter().chain(time).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the name of a column for a message; its number if it has no name.
    pub fn label(&self, column: usize) -> String {
        if self.names[column].is_empty() { column.to_string() } else { self.names[column].clone() }
    }
}

/// Fails if the first row is a title before the table: most rows below have more cells, or one of them has more names. `skipped` are
/// the lines before the sample, and `line` is that of the first row. A row with one cell less than all rows of data has the names of R.
fn check_names(names: &[String], sample: &[csv::ByteRecord], skipped: u64, line: u64) -> Result<()> {
    const LINES: usize = 20;
    let found = names.iter().filter(|name| !name.is_empty()).count();
    let has_names = |row: &csv::ByteRecord| {
        let cells: Vec<String> =
            row.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
        // NA and an empty cell are no names either.
        let is_text =
            |cell: &String| value(cell.as_bytes(), &Separators::default(), &Na::default()).is_none();
        found < cells.len() && cells.iter().all(is_text) && names_columns(&cells)
    };
    let wide: Vec<_> = sample.iter().filter(|row| row.len() > names.len()).collect();
    let first = wide.first().filter(|row| {
        2 * wide.len() > sample.len() && (wide.len() < sample.len() || row.len() > names.len() + 1)
    });
    let better = sample.iter().take(LINES).find(|row| has_names(row));
    let Some(row) = better.or(first.copied()) else { return Ok(()) };
    let better = skipped + row.position().map_or(1, csv::Position::line);
    bail!(
        "row {line}: found {}, expected {} as in row {better}; if the table begins there, try --skip_rows {}",
        count(found as u64, "cell"),
        row.len(),
        better - 1
    )
}

/// Returns the cells of a row of names as text, and whether all are UTF-8. Others are read as CP1252, because they are only names.
pub(super) fn texts(cells: &csv::ByteRecord) -> (Vec<String>, bool) {
    let mut is_utf8 = true;
    let text = |cell: &[u8]| match std::str::from_utf8(cell) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => {
            is_utf8 = false;
            encoding_rs::WINDOWS_1252.decode_without_bom_handling(cell).0.trim().to_owned()
        }
    };
    (cells.iter().map(text).collect(), is_utf8)
}

/// Returns the names of the columns of a file without a header: numbers, or the name of the file for a single column.
fn made_up(columns: usize, path: &Path) -> Vec<String> {
    if columns == 1 {
        let stem = path.file_stem().filter(|stem| *stem != "-");
        return vec![stem.map_or_else(|| "value".into(), |stem| stem.to_string_lossy().into_owned())];
    }
    (0..columns).map(|column| column.to_string()).collect()
}

/// Returns whether a first row has no name above a column of whole numbers or dates, as pandas writes an index beside names that are
/// numbers.
fn is_above_index(first: &[String], sample: &[csv::ByteRecord]) -> bool {
    let is_of_index =
        |cell: &[u8]| integer(cell).is_some() || std::str::from_utf8(cell).is_ok_and(TimeReader::is_date);
    let below = sample.iter().skip(1);
    first.len() > 1
        && first[0].is_empty()
        && sample.len() > 1
        && below.clone().all(|row| row.get(0).is_some_and(is_of_index))
}

/// Returns whether two neighboring cells of all rows are digits, so that their delimiter may be a decimal comma.
fn may_have_commas(sample: &[csv::ByteRecord]) -> bool {
    let is_digits = |cell: &[u8]| !cell.is_empty() && cell.iter().all(u8::is_ascii_digit);
    let width = sample.iter().map(csv::ByteRecord::len).min().unwrap_or(0);
    (1..width).any(|column| {
        let are_digits = |row: &csv::ByteRecord| {
            is_digits(row[column - 1].trim_ascii()) && is_digits(row[column].trim_ascii())
        };
        sample.iter().all(are_digits)
    })
}

/// Returns whether a first row has the column names: it has text, and no cell is a number or a date.
pub(super) fn names_columns(cells: &[String]) -> bool {
    let separators = Separators { certain: true, ..Separators::default() };
    let is_value = |cell: &String| {
        matches!(
            value(cell.as_bytes(), &separators, &Na::default()),
            Some(Value::Number(_) | Value::Currency(..) | Value::Percent(_))
        ) || TimeReader::is_date(cell)
    };
    cells.iter().any(|cell| !cell.is_empty()) && !cells.iter().any(is_value)
}
