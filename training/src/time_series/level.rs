//! The levels of prediction intervals, and their flag.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::flags::default_flags;

/// The share of actual values that an interval should contain, in percent, 1 to 99.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Level(u8);

impl Level {
    /// The level of the median.
    pub(super) const HALF: Self = Self(50);
    /// All percentages.
    const ALL: std::ops::RangeInclusive<u8> = 1..=99;

    /// Returns all levels, in ascending order.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::ALL.map(Self)
    }

    /// Returns the percentage.
    pub(super) fn percent(self) -> usize {
        self.0.into()
    }

    /// Returns the number of errors, of `errors`, that an interval of this level must be as large as: with one more value, each rank is
    /// as likely. `None` if the errors are too few.
    pub(super) fn rank(self, errors: usize) -> Option<usize> {
        let rank = ((errors + 1) * usize::from(self.0)).div_ceil(100);
        (rank <= errors).then_some(rank)
    }

    /// Returns the least number of errors that an interval of this level needs.
    pub fn needed(self) -> usize {
        (usize::from(self.0)).div_ceil(usize::from(100 - self.0))
    }
}

impl TryFrom<u8> for Level {
    type Error = String;

    fn try_from(percent: u8) -> Result<Self, String> {
        Self::ALL.contains(&percent).then_some(Self(percent)).ok_or_else(|| expected(percent))
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level.0
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<u8>().map_err(|_| expected(text))?.try_into()
    }
}

fn expected(found: impl fmt::Display) -> String {
    format!("found {found}, expected a whole number of percent from 1 to 99, such as 80")
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Fails if a level is listed twice.
///
/// # Errors
/// Fails with the level.
pub fn check_levels(levels: &[Level]) -> Result<()> {
    let twice = levels.iter().enumerate().find(|(at, level)| levels[..*at].contains(level));
    twice.map_or(Ok(()), |(_, level)| bail!("--level: {level} is listed twice, expected once"))
}

/// The levels of intervals.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LevelConfig {
    /// Add intervals that should contain this percentage of the actual values, one or more, such as 80 95.
    #[arg(long = "level", value_name = "PERCENT", num_args = 1.., value_delimiter = ',', default_values = ["80", "95"])]
    pub level: Vec<Level>,
}

impl Default for LevelConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl LevelConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["level"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_outside_of_1_to_99_is_an_error() {
        assert_eq!("80".parse::<Level>(), Ok(Level(80)));
        for text in ["0", "100", "80.5", "-1", "999", ""] {
            assert!(text.parse::<Level>().unwrap_err().contains("from 1 to 99"), "{text}");
        }
    }
}
