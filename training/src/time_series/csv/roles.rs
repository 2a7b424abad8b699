//! The flags of the roles of columns, and of the features that are made of timestamps.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::choose::Chosen;
use crate::flags::default_flags;
use crate::format::listed;
use crate::time_series::{Calendar, Fourier};

/// The most inputs that are made of timestamps, which bounds memory.
const MOST_FEATURES: usize = 1000;

/// The columns to forecast, and what a network gets beside them.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleConfig {
    /// Forecast these columns [default: all value columns without another role].
    #[arg(long = "target", value_name = "COLUMNS", value_delimiter = ',')]
    pub target: Vec<String>,
    /// Give a network these columns too, up to the last row before a forecast.
    #[arg(long = "past_covariates", value_name = "COLUMNS", value_delimiter = ',')]
    pub past_covariates: Vec<String>,
    /// Give a network these columns too, also of the rows that it forecasts: they are known beforehand.
    #[arg(long = "future_covariates", value_name = "COLUMNS", value_delimiter = ',')]
    pub future_covariates: Vec<String>,
    /// Read many series from one file: the rows with the same cells in these columns are one series.
    #[arg(long = "series_column", value_name = "COLUMNS", value_delimiter = ',')]
    pub series_column: Vec<String>,
    /// Give a network these columns too, which have one value per series: numbers, or texts as categories.
    #[arg(long = "static_covariates", value_name = "COLUMNS", value_delimiter = ',')]
    pub static_covariates: Vec<String>,
    /// Give a network the sine and cosine of these places in the calendar, also of the rows that it forecasts.
    #[arg(long = "calendar", value_enum, value_name = "FEATURES", value_delimiter = ',')]
    pub calendar: Vec<Calendar>,
    /// Give a network sines and cosines of these periods in rows, such as 24:3 for three waves in 24 rows.
    #[arg(long = "fourier", value_name = "PERIOD[:ORDER]", value_delimiter = ',')]
    pub fourier: Vec<Fourier>,
}

impl Default for RoleConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl RoleConfig {
    /// The flags. A checkpoint has its own values of them.
    pub const FLAGS: [&str; 7] = [
        "target",
        "past_covariates",
        "future_covariates",
        "series_column",
        "static_covariates",
        "calendar",
        "fourier",
    ];

    /// Fails if a feature is listed twice, or if there are too many.
    pub(super) fn validate(&self) -> Result<()> {
        ensure!(
            self.static_covariates.is_empty() || !self.series_column.is_empty(),
            "--static_covariates has no effect on one series; try --series_column with it"
        );
        for (at, feature) in self.calendar.iter().enumerate() {
            ensure!(
                !self.calendar[..at].contains(feature),
                "--calendar: {} is listed twice, expected once",
                feature.name()
            );
        }
        for (at, term) in self.fourier.iter().enumerate() {
            ensure!(
                self.fourier[..at].iter().all(|other| other.period != term.period),
                "--fourier: the period {} is listed twice, expected once",
                term.period
            );
        }
        let found = self.fourier.iter().map(|term| 2 * term.order).sum::<usize>();
        ensure!(
            found <= MOST_FEATURES,
            "--fourier: found {found} sines and cosines, expected at most {MOST_FEATURES}; try smaller orders"
        );
        Ok(())
    }

    /// Chooses the columns by their roles: `values`, the candidates for targets, are left in `chosen` without those of another role, and
    /// are followed by the covariates. `find` returns the column of a name, and `names` are those of the columns.
    pub(super) fn choose(
        &self,
        chosen: &mut Chosen,
        names: &[String],
        find: impl Fn(&str, &str) -> Result<usize>,
    ) -> Result<()> {
        let mut roles: HashMap<usize, &str> =
            chosen.time.iter().map(|&column| (column, "time_column")).collect();
        let mut of = |flag: &'static str, wanted: &[String]| -> Result<Vec<usize>> {
            let mut columns = Vec::with_capacity(wanted.len());
            for name in wanted {
                let column = find(flag, name)?;
                match roles.insert(column, flag) {
                    Some(other) if other == flag => {
                        bail!("--{flag}: column {} is listed twice, expected once", names[column])
                    }
                    Some(other) => bail!(
                        "column {} has two roles, --{other} and --{flag}, expected one; try without it in --{flag}",
                        names[column]
                    ),
                    None => columns.push(column),
                }
            }
            Ok(columns)
        };
        let targets = of("target", &self.target)?;
        let past = of("past_covariates", &self.past_covariates)?;
        let future = of("future_covariates", &self.future_covariates)?;
        chosen.keys = of("series_column", &self.series_column)?;
        chosen.statics = of("static_covariates", &self.static_covariates)?;
        if targets.is_empty() {
            let candidates = chosen.values.len();
            chosen.values.retain(|column| roles.get(column).is_none_or(|role| *role == "time_column"));
            ensure!(
                candidates == 0 || !chosen.values.is_empty(),
                "found no column to forecast: all value columns are covariates, expected at least one without that role; try fewer \
                 --past_covariates or --future_covariates"
            );
        } else {
            let given: HashSet<&usize> = chosen.values.iter().collect();
            if let Some(column) = targets.iter().find(|column| !given.is_empty() && !given.contains(column)) {
                let given: Vec<&String> = chosen.values.iter().map(|&column| &names[column]).collect();
                bail!(
                    "--target: column {} is not in --value_columns, expected one of {}",
                    names[*column],
                    listed(&given)
                );
            }
            chosen.values = targets;
        }
        chosen.targets = chosen.values.len();
        chosen.past = past.len();
        chosen.values.extend(past.into_iter().chain(future));
        Ok(())
    }
}
