//! Collects the rows of a file, and makes a series of them.

use std::rc::Rc;

use anyhow::{Result, anyhow, bail, ensure};
use tch::Tensor;

use super::CsvConfig;
use super::choose::{Chosen, integer};
use super::keys::Keys;
use super::number::{Na, Separators, Value, may_be_group, value};
use crate::format::{count, listed};
use crate::time_series::{
    Arranged, CovariateValues, Duplicates, Frequency, Panel, Roles, Series, TimeConfig, TimeProblem,
    TimeReader, Timestamps, arrange,
};

/// The rows of a file so far.
pub(super) struct Table<'a> {
    config: &'a CsvConfig,
    pub names: Vec<String>,
    pub chosen: Chosen,
    pub roles: Roles,
    pub separators: Separators,
    na: Na,
    pub time: Option<TimeReader>,
    /// The cells of several time columns, joined.
    joined: String,
    /// The values, `[rows, columns]`.
    pub values: Vec<f64>,
    /// The series of many; `None` if the file has one series.
    keys: Option<Keys>,
    pub rows: usize,
    /// The rows, from 0, whose line is not one after that of the row before, with their lines.
    lines: Vec<(usize, u64)>,
    columns: Vec<Column>,
    /// The next number of the index column.
    index: Option<i64>,
}

/// The kinds of cells in a value column.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    missing: usize,
    /// The first line with a percent sign, and the first one without.
    percent: Option<u64>,
    plain: Option<u64>,
    /// The first line with a currency, and the currency.
    currency: Option<(u64, &'static str)>,
    /// Whether the points so far may be between groups of three digits; `None` without a point.
    groups: Option<bool>,
}

