//! Chooses the columns of a file.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail, ensure};

use super::CsvConfig;
use crate::format::listed;
use crate::time_series::TimeReader;

/// The columns of a file by their use.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// The columns of which timestamps are joined.
    pub time: Vec<usize>,
    pub values: Vec<usize>,
    /// A nameless running number, which is left out.
    pub index: Option<usize>,
    /// Nameless columns without cells, which are left out.
    pub empty: Vec<usize>,
}

/// The columns of a file: their names, and the first rows below them.
pub(super) struct Header<'a> {
    pub names: &'a [String],
    /// Whether the names come from the file.
    pub named: bool,
    pub sample: &'a [csv::ByteRecord],
}

impl Header<'_> {
    fn is_nameless(&self, column: usize) -> bool {
        self.named && (self.names[column].is_empty() || self.names[column] == "Unnamed: 0")
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &[u8]> {
        self.sample.iter().filter_map(move |row| row.get(column)).map(<[u8]>::trim_ascii)
    }

    /// Returns whether the first column is a nameless running number, as pandas and R write it.
    fn has_index(&self) -> bool {
        let mut cells = self.cells(0).map(integer);
        let Some(Some(first)) = cells.next() else { return false };
        self.names.len() > 1
            && self.is_nameless(0)
            && cells.zip(first + 1..).all(|(cell, next)| cell == Some(next))
    }

    fn is_empty(&self, column: usize) -> bool {
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

    /// Returns the column of dates, if there is one besides other columns, and the column of times of day beside it.
    fn only_dates(&self) -> Vec<usize> {
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
    fn label(&self, column: usize) -> String {
        if self.names[column].is_empty() { column.to_string() } else { self.names[column].clone() }
    }
}

/// Reads a whole number, also in quotes that a program left.
pub(super) fn integer(cell: &[u8]) -> Option<i64> {
    std::str::from_utf8(cell.trim_ascii()).ok()?.parse().ok()
}

/// Chooses the columns of `config`, or all that may be values. Returns what was left out, one sentence each, too.
pub(super) fn choose(config: &CsvConfig, header: &Header, notes: &mut Vec<String>) -> Result<Chosen> {
    let names = header.names;
    // The first two columns of each name.
    let mut places: HashMap<&str, (usize, Option<usize>)> = HashMap::with_capacity(names.len());
    for (column, name) in names.iter().enumerate() {
        places.entry(name).and_modify(|(_, other)| *other = other.or(Some(column))).or_insert((column, None));
    }
    let find = |flag: &str, wanted: &String| -> Result<usize> {
        match places.get(wanted.as_str()) {
            Some((column, None)) => Ok(*column),
            Some((one, Some(other))) => {
                bail!(
                    "--{flag}: columns {one} and {other} are both named {wanted}; try the number of one of them"
                )
            }
            None => wanted.parse().ok().filter(|&index| index < names.len()).with_context(|| {
                format!("--{flag}: found no column {wanted}, expected one of {}", listed(names))
            }),
        }
    };
    let time = config.time_column.iter().map(|name| find("time_column", name)).collect::<Result<_>>()?;
    let mut chosen = Chosen { time, ..Chosen::default() };
    if config.value_columns.is_empty() {
        if chosen.time.is_empty() {
            chosen.time = header.only_dates();
            match chosen.time[..] {
                [] => {}
                [date] => notes.push(format!(
                    "column {} has dates: they are the timestamps (--time_column)",
                    header.label(date)
                )),
                _ => {
                    let labels: Vec<String> =
                        chosen.time.iter().map(|&column| header.label(column)).collect();
                    notes.push(format!(
                        "columns {} have dates and times of day: they are the timestamps (--time_column)",
                        listed(&labels)
                    ));
                }
            }
        }
        let is_time = |column: &usize| chosen.time.contains(column);
        chosen.index = (header.has_index() && !is_time(&0)).then_some(0);
        chosen.empty =
            (0..names.len()).filter(|column| !is_time(column) && header.is_empty(*column)).collect();
        let left_out: HashSet<usize> =
            chosen.time.iter().chain(&chosen.index).chain(&chosen.empty).copied().collect();
        chosen.values = (0..names.len()).filter(|column| !left_out.contains(column)).collect();
        if chosen.index.is_some() {
            notes.push("left out the first column, a running number without a name (--value_columns)".into());
        }
        if !chosen.empty.is_empty() {
            notes.push("left out columns without a name and without cells".into());
        }
    } else {
        chosen.values =
            config.value_columns.iter().map(|name| find("value_columns", name)).collect::<Result<_>>()?;
    }
    ensure!(
        !chosen.values.is_empty(),
        "found no column of values, expected at least one besides the time column"
    );
    let mut seen = HashSet::with_capacity(chosen.values.len());
    for column in &chosen.values {
        ensure!(
            !chosen.time.contains(column),
            "--value_columns: column {} is the --time_column, expected another",
            names[*column]
        );
        ensure!(
            seen.insert(column),
            "--value_columns: column {} is listed twice, expected once",
            names[*column]
        );
    }
    Ok(chosen)
}
