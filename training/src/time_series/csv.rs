//! Reads series from files: CSV, Parquet and workbooks.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};

use super::{Columns, Frequency, Panel, Roles, Series, TimeConfig};
use crate::flags::default_flags;
use crate::format::listed;

mod bad_row;
mod choose;
mod flags;
mod header;
mod keys;
mod many;
mod number;
mod roles;
mod rows;
mod sniff;
mod source;
mod table;
mod typed;

use bad_row::BadRow;
use choose::choose;
use header::{Header, Sample};
pub(crate) use many::shortened;
use number::Separators;
pub use roles::RoleConfig;
use rows::Rows;
use sniff::{Dialect, separators};
use source::Source;
use table::Table;
use typed::Typed;

/// The file of a series, its form, and the columns to read.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvConfig {
    /// Read this file: CSV, also compressed with gzip or zstd, Parquet, or an .xlsx workbook; - for standard input.
    #[arg(long = "csv", value_name = "FILE", allow_hyphen_values = true)]
    pub csv: Option<PathBuf>,
    /// Read the timestamps from these columns: names, or numbers from 0. Several, such as date,time or year,quarter, are joined
    /// [default: the only column of dates, else row numbers].
    #[arg(long = "time_column", value_delimiter = ',')]
    #[serde(deserialize_with = "flags::one_or_many")]
    pub time_column: Vec<String>,
    /// Read the values from these columns: names, or numbers from 0 [default: all except --time_column].
    #[arg(long = "value_columns", value_delimiter = ',')]
    pub value_columns: Vec<String>,
    /// Read the column names from the first row [default: true, unless it has a number or a date].
    #[arg(long = "header", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub header: Option<bool>,
    /// Split rows into cells at this character; tab and space are names [default: the one of , ; tab | space that fits].
    #[arg(long = "delimiter", value_parser = flags::delimiter)]
    pub delimiter: Option<char>,
    /// Set the decimal separator, a point or a comma [default: the one that fits, else a point].
    #[arg(long = "decimal", value_parser = flags::decimal)]
    pub decimal: Option<char>,
    /// Set the separator between groups of three digits [default: the one that fits].
    #[arg(long = "thousands", value_parser = flags::thousands)]
    pub thousands: Option<char>,
    /// Skip this many lines before the table.
    #[arg(long = "skip_rows", default_value_t = 0)]
    pub skip_rows: usize,
    /// Skip this many rows at the end, such as a total.
    #[arg(long = "skip_footer", default_value_t = 0)]
    pub skip_footer: usize,
    /// Skip the row of units below the column names.
    #[arg(long = "units_row", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub units_row: bool,
    /// Skip lines that start with this character [default: a hash sign, if the first line starts with one].
    #[arg(long = "comment", value_parser = flags::comment)]
    pub comment: Option<char>,
    /// Read these texts as missing values too; empty cells, NA, NaN, null and - are always missing.
    #[arg(long = "na", value_name = "TEXT", value_delimiter = ',', allow_hyphen_values = true)]
    pub na: Vec<String>,
    /// Set the encoding, such as latin1, cp1252 or utf-16le [default: by its byte order mark, else UTF-8].
    #[arg(long = "encoding", value_parser = flags::encoding)]
    pub encoding: Option<String>,
    /// Read this sheet of a workbook: a name, or a number from 0 [default: the only one].
    #[arg(long = "sheet")]
    pub sheet: Option<String>,
    /// The form and the order of the timestamps.
    #[command(flatten)]
    pub time: TimeConfig,
    /// The columns to forecast, and the covariates.
    #[command(flatten)]
    pub roles: RoleConfig,
}

impl Default for CsvConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl CsvConfig {
    /// The flags that a resumed run may change: the same content may be at another path.
    pub const FREE: &[&str] = &["csv"];
    /// The most rows of `--skip_footer`, which are kept in memory.
    const MAX_FOOTER: usize = 10_000;

