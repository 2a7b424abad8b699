//! Reads series from CSV files.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Columns, Series, Timestamps};
use crate::format::count;

mod choose;
mod rows;

use choose::choose;
use rows::{Row, Rows};

/// The CSV file of a series, and the columns to read.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
    /// Read this CSV file.
    #[arg(long = "csv", value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Read the timestamps from this column: a name, or a number from 0 [default: row numbers are the timestamps].
    #[arg(long = "time_column")]
    pub time_column: Option<String>,
    /// Read the values from these columns: names, or numbers from 0 [default: all except --time_column].
    #[arg(long = "value_columns", value_delimiter = ',')]
    pub value_columns: Vec<String>,
    /// Read the column names from the first row [default: true, unless it has a number or a date].
    #[arg(long = "header", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub header: Option<bool>,
}

impl CsvConfig {
    /// The flags that a resumed run may change: the same content may be at another path.
    pub const FREE: &[&str] = &["csv"];
}

/// Reads the columns of `config` from its file as a series, `[rows, columns]`.
///
/// # Errors
/// Fails if the file cannot be opened, or if a column of `config` is not in it. Also fails with the row and the column if a cell
/// is empty or not a finite number, if a timestamp is neither a number nor a date or is not later than the one above it, or if a
/// row has another number of cells than the first. Rows are counted from 1, like the lines in an editor.
pub fn read(config: &CsvConfig) -> Result<Series> {
    read_for(config, None)
}

/// Reads a series like [`read`], with the columns of a trained model, in its order. The file may have more columns.
///
/// # Errors
/// Fails like [`read`], and if the file lacks a column of the model.
pub fn read_for(config: &CsvConfig, model: Option<&Columns>) -> Result<Series> {
    let path = config.csv.as_deref().context("cannot read a series: --csv is missing; try --csv FILE")?;
    ensure!(!path.is_dir(), "cannot read {}: it is a folder, expected a CSV file", path.display());
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    parse_for(file, config, path, model).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a series like [`read`], from any reader. `path` gives a single column its name if the file has no header.
///
/// # Errors
/// Fails like [`read`].
pub fn parse(input: impl Read, config: &CsvConfig, path: &Path) -> Result<Series> {
    parse_for(input, config, path, None)
}

fn parse_for(input: impl Read, config: &CsvConfig, path: &Path, model: Option<&Columns>) -> Result<Series> {
    let mut rows = Rows::new(input);
    let first = rows.next()?.context("the file is empty, expected rows of numbers")?;
    let header = config.header.unwrap_or_else(|| names_columns(&first.cells));
    let names: Vec<String> = first
        .cells
        .iter()
        .enumerate()
        .map(|(column, cell)| match cell {
            name if header && !name.is_empty() => name.to_owned(),
            _ if !header && first.cells.len() == 1 => {
                path.file_stem().map_or_else(|| "value".into(), |stem| stem.to_string_lossy().into_owned())
            }
            _ => column.to_string(),
        })
        .collect();
    let (time_column, mut columns) = choose(config, &names)?;
    if let Some(model) = model {
        let found: Vec<&str> = columns.iter().map(|&column| names[column].as_str()).collect();
        columns = model.find(&found, header)?.into_iter().map(|found| columns[found]).collect();
    }

    let (mut rows_read, mut values) = (0, Vec::new());
    let mut time: Option<Timestamps> = None;
    let mut next = if header { rows.next()? } else { Some(first) };
    while let Some(Row { line, cells }) = next {
        ensure!(
            cells.len() == names.len(),
            "row {line}: found {}, expected {} as in the first row",
            count(cells.len() as u64, "cell"),
            names.len()
        );
        for &column in &columns {
            values.push(number(&cells[column], line, &names[column])?);
        }
        if let Some(column) = time_column {
            push(&mut time, &cells[column]).map_err(|problem| {
                anyhow!("row {line}, column {}: {:?} {problem}", names[column], &cells[column])
            })?;
        }
        rows_read += 1;
        next = rows.next()?;
    }
    ensure!(rows_read > 0, "found no row of values, expected at least one");
    let names = columns.iter().map(|&column| names[column].clone()).collect();
    let values = Tensor::from_slice(&values).view([-1, columns.len() as i64]);
    let timestamps = time.unwrap_or_else(|| Timestamps::counted(rows_read));
    Ok(Series::new(timestamps, names, header, values)?)
}

/// Returns whether a first row has the column names: it has text, and no cell is a number or a date.
fn names_columns(cells: &csv::StringRecord) -> bool {
    let is_value = |cell: &str| cell.parse::<f64>().is_ok() || Timestamps::like(cell).is_some();
    cells.iter().any(|cell| !cell.is_empty()) && !cells.iter().any(is_value)
}

/// Reads the value of a cell.
fn number(cell: &str, line: u64, column: &str) -> Result<f64> {
    ensure!(
        !cell.is_empty(),
        "row {line}, column {column}: the cell is empty, expected a number; fill it or remove the row"
    );
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => {
            let hint = match (line, Timestamps::like(cell)) {
                (_, Some(Timestamps::Dates { .. })) => {
                    format!("; if it is a timestamp, try --time_column {column}")
                }
                (1, _) => "; if the first row has the column names, try --header true".to_owned(),
                _ => String::new(),
            };
            bail!("row {line}, column {column}: found {cell:?}, expected a finite number{hint}")
        }
    }
}

/// Appends the timestamp `cell`. The intervals may differ, because windows count rows.
fn push(time: &mut Option<Timestamps>, cell: &str) -> Result<(), String> {
    match time {
        Some(time) => time.push(cell),
        None => {
            let first = Timestamps::like(cell).ok_or(
                "is neither a number nor a date, expected for example 2024-12-31, 2024-12-31 23:59:00 or 2024-12; try one of \
                 these forms, or only --value_columns without --time_column, so that row numbers are the timestamps",
            )?;
            time.insert(first).push(cell)
        }
    }
}

#[cfg(test)]
mod tests;