impl<'a> Table<'a> {
    pub fn new(
        config: &'a CsvConfig,
        names: Vec<String>,
        chosen: Chosen,
        separators: Separators,
    ) -> Result<Self> {
        let of_time: Vec<&str> = chosen.time.iter().map(|&column| names[column].as_str()).collect();
        let time = match &of_time[..] {
            [] => {
                let TimeConfig { time_format, time_zone, sort, frequency, duplicates } = &config.time;
                let given = [
                    ("time_format", time_format.is_some()),
                    ("time_zone", time_zone.is_some()),
                    ("sort", *sort),
                    ("frequency", frequency.is_some()),
                    ("duplicates", *duplicates != Duplicates::Error),
                ];
                if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
                    bail!("--{flag} has no effect without timestamps; try --time_column with it");
                }
                None
            }
            _ => Some(TimeReader::new(&config.time)?.named(&of_time)),
        };
        let columns = vec![Column::default(); chosen.values.len()];
        let keys = (!chosen.keys.is_empty()).then(|| Keys::new(chosen.keys.clone(), chosen.statics.clone()));
        Ok(Self {
            config,
            names,
            chosen,
            roles: Roles::default(),
            separators,
            na: Na::new(&config.na),
            time,
            joined: String::new(),
            values: Vec::new(),
            keys,
            rows: 0,
            lines: Vec::new(),
            columns,
            index: None,
        })
    }

    /// Sets the covariates, whose columns are after the targets.
    pub fn with_roles(mut self, roles: Roles) -> Self {
        self.roles = roles;
        self
    }

    pub fn config(&self) -> &'a CsvConfig {
        self.config
    }

    /// Adds the row on line `line`.
    pub fn push(&mut self, line: u64, cells: &csv::ByteRecord) -> Result<()> {
        ensure!(
            cells.len() == self.names.len(),
            "row {line}: found {}, expected {} as in the first row",
            count(cells.len() as u64, "cell"),
            self.names.len()
        );
        self.push_time(line, cells)?;
        if let Some(keys) = &mut self.keys {
            keys.push(self.rows, line, cells, &self.names)?;
        }
        for (&column, kinds) in self.chosen.values.iter().zip(&mut self.columns) {
            match value(&cells[column], &self.separators, &self.na) {
                Some(Value::Number(number)) => {
                    self.values.push(number);
                    kinds.plain.get_or_insert(line);
                    if kinds.groups != Some(false) {
                        kinds.groups = may_be_group(&cells[column]).or(kinds.groups);
                    }
                }
                Some(Value::Currency(number, currency)) => {
                    self.values.push(number);
                    kinds.plain.get_or_insert(line);
                    let (first, of_first) = *kinds.currency.get_or_insert((line, currency));
                    ensure!(
                        currency == of_first,
                        "row {line}, column {}: found {currency}, expected {of_first} as in row {first}; try values in one currency",
                        self.names[column]
                    );
                }
                Some(Value::Percent(number)) => {
                    self.values.push(number);
                    kinds.percent.get_or_insert(line);
                }
                Some(Value::Missing) => {
                    self.values.push(f64::NAN);
                    kinds.missing += 1;
                }
                None => return Err(self.no_number(line, column, &cells[column])),
            }
        }
        if let Some(&column) =
            self.chosen.empty.iter().find(|&&column| !cells[column].trim_ascii().is_empty())
        {
            bail!(
                "row {line}: column {column} has no name and no cells above, and here {:?}; try --value_columns",
                String::from_utf8_lossy(&cells[column])
            );
        }
        if let Some(column) = self.chosen.index {
            let found = integer(&cells[column]);
            ensure!(
                found.is_some() && (self.rows == 0 || found == self.index),
                "row {line}: the first column has no name and is a running number above, and here {:?}; try --value_columns",
                String::from_utf8_lossy(&cells[column])
            );
            self.index = found.and_then(|found| found.checked_add(1));
        }
        if self.lines.last().is_none_or(|(row, first)| first + (self.rows - row) as u64 != line) {
            self.lines.push((self.rows, line));
        }
        self.rows += 1;
        Ok(())
    }

    fn push_time(&mut self, line: u64, cells: &csv::ByteRecord) -> Result<()> {
        let Some(time) = &mut self.time else { return Ok(()) };
        let not_utf8 =
            || anyhow!("row {line}: found bytes that are not UTF-8, expected text; try --encoding cp1252");
        let text = |column: usize| std::str::from_utf8(&cells[column]).map(str::trim).map_err(|_| not_utf8());
        let cell = match self.chosen.time[..] {
            [column] => text(column)?,
            _ => {
                self.joined.clear();
                for &column in &self.chosen.time {
                    if !self.joined.is_empty() {
                        self.joined.push(' ');
                    }
                    self.joined.push_str(text(column)?);
                }
                self.joined.as_str()
            }
        };
        let names = || {
            self.chosen.time.iter().map(|&column| self.names[column].as_str()).collect::<Vec<_>>().join(", ")
        };
        time.push(cell).map_err(|problem| anyhow!("row {line}, column {}: {cell:?} {problem}", names()))
    }

    /// Returns the error of a cell that is no number.
    fn no_number(&self, line: u64, column: usize, cell: &[u8]) -> anyhow::Error {
        let name = &self.names[column];
        let Ok(text) = std::str::from_utf8(cell) else {
            return anyhow!(
                "row {line}, column {name}: found bytes that are not UTF-8, expected a number; try --encoding cp1252"
            );
        };
        let text = text.trim();
        let others: Vec<&str> = self
            .chosen
            .values
            .iter()
            .filter(|&&other| other != column)
            .map(|&other| self.names[other].as_str())
            .collect();
        let comma = Separators { decimal: b',', certain: true, thousands: None };
        let hint = if TimeReader::is_date(text) {
            format!("; if it is a timestamp, try --time_column {name}")
        } else if ["true", "false"].contains(&text.to_lowercase().as_str()) {
            "; write 1 and 0, or leave the column out with --value_columns".to_owned()
        } else if value(cell, &comma, &Na::default()).is_some() || text.contains(',') && is_digits(text) {
            "; try --decimal , or --thousands ,".to_owned()
        } else if self.rows == 0 && !others.is_empty() {
            format!(
                "; if the column has text, try --value_columns {}",
                others.iter().take(20).copied().collect::<Vec<_>>().join(",")
            )
        } else {
            format!("; if it is a missing value, try --na {text:?}")
        };
        anyhow!("row {line}, column {name}: found {text:?}, expected a finite number{hint}")
    }

    /// Returns the line of a row, from 0.
    pub fn line(&self, row: usize) -> u64 {
        let at = self.lines.partition_point(|(first, _)| *first <= row);
        self.lines.get(at.saturating_sub(1)).map_or(0, |(first, line)| line + (row - first) as u64)
    }

    /// Makes the series. `notes` are those of its file, and `expected` is the frequency of a trained model.
    pub fn finish(
        mut self,
        named: bool,
        expected: Option<Frequency>,
        mut notes: Vec<String>,
    ) -> Result<Panel> {
        ensure!(self.rows > 0, "found no row of values, expected at least one");
        self.check_columns(&mut notes)?;
        if let Some(keys) = self.keys.take() {
            return self.finish_many(keys.series, named, expected, notes);
        }
        let columns = self.chosen.values.len();
        let mut arranged_notes = Vec::new();
        let (timestamps, values) = match self.time.take() {
            None => (Timestamps::counted(self.rows), std::mem::take(&mut self.values)),
            Some(time) => {
                let values = std::mem::take(&mut self.values);
                let raw = time.finish();
                let arranged = raw.and_then(|raw| arrange(raw, values, columns, &self.config.time, expected));
                let Arranged { timestamps, values, notes } =
                    arranged.map_err(|problem| self.place(problem))?;
                arranged_notes = notes;
                (timestamps, values)
            }
        };
        let values = Tensor::f_from_slice(&values)?.f_view([-1, columns as i64])?;
        let roles = std::mem::take(&mut self.roles);
        let targets = columns - roles.past.len() - roles.future.len();
        let names = self.chosen.values[..targets].iter().map(|&column| self.names[column].clone()).collect();
        if roles.is_empty() {
            notes.extend(self.missing(0));
            notes.extend(arranged_notes);
            let series = Series::new(timestamps, names, named, values)?;
            return Ok(Panel::of(series, notes));
        }
        let (values, timestamps, covariates, later) =
            CovariateValues::split(&values, Rc::new(timestamps), roles)?;
        notes.extend(self.missing(later));
        notes.extend(arranged_notes);
        if later > 0 {
            let rows = if later == 1 { "row has".into() } else { format!("{later} rows have") };
            notes.push(format!("the last {rows} no target, only covariates that are known beforehand"));
        }
        notes.extend(covariates.notes());
        let series = Series::new(timestamps, names, named, values)?.with_covariates(covariates)?;
        Ok(Panel::of(series, notes))
    }

    pub fn place(&self, TimeProblem { row, message }: TimeProblem) -> anyhow::Error {
        match row {
            Some(row) => anyhow!("row {}: {message}", self.line(row)),
            None => anyhow!("{message}"),
        }
    }

    /// Returns a note on the missing cells of each column, but for those of targets in the last `later` rows.
    pub fn missing(&self, later: usize) -> Option<String> {
        let targets = self.chosen.targets;
        let missing =
            self.columns.iter().zip(&self.chosen.values).enumerate().map(|(at, (kinds, &column))| {
                let found = if at < targets { kinds.missing.saturating_sub(later) } else { kinds.missing };
                (&self.names[column], found)
            });
        let missing: Vec<String> =
            missing.filter(|(_, found)| *found > 0).map(|(name, found)| format!("{name} {found}")).collect();
        let rows = count(self.rows as u64, "row");
        (!missing.is_empty()).then(|| format!("missing cells of {rows}: {}", listed(&missing)))
    }

    fn check_columns(&self, notes: &mut Vec<String>) -> Result<()> {
        let (mut percent, mut groups) = (Vec::new(), Vec::new());
        for (kinds, &column) in self.columns.iter().zip(&self.chosen.values) {
            let name = &self.names[column];
            ensure!(
                kinds.missing < self.rows,
                "column {name}: found no number, expected at least one; try --value_columns with the other columns"
            );
            match (kinds.percent, kinds.plain) {
                (Some(with), Some(without)) => bail!(
                    "column {name}: row {with} has a percent sign and row {without} has none, expected the same unit in all rows"
                ),
                (Some(_), None) => percent.push(name.clone()),
                _ => {}
            }
            if kinds.groups == Some(true) {
                groups.push(name.clone());
            }
        }
        let Separators { decimal, certain, thousands } = self.separators;
        if decimal == b'.' && !certain && thousands.is_none() && !groups.is_empty() {
            notes.push(format!(
                "all numbers with a point have three digits after it in {}: 1.234 was read as 1 and a fraction; if it is 1234, \
                 try --thousands .",
                listed(&groups)
            ));
        }
        if self.na.is_unused() {
            notes.push(format!("no cell is {} (--na)", listed(&self.config.na)));
        }
        if !percent.is_empty() {
            notes.push(format!("values of {} are in percent", listed(&percent)));
        }
        Ok(())
    }
}

/// Returns whether a text has only digits and the characters between them.
fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b".,' +-".contains(&byte))
}
