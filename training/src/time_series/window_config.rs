//! The flags of the splits of a series and of the windows over it.

use std::str::FromStr;

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use text_recognizer::{Error, Result};

use super::{Fill, Scaling};

/// A boundary between two splits of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SplitPoint {
    /// A number of rows before the boundary.
    Row(usize),
    /// A share of all rows before the boundary, between 0 and 1.
    Share(f64),
}

impl SplitPoint {
    /// Returns the first row after the boundary, in a series of `rows` rows.
    pub(super) fn of(self, rows: usize) -> usize {
        match self {
            Self::Row(row) => row,
            Self::Share(share) => (rows as f64 * share).round() as usize,
        }
    }
}

impl FromStr for SplitPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(row) = text.parse() {
            return Ok(Self::Row(row));
        }
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
            _ => Err("expected a number of rows such as 1000, or a share of all rows such as 0.7".into()),
        }
    }
}

/// The size of the shuffle buffer, in windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ShuffleBuffer {
    /// A buffer of this many windows, as in `tf.data.Dataset.shuffle(N)`.
    Size(usize),
    /// A full shuffle: the buffer holds all windows.
    Full(Full),
}

/// The value `full` of `--shuffle_buffer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Full {
    /// The buffer holds all windows.
    Full,
}

impl FromStr for ShuffleBuffer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("full", _) => Ok(Self::Full(Full::Full)),
            (_, Ok(size)) if size > 0 => Ok(Self::Size(size)),
            _ => Err("expected a number of windows, at least 1, or full".into()),
        }
    }
}

/// The splits of a series and the windows over them. The defaults are those of the TensorFlow time-series course.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// End the training split and start the validation split here: a row, or a share of all rows.
    #[arg(long = "split_time", default_value = "1000")]
    pub split_time: SplitPoint,
    /// End the validation split and start the test split here [default: no test split].
    #[arg(long = "test_time")]
    pub test_time: Option<SplitPoint>,
    /// Forecast from a window of this many time steps.
    #[arg(long = "window_size", default_value_t = 20)]
    pub window_size: usize,
    /// Forecast this many time steps from one window.
    #[arg(long = "horizon", default_value_t = 1)]
    pub horizon: usize,
    /// Start a training window once per this many rows.
    #[arg(long = "shift", default_value_t = 1)]
    pub shift: usize,
    /// Use only every STRIDE-th row as a time step of a window.
    #[arg(long = "stride", default_value_t = 1)]
    pub stride: usize,
    /// Shuffle with a buffer of this many windows, or full for all windows.
    #[arg(long = "shuffle_buffer", default_value = "1000")]
    pub shuffle_buffer: ShuffleBuffer,
    /// Shuffle in a new order in each epoch; false: use the order of the first epoch in all.
    #[arg(long = "reshuffle_each_iteration", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = true)]
    pub reshuffle_each_iteration: bool,
    /// Scale the values, fitted on the training split; metrics and forecasts are unscaled.
    #[arg(long = "scaling", value_enum, default_value_t = Scaling::None)]
    pub scaling: Scaling,
    /// Fill missing values for the network; losses and metrics skip them.
    #[arg(long = "fill", value_enum, default_value_t = Fill::None)]
    #[serde(default)]
    pub fill: Fill,
}

impl WindowConfig {
    /// Checks the sizes.
    ///
    /// # Errors
    /// Fails if a size is 0 or too large for an i64.
    pub fn validate(&self) -> Result<()> {
        let Self { window_size, horizon, shift, stride, .. } = *self;
        let sizes =
            [("window_size", window_size), ("horizon", horizon), ("shift", shift), ("stride", stride)];
        for (name, size) in sizes {
            if size == 0 {
                return Err(Error::invalid(name, size, "at least 1"));
            }
            if i64::try_from(size).is_err() {
                return Err(Error::invalid(name, size, format!("at most {}", i64::MAX)));
            }
        }
        Ok(())
    }
}