    /// Fails if flags contradict each other, or if a number is too large.
    fn validate(&self) -> Result<()> {
        ensure!(
            self.skip_footer <= Self::MAX_FOOTER,
            "--skip_footer is {}: expected at most {}",
            self.skip_footer,
            Self::MAX_FOOTER
        );
        ensure!(
            self.decimal.is_none() || self.decimal != self.thousands,
            "--decimal and --thousands are the same character, expected two"
        );
        self.roles.validate()
    }
}

/// Reads the columns of `config` from its file as a series, `[rows, columns]`, in the order of time and on the grid of its frequency.
///
/// # Errors
/// Fails if the file cannot be opened, or if a column of `config` is not in it. Also fails with the row and the column if a cell
/// is neither a finite number nor a missing value, if a timestamp cannot be read, or if a row has another number of cells than the
/// first. Rows are counted from 1, like the lines in an editor.
pub fn read(config: &CsvConfig) -> Result<Series> {
    read_for(config, None)
}

/// Reads the series of a file like [`read`], or the many series of `--series_column`.
///
/// # Errors
/// Fails like [`read`], and with the series if its timestamps cannot be arranged.
pub fn read_panel(config: &CsvConfig, model: Option<Expected<'_>>) -> Result<Panel> {
    let path = config.csv.as_deref().context("cannot read a series: --csv is missing; try --csv FILE")?;
    let read = || parse_source(Source::open(path, config)?, config, path, model);
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// A trained model, as far as a file must fit it.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The columns that it forecasts, in its order.
    pub columns: &'a Columns,
    /// The inputs beside them; `None` for none.
    pub roles: Option<&'a Roles>,
    /// The frequency; `None` if it is unknown.
    pub frequency: Option<Frequency>,
}

impl Expected<'_> {
    /// Returns for each column of the model, targets and then covariates, its index in `found`; see [`Columns::find`].
    fn find(&self, found: &[&str], named: bool) -> Result<Vec<usize>> {
        let Some(roles) = self.roles.filter(|roles| !roles.past.is_empty() || !roles.future.is_empty())
        else {
            return self.columns.find(found, named);
        };
        let names = self.columns.names.iter().chain(&roles.past).chain(&roles.future);
        // The columns of files without names have numbers, which are as good as names for columns with roles.
        let are_numbers = !named && self.columns.named == Some(false);
        let of_model = self.columns.named.filter(|_| !are_numbers);
        Columns { names: names.cloned().collect(), named: of_model }.find(found, named || are_numbers)
    }
}

/// Reads a series like [`read`], with the columns of a trained model, in its order. The file may have more columns.
///
/// # Errors
/// Fails like [`read`], and if the file lacks a column of the model.
pub fn read_for(config: &CsvConfig, model: Option<Expected<'_>>) -> Result<Series> {
    read_panel(config, model)?.only()
}

/// Reads the future covariates of the rows after the last one of each series from the file `path`, which has the form of that of
/// `config`, and appends them. A series that is not in the file gets none.
///
/// # Errors
/// Fails like [`read`], if the series have no future covariates or have later rows already, and if the timestamps of the file do not
/// continue those of the series.
pub fn read_future(config: &CsvConfig, path: &Path, series: &mut [Series]) -> Result<()> {
    let failed = || format!("cannot use --future {}", path.display());
    let Some(first) = series.first() else { return Ok(()) };
    let roles = first.covariates().map(|covariates| covariates.roles.future.clone()).unwrap_or_default();
    ensure!(!roles.is_empty(), "{}: the model has no future covariates", failed());
    let columns = Columns { names: roles, named: Some(first.named) };
    let expected = Expected { columns: &columns, roles: None, frequency: first.timestamps.frequency() };
    let series_column = config.roles.series_column.clone();
    let config = CsvConfig {
        csv: Some(path.to_owned()),
        value_columns: Vec::new(),
        roles: RoleConfig { series_column, ..RoleConfig::default() },
        ..config.clone()
    };
    let next = read_panel(&config, Some(expected))?;
    let mut next: HashMap<String, Series> =
        next.series.into_iter().map(|next| (next.key.clone(), next)).collect();
    for series in series {
        let (rows, key) = (series.len(), series.key.clone());
        let of_series = || if key.is_empty() { failed() } else { format!("{}, series {key}", failed()) };
        if let (Some(next), Some(covariates)) = (next.remove(&key), series.covariates_mut()) {
            covariates.append(rows, &next).with_context(of_series)?;
        }
    }
    let unknown: Vec<&String> = next.keys().collect();
    ensure!(
        unknown.is_empty(),
        "{}: found series that are not in --csv: {}, expected only those in it",
        failed(),
        listed(&unknown)
    );
    Ok(())
}

