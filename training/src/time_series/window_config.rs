//! The flags of the splits of a series and of the windows over it.

use std::str::FromStr;

use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use text_recognizer::data::Shuffle;
use text_recognizer::{Error, Result};

use super::{Fill, Layout, Scaling, Target};
use crate::flags::Auto;

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
    /// Use only the rows before this one: a row, or a share of all rows [default: all rows].
    #[arg(long = "end_time")]
    #[serde(default)]
    pub end_time: Option<SplitPoint>,
    /// After the run, train a model on all rows, for as many epochs as gave the best validation: checkpoints/refit.safetensors.
    #[arg(long = "refit_on_all", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    #[serde(default)]
    pub refit_on_all: bool,
    /// Forecast from a window of this many time steps; auto: the longest of two seasons (20 without a season), twice the horizon, and
    /// a week of several rows per day; at most half of the training split and 400.
    #[arg(long = "window_size", default_value_t = Auto::Number(20))]
    pub window_size: Auto<usize>,
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
        let sizes = [
            ("window_size", window_size.number().unwrap_or(1)),
            ("horizon", horizon),
            ("shift", shift),
            ("stride", stride),
        ];
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

    /// Checks that a window of `window_size` time steps has the rows of the forecast, if inputs are known beforehand.
    ///
    /// # Errors
    /// Fails if it is shorter than the horizon.
    pub(super) fn check_known(&self, window_size: usize, has_known: bool) -> Result<()> {
        if has_known && window_size < self.horizon {
            let expected = format!(
                "at least the horizon, {}, because the end of a window has what is known beforehand of the rows that are forecast",
                self.horizon
            );
            return Err(Error::invalid("window_size", window_size, expected));
        }
        Ok(())
    }

    /// Returns the order of training windows.
    pub(super) fn shuffle(&self, seed: u64) -> Shuffle {
        let reshuffle = self.reshuffle_each_iteration;
        let size = match self.shuffle_buffer {
            ShuffleBuffer::Full(_) if reshuffle => return Shuffle::Full { seed },
            ShuffleBuffer::Full(_) => usize::MAX,
            ShuffleBuffer::Size(size) => size,
        };
        Shuffle::Buffer { seed, size, reshuffle }
    }

    /// Returns the layout of windows of `window_size` time steps that begin `shift` rows apart.
    pub(super) fn layout(&self, window_size: usize, shift: usize, target: Target) -> Layout {
        let Self { horizon, stride, .. } = *self;
        Layout { window_size, horizon, shift, stride, sequence: target == Target::EachStep }
    }

    /// Returns the time steps of a window, for a training split of `split` rows of a series with these lengths.
    pub(super) fn window_size(&self, split: usize, lengths: Lengths) -> usize {
        /// The time steps without a season, as in the TensorFlow time-series course.
        const DEFAULT: usize = 20;
        /// The most time steps, which bounds the time of a recurrent model.
        const MOST: usize = 400;
        /// The least weeks in the training split for windows of a week.
        const WEEKS: usize = 4;
        let stride = self.stride.max(1);
        let auto = || {
            let steps = |rows: usize| rows.div_ceil(stride);
            let rows = split.saturating_sub(self.horizon.saturating_mul(stride));
            // The other half of the rows is for the windows to start at.
            let most = (rows / 2 / stride).min(MOST);
            // Two seasons show the change from one to the next.
            let seasons = lengths.season.map_or(DEFAULT, |rows| steps(rows.saturating_mul(2)));
            let week = lengths.week.filter(|week| week.saturating_mul(WEEKS) <= split).map(steps);
            let week = week.filter(|week| *week <= most).unwrap_or(0);
            // Twice the horizon is the shortest window of Oreshkin et al., "N-BEATS", 2020.
            let wanted = seasons.max(week).max(self.horizon.saturating_mul(2));
            // A whole season, if two do not fit.
            let one = lengths.season.map_or(wanted.div_ceil(2), steps);
            let size = if wanted <= most || one > most { wanted.min(most) } else { most / one.max(1) * one };
            size.max(lengths.least)
        };
        self.window_size.number().unwrap_or_else(auto)
    }
}

/// The lengths of a series, in rows, that `--window_size auto` depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    /// A season; `None` if unknown.
    pub season: Option<usize>,
    /// A week, for several rows per day.
    pub week: Option<usize>,
    /// The least time steps of a window.
    pub least: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> WindowConfig {
        crate::testing::windows(&[
            "--split_time=0.8",
            "--window_size=auto",
            "--shuffle_buffer=full",
            "--scaling=standard",
        ])
    }

    #[test]
    fn window_size_auto_of_several_rows_per_day_is_a_week_if_there_are_four() {
        let half_hours = Lengths { season: Some(48), week: Some(336), least: 1 };
        assert_eq!(config().window_size(3225, half_hours), 336);
        assert_eq!(config().window_size(1343, half_hours), 96);
        let minutes = Lengths { season: Some(1440), week: Some(10_080), least: 1 };
        assert_eq!(config().window_size(1_000_000, minutes), 400);
    }

    #[test]
    fn window_size_auto_is_two_seasons_within_half_of_the_training_split() {
        let of = |season: Option<usize>| Lengths { season, week: None, least: 1 };
        for (split, season, expected) in [
            (115, Some(12), 24),
            (1000, Some(7), 14),
            (40, Some(12), 12),
            (20, Some(12), 9),
            (2, Some(12), 1),
            (0, None, 1),
            (1000, None, 20),
            (30, None, 10),
            (1_000_000, Some(1440), 400),
            (1_000_000, Some(200), 400),
            (1_000_000, Some(300), 300),
            (1000, Some(usize::MAX), 400),
        ] {
            assert_eq!(config().window_size(split, of(season)), expected, "{split} rows, season {season:?}");
        }
        let strided = WindowConfig { stride: 4, ..config() };
        assert_eq!(strided.window_size(1000, of(Some(48))), 24);
        let long = WindowConfig { horizon: 60, ..config() };
        assert_eq!(long.window_size(100, of(Some(12))), 12);
        assert_eq!(long.window_size(100, Lengths { least: 60, ..of(Some(12)) }), 60);
        assert_eq!(long.window_size(1000, of(Some(12))), 120);
        assert_eq!(long.window_size(1000, of(None)), 120);
        let given = WindowConfig { window_size: 5.into(), ..config() };
        assert_eq!(given.window_size(2, of(Some(12))), 5);
    }
}
