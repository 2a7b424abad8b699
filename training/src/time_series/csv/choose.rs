//! Chooses the columns of a file.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail, ensure};

use super::CsvConfig;
use super::header::Header;
use crate::format::listed;

/// The columns of a file by their use.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// The columns of which timestamps are joined.
    pub time: Vec<usize>,
    /// The targets, then the past covariates, then the future covariates.
    pub values: Vec<usize>,
    /// The number of targets.
    pub targets: usize,
    /// The number of past covariates.
    pub past: usize,
    /// The columns whose cells name a series.
    pub keys: Vec<usize>,
    /// The columns with one value per series.
    pub statics: Vec<usize>,
    /// A nameless running number, which is left out.
    pub index: Option<usize>,
    /// Nameless columns without cells, which are left out.
    pub empty: Vec<usize>,
}

/// Reads a whole number, also in quotes that a program left.
pub(super) fn integer(cell: &[u8]) -> Option<i64> {
    std::str::from_utf8(cell.trim_ascii()).ok()?.parse().ok()
}

/// Chooses the columns of `config`, or all that may be values, and adds notes on columns that are left out.
pub(super) fn choose(config: &CsvConfig, header: &Header, notes: &mut Vec<String>) -> Result<Chosen> {
    let names = &header.names;
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
    let time = config.time_column.iter().map(|name| find("time_column", name)).collect::<Result<_>>()?;
    let values: Vec<usize> =
        config.value_columns.iter().map(|name| find("value_columns", name)).collect::<Result<_>>()?;
    let mut chosen = Chosen { time, ..Chosen::default() };
    if chosen.time.is_empty() {
        chosen.time = header.only_dates();
        let roles = [
            &config.roles.series_column,
            &config.roles.static_covariates,
            &config.roles.target,
            &config.roles.past_covariates,
            &config.roles.future_covariates,
        ];
        let of_roles = roles.into_iter().flatten().map(|name| find("target", name).ok());
        if of_roles
            .chain(values.iter().copied().map(Some))
            .flatten()
            .any(|column| chosen.time.contains(&column))
        {
            chosen.time.clear();
        }
        match chosen.time[..] {
            [] => {}
            [date] => notes.push(format!(
                "column {} has dates: they are the timestamps (--time_column)",
                header.label(date)
            )),
            _ => {
                let labels: Vec<String> = chosen.time.iter().map(|&column| header.label(column)).collect();
                notes.push(format!(
                    "columns {} have dates and times of day: they are the timestamps (--time_column)",
                    listed(&labels)
                ));
            }
        }
    }
    if config.value_columns.is_empty() && config.roles.target.is_empty() {
        if let Some(column) = header.dated_numbers().filter(|_| chosen.time.is_empty() && names.len() > 1) {
            bail!(
                "the numbers of column {0} are probably timestamps, expected --time_column for them; try --time_column {0}, or \
                 --value_columns with the columns of values",
                header.label(column)
            );
        }
        let is_time = |column: &usize| chosen.time.contains(column);
        chosen.index = (header.has_index() && !is_time(&0)).then_some(0);
        ensure!(
            chosen.index.is_some() || is_time(&0) || !header.has_nameless_numbers(),
            "the first column has no name and whole numbers that do not count the rows, expected a name for values; try \
             --value_columns with the columns of values (0 is the first one)"
        );
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
        chosen.values = values;
    }
    config.roles.choose(&mut chosen, names, find)?;
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
