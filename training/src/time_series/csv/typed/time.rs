//! Writes dates and times of typed cells.

use std::io::Write;

use chrono::{DateTime, Datelike};

/// The nanoseconds of a second.
pub(super) const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// A date with a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// The seconds from 1970-01-01.
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// The digits that the timestamps of a column need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precision {
    /// All are at midnight.
    #[default]
    Days,
    Seconds,
    /// This many digits of a fraction.
    Fraction(usize),
}

impl Moment {
    /// Returns the moment a count of time after 1970-01-01, of which `unit` are a second.
    pub fn new(count: i64, unit: i64) -> Self {
        let nanoseconds = count.rem_euclid(unit) * (SECOND / unit);
        Self { seconds: count.div_euclid(unit), nanoseconds: nanoseconds as u32 }
    }

    /// Returns the digits that the moment needs.
    pub fn precision(self) -> Precision {
        match self.nanoseconds {
            0 if self.seconds.rem_euclid(DAY) == 0 => Precision::Days,
            0 => Precision::Seconds,
            nanoseconds if nanoseconds % 1_000_000 == 0 => Precision::Fraction(3),
            nanoseconds if nanoseconds % 1_000 == 0 => Precision::Fraction(6),
            _ => Precision::Fraction(9),
        }
    }

    /// Writes the moment as a date, with a time of day unless all timestamps are at midnight.
    pub fn write(self, text: &mut Vec<u8>, precision: Precision, is_utc: bool) {
        // Writing to a vector cannot fail.
        let Some(time) = DateTime::from_timestamp(self.seconds, self.nanoseconds) else {
            let _ = write!(text, "{} seconds after 1970", self.seconds);
            return;
        };
        let _ = write!(text, "{:04}-{:02}-{:02}", time.year(), time.month(), time.day());
        if precision > Precision::Days {
            text.push(b' ');
            self.write_time(text, precision);
            text.extend_from_slice(if is_utc { b"Z" } else { b"" });
        }
    }

    /// Writes the time of day.
    pub fn write_time(self, text: &mut Vec<u8>, precision: Precision) {
        let seconds = self.seconds.rem_euclid(DAY);
        let _ = write!(text, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if let Precision::Fraction(digits) = precision {
            let fraction = i64::from(self.nanoseconds) / 10_i64.pow(9 - digits as u32);
            let _ = write!(text, ".{fraction:0digits$}");
        }
    }
}
