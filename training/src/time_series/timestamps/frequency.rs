//! The frequency of a series: the interval between its rows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::wall::{DAY, HOUR, MINUTE, SECOND};
use crate::format::count;

/// The interval between consecutive rows of a regular series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Frequency {
    /// A difference of numbers, which have no unit.
    Number(f64),
    /// Microseconds, of any number that is not whole days.
    Time(i64),
    /// Days.
    Days(i64),
    /// Days from Monday to Friday.
    BusinessDays(i64),
    /// Months, whose lengths in days differ.
    Months(i64),
}

/// The names of intervals: pandas' aliases and English words. The first one of each is the unit of `every 2 days`.
const NAMES: &[(Frequency, &[&str])] = &[
    (
        Frequency::Months(12),
        &["years", "yearly", "annual", "year", "Y", "YS", "YE", "A", "AS", "BY", "BYE", "BYS"],
    ),
    (Frequency::Months(3), &["quarters", "quarterly", "quarter", "Q", "QS", "QE", "BQ", "BQE", "BQS"]),
    (Frequency::Months(1), &["months", "monthly", "month", "M", "MS", "ME", "BM", "BME", "BMS"]),
    (Frequency::Days(7), &["weeks", "weekly", "week", "W"]),
    (Frequency::Days(1), &["days", "daily", "day", "D", "d"]),
    (Frequency::BusinessDays(1), &["business days", "business day", "business daily", "B", "b"]),
    (Frequency::Time(HOUR), &["hours", "hourly", "hour", "h", "H"]),
    (Frequency::Time(MINUTE), &["minutes", "every minute", "minute", "minutely", "min", "T"]),
    (Frequency::Time(SECOND), &["seconds", "every second", "second", "secondly", "s", "S", "sec"]),
    (Frequency::Time(1_000), &["milliseconds", "every millisecond", "millisecond", "ms", "L"]),
    (Frequency::Time(1), &["microseconds", "every microsecond", "microsecond", "us", "U"]),
];

impl Frequency {
    /// Returns the frequency of an interval in microseconds.
    pub(super) fn of_time(micros: i64) -> Self {
        if micros % DAY == 0 { Self::Days(micros / DAY) } else { Self::Time(micros) }
    }

    /// Returns the number of rows per season, by the convention of statsmodels' `freq_to_period`: a year for months, quarters and
    /// weeks, a week for days and business days, and a day for any interval of whole seconds that divides a day. Returns `None`
    /// for all other intervals.
    pub fn season(self) -> Option<usize> {
        match self {
            Self::Months(months @ 1..12) if 12 % months == 0 => usize::try_from(12 / months).ok(),
            Self::Days(7) => Some(52),
            Self::Days(1) => Some(7),
            Self::BusinessDays(1) => Some(5),
            Self::Time(micros) if micros % SECOND == 0 && DAY % micros == 0 => {
                usize::try_from(DAY / micros).ok()
            }
            _ => None,
        }
    }

    /// Returns the number of rows per week, for several rows per day with a season of a day.
    pub fn week(self) -> Option<usize> {
        self.season().filter(|_| matches!(self, Self::Time(_))).map(|day| 7 * day)
    }

