//! The flags of a time column.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::frequency::Frequency;
use crate::flags::default_flags;

/// The form and the order of the timestamps in a file.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeConfig {
    /// Read timestamps of this form: as in strftime, such as %d/%m/%Y, or number, iso, excel, epoch_s, epoch_ms, epoch_us or
    /// epoch_ns [default: the only form that fits all rows].
    #[arg(long = "time_format", value_name = "FORMAT")]
    pub time_format: Option<String>,
    /// Read times of day as local times of this time zone, such as Europe/Berlin [default: the offsets in the file, or UTC].
    #[arg(long = "time_zone", value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Set the interval between rows, such as daily, B, W, MS, h or 30min [default: the most common interval].
    #[arg(long = "frequency")]
    pub frequency: Option<Frequency>,
    /// Sort the rows by time.
    #[arg(long = "sort")]
    pub sort: bool,
    /// Merge rows with the same timestamp.
    #[arg(long = "duplicates", value_enum, default_value_t = Duplicates::Error)]
    pub duplicates: Duplicates,
}

impl Default for TimeConfig {
    fn default() -> Self {
        default_flags()
    }
}

/// The handling of rows with the same timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Duplicates {
    /// Fail.
    Error,
    /// Keep the first row.
    First,
    /// Keep the last row.
    Last,
    /// Keep the means of the values that are not missing.
    Mean,
}
