//! Chooses the columns of a file.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail, ensure};

use super::CsvConfig;
use crate::format::listed;

/// Returns the index of the time column and the indices of the value columns.
pub(super) fn choose(config: &CsvConfig, names: &[String]) -> Result<(Option<usize>, Vec<usize>)> {
    // The first two columns of each name.
    let mut places: HashMap<&str, (usize, Option<usize>)> = HashMap::with_capacity(names.len());
    for (column, name) in names.iter().enumerate() {
        places.entry(name).and_modify(|(_, other)| *other = other.or(Some(column))).or_insert((column, None));
    }
    let find = |flag: &str, wanted: &str| -> Result<usize> {
        match places.get(wanted) {
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
    let time = config.time_column.as_deref().map(|name| find("time_column", name)).transpose()?;
    let columns: Vec<usize> = if config.value_columns.is_empty() {
        (0..names.len()).filter(|&column| Some(column) != time).collect()
    } else {
        config.value_columns.iter().map(|name| find("value_columns", name)).collect::<Result<_>>()?
    };
    ensure!(!columns.is_empty(), "found no column of values, expected at least one besides the time column");
    let mut seen = HashSet::with_capacity(columns.len());
    for column in &columns {
        ensure!(
            Some(*column) != time,
            "--value_columns: column {} is the --time_column, expected another",
            names[*column]
        );
        ensure!(
            seen.insert(column),
            "--value_columns: column {} is listed twice, expected once",
            names[*column]
        );
    }
    Ok((time, columns))
}