    /// Returns the interval as a length, such as `1 day` and `30 minutes`.
    pub(super) fn length(self) -> String {
        let counted = |(unit, names): &(Self, &[&'static str])| Some((self.in_units(*unit)?, names[0]));
        match (self, NAMES.iter().find_map(counted)) {
            (_, Some((many, units))) => count(many.unsigned_abs(), units.trim_end_matches('s')),
            (Self::Number(step), None) => step.to_string(),
            (_, None) => self.to_string(),
        }
    }

    /// Returns `count` of this interval.
    fn times(self, count: i64) -> Option<Self> {
        let scaled = |one: i64| one.checked_mul(count).filter(|many| *many > 0);
        Some(match self {
            Self::Number(one) => Self::Number(one * count as f64),
            Self::Time(one) => Self::of_time(scaled(one)?),
            Self::Days(one) => Self::Days(scaled(one)?),
            Self::BusinessDays(one) => Self::BusinessDays(scaled(one)?),
            Self::Months(one) => Self::Months(scaled(one)?),
        })
    }

    /// Returns how often `unit` is in this interval, if it is a whole number.
    fn in_units(self, unit: Self) -> Option<i64> {
        let (all, one) = match (self, unit) {
            (Self::Time(all), Self::Time(one))
            | (Self::Days(all), Self::Days(one))
            | (Self::BusinessDays(all), Self::BusinessDays(one))
            | (Self::Months(all), Self::Months(one)) => (all, one),
            _ => return None,
        };
        // A quarter is a unit of its own, but six months are no quarters.
        let whole = all % one == 0 && (one != 3 || all == 3 || !matches!(self, Self::Months(_)));
        whole.then(|| all / one)
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if let Self::Number(step) = self {
            return write!(f, "steps of {step}");
        }
        let counted =
            |(unit, names): &(Self, &[&'static str])| Some((self.in_units(*unit)?, names[0], names[1]));
        match NAMES.iter().find_map(counted) {
            Some((1, name @ "business days", _) | (1, _, name)) => f.write_str(name),
            Some((count, units, _)) => write!(f, "every {count} {units}"),
            None => f.write_str("no time"),
        }
    }
}

impl FromStr for Frequency {
    type Err = String;

    /// Reads an alias of pandas, such as `D`, `30min` or `W-MON`, a word such as `daily`, or the text of a frequency.
    ///
    /// # Errors
    /// Fails if the text is none of these.
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "{text:?} is no frequency, expected for example D, B, W, MS, QS, Y, h, 30min, 4h, s, daily, weekly or every 2 days"
            )
        };
        let trimmed = text.trim();
        let named = |name: &str| {
            let lower = name.to_lowercase();
            let is = |other: &&str| *other == name || *other == lower && other.len() > 3;
            NAMES.iter().find(|(_, names)| names.iter().any(is)).map(|(frequency, _)| *frequency)
        };
        if let Some(frequency) = named(trimmed) {
            return Ok(frequency);
        }
        let number = trimmed.strip_prefix("steps of ").unwrap_or(trimmed);
        if let Ok(step) = number.parse::<f64>() {
            return if step.is_finite() && step > 0.0 { Ok(Self::Number(step)) } else { Err(unknown()) };
        }
        let rest = trimmed.strip_prefix("every ").unwrap_or(trimmed);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = rest.split_at(digits);
        let unit = unit.trim_start();
        // The anchor of an alias, such as the weekday of W-MON: the rows decide on it.
        let unit = match unit.split_once('-') {
            Some((unit, anchor))
                if anchor.len() == 3 && anchor.bytes().all(|byte| byte.is_ascii_uppercase()) =>
            {
                unit
            }
            _ => unit,
        };
        let count = if count.is_empty() { Some(1) } else { count.parse().ok() };
        count.and_then(|count| named(unit)?.times(count)).ok_or_else(unknown)
    }
}

impl TryFrom<String> for Frequency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Frequency> for String {
    fn from(frequency: Frequency) -> Self {
        frequency.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_str_of_aliases_and_words_is_the_interval() {
        for (text, display, season) in [
            ("D", "daily", Some(7)),
            ("daily", "daily", Some(7)),
            ("24h", "daily", Some(7)),
            ("B", "business days", Some(5)),
            ("W", "weekly", Some(52)),
            ("W-MON", "weekly", Some(52)),
            ("7D", "weekly", Some(52)),
            ("2W", "every 2 weeks", None),
            ("MS", "monthly", Some(12)),
            ("ME", "monthly", Some(12)),
            ("M", "monthly", Some(12)),
            ("Q", "quarterly", Some(4)),
            ("QS-OCT", "quarterly", Some(4)),
            ("3ME", "quarterly", Some(4)),
            ("6MS", "every 6 months", Some(2)),
            ("YE-DEC", "yearly", None),
            ("2Y", "every 2 years", None),
            ("h", "hourly", Some(24)),
            ("H", "hourly", Some(24)),
            ("4h", "every 4 hours", Some(6)),
            ("30min", "every 30 minutes", Some(48)),
            ("30T", "every 30 minutes", Some(48)),
            ("every 30 minutes", "every 30 minutes", Some(48)),
            ("min", "every minute", Some(1440)),
            ("s", "every second", Some(86_400)),
            ("250ms", "every 250 milliseconds", None),
            ("2 days", "every 2 days", None),
            ("Weekly", "weekly", Some(52)),
            ("0.5", "steps of 0.5", None),
            ("10", "steps of 10", None),
        ] {
            let frequency: Frequency = text.parse().unwrap();
            assert_eq!(frequency.to_string(), display, "{text}");
            assert_eq!(frequency.season(), season, "{text}");
            assert_eq!(display.parse(), Ok(frequency), "{text}");
            let json = serde_json::to_string(&frequency).unwrap();
            assert_eq!(serde_json::from_str::<Frequency>(&json).unwrap(), frequency);
        }
    }

    #[test]
    fn from_str_of_other_text_is_an_error_with_examples() {
        for text in [
            "",
            "fortnightly",
            "m",
            "0D",
            "-1",
            "99999999999999999999D",
            "9223372036854775807h",
            "nan",
            "W-x",
            "每",
        ] {
            let error = text.parse::<Frequency>().unwrap_err();
            assert!(error.contains("30min"), "{error}");
        }
    }
}
