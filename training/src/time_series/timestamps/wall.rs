//! Dates with a time of day as a number, as a clock on a wall shows them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};

/// The microseconds of each unit.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// The microseconds from 1970-01-01 00:00 on the same clock. All dates of the calendar fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wall(pub i64);

impl Wall {
    /// Returns midnight of a date.
    pub fn of(date: NaiveDate) -> Self {
        Self(i64::from(date.to_epoch_days()) * DAY)
    }

    /// Returns the time of day of `time` on the date.
    pub fn at(date: NaiveDate, time: i64) -> Self {
        Self(Self::of(date).0 + time)
    }

    /// Returns the number of days from 1970-01-01.
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY)
    }

    /// Returns the microseconds from midnight.
    pub fn time(self) -> i64 {
        self.0.rem_euclid(DAY)
    }

    /// Returns the date, or the last one of the calendar on that side if there is none.
    pub fn date(self) -> NaiveDate {
        let day = i32::try_from(self.day()).ok().and_then(NaiveDate::from_epoch_days);
        day.unwrap_or(if self.0 < 0 { NaiveDate::MIN } else { NaiveDate::MAX })
    }

    /// Returns the number of months from January of year 0.
    pub fn month(self) -> i64 {
        let date = self.date();
        i64::from(date.year()) * 12 + i64::from(date.month0())
    }

    /// Returns whether the date is in the calendar.
    pub fn is_in_calendar(self) -> bool {
        self.date_time().is_some()
    }

    /// Returns the date and time of the `chrono` crate.
    pub fn date_time(self) -> Option<NaiveDateTime> {
        DateTime::from_timestamp_micros(self.0).map(|time| time.naive_utc())
    }
}