/// Reads a series like [`read`], from any reader. `path` gives a single column its name if the file has no header.
///
/// # Errors
/// Fails like [`read`].
pub fn parse(input: impl Read, config: &CsvConfig, path: &Path) -> Result<Series> {
    parse_panel(input, config, path)?.only()
}

/// Reads many series like [`read_panel`], from any reader.
///
/// # Errors
/// Fails like [`read_panel`].
pub fn parse_panel(input: impl Read, config: &CsvConfig, path: &Path) -> Result<Panel> {
    parse_source(Source::new(input, config)?, config, path, None)
}

fn parse_source(
    source: Source<'_>,
    config: &CsvConfig,
    path: &Path,
    model: Option<Expected<'_>>,
) -> Result<Panel> {
    config.validate()?;
    let mut notes = source.notes.clone();
    let typed = source.typed;
    let dialect = match typed {
        Some(_) => Dialect { skip: config.skip_rows, delimiter: b',', comment: None },
        None => Dialect::sniff(&source.start, source.whole, config, &mut notes)?,
    };
    let start = source::after_line(&source.start, dialect.skip);
    let sample = Sample::new(dialect.rows(start, source.whole), start);
    let mut rows = Rows::new(source.skip(dialect.skip)?, &dialect);
    let mut header = Header::read(&mut rows, sample, typed, config, path, &mut notes)?;

    let mut chosen = choose(config, &header, &mut notes)?;
    header.name_all();
    let name = |columns: &[usize]| columns.iter().map(|&column| header.names[column].clone()).collect();
    let roles = match model {
        None => {
            let (past, future) = chosen.values[chosen.targets..].split_at(chosen.past);
            let RoleConfig { calendar, fourier, .. } = &config.roles;
            Roles {
                past: name(past),
                future: name(future),
                calendar: calendar.clone(),
                fourier: fourier.clone(),
            }
        }
        Some(model) => {
            let found: Vec<&str> =
                chosen.values.iter().map(|&column| header.names[column].as_str()).collect();
            let places = model.find(&found, header.named)?;
            chosen.values = places.into_iter().map(|found| chosen.values[found]).collect();
            chosen.targets = model.columns.names.len();
            model.roles.cloned().unwrap_or_default()
        }
    };
    let separators = match typed {
        Some(_) if config.decimal.is_none() && config.thousands.is_none() => Separators::default(),
        _ => separators(&header.sample, &chosen.values, config, &mut notes)?,
    };
    let named = header.named;
    let first = (header.first, header.cells);
    let table = Table::new(config, header.names, chosen, separators)?.with_roles(roles);
    let expected = model.and_then(|model| model.frequency);
    read_rows(table, rows, first, named)?.finish(named, expected, notes)
}

/// Reads all rows from `first`, a line and its cells, into `table`, except those of `--skip_footer`.
fn read_rows<'a, R: Read>(
    mut table: Table<'a>,
    mut rows: rows::LimitedRows<R>,
    first: (Option<u64>, csv::ByteRecord),
    named: bool,
) -> Result<Table<'a>> {
    let config = table.config();
    let (mut next, mut cells) = first;
    let mut pending = VecDeque::new();
    while let Some(line) = next {
        pending.push_back((line, std::mem::take(&mut cells)));
        if pending.len() > config.skip_footer {
            let (line, row) = pending.pop_front().unwrap_or_default();
            if let Err(error) = table.push(line, &row) {
                return Err(BadRow::new(&table, named, line, &row).explain(&error, &mut rows));
            }
            cells = row;
        }
        next = rows.next(&mut cells)?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests;
