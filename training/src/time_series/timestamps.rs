//! The timestamps of a series: reading, writing, intervals, seasons and continuation.

use std::cmp::Ordering;
use std::ops::Range;

use chrono::{Datelike, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use text_recognizer::Result;

/// The accepted forms of a date, in the notation of `strftime`. The last two mean the first day of a month.
const FORMATS: [&str; 11] = [
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M",
    "%Y-%m",
    "%Y/%m",
];

/// One timestamp per row of a series, in ascending order without duplicates.
#[derive(Debug, Clone, PartialEq)]
pub enum Timestamps {
    /// Numbers in any unit, such as row numbers or seconds.
    Numbers(Vec<f64>),
    /// Dates, with or without a time of day.
    Dates {
        /// The timestamps.
        dates: Vec<NaiveDateTime>,
        /// Their form, in the notation of `strftime`.
        format: &'static str,
    },
}

/// The interval between consecutive timestamps of a regular series.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    /// A difference of numbers.
    Number(f64),
    /// A fixed length of time.
    Duration(TimeDelta),
    /// Whole months, whose lengths in days differ.
    Months {
        /// The number of months.
        months: u32,
        /// Whether every timestamp is on the last day of its month, such as January 31 and February 29.
        month_end: bool,
    },
}

impl Timestamps {
    /// Returns an empty list for timestamps of the form of `cell`, or `None` if `cell` is neither a number nor a date.
    pub fn like(cell: &str) -> Option<Self> {
        if number(cell).is_some() {
            return Some(Self::Numbers(Vec::new()));
        }
        let format = FORMATS.into_iter().find(|format| date(cell, format).is_some())?;
        Some(Self::Dates { dates: Vec::new(), format })
    }

    /// Returns the row numbers `0..rows` as timestamps.
    pub fn counted(rows: usize) -> Self {
        Self::Numbers((0..rows).map(|row| row as f64).collect())
    }

    /// Appends the timestamp in `cell`.
    ///
    /// # Errors
    /// Fails if `cell` has another form than the timestamps before it, or is not later than the last of them. The error text
    /// is a predicate without a subject: the caller puts the place and the cell in front of it.
    pub fn push(&mut self, cell: &str) -> Result<(), String> {
        match self {
            Self::Numbers(numbers) => {
                let number = number(cell).ok_or("is not a number, expected one as in the rows above")?;
                later(numbers.last(), &number)?;
                numbers.push(number);
            }
            Self::Dates { dates, format } => {
                let date = date(cell, format).ok_or_else(|| {
                    format!("is not a date of the form {format}, expected that form as in the rows above")
                })?;
                later(dates.last(), &date)?;
                dates.push(date);
            }
        }
        Ok(())
    }

    /// Returns the number of timestamps.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Dates { dates, .. } => dates.len(),
        }
    }

    /// Returns whether the timestamps are dates.
    pub fn is_date(&self) -> bool {
        matches!(self, Self::Dates { .. })
    }

    /// Returns whether there is no timestamp.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all timestamps as text, in the form in which they were read.
    pub fn labels(&self) -> Vec<String> {
        self.labels_of(0..self.len())
    }

    /// Returns the timestamps of `rows` as text, in the form in which they were read.
    pub fn labels_of(&self, rows: Range<usize>) -> Vec<String> {
        match self {
            Self::Numbers(numbers) => numbers[rows].iter().map(f64::to_string).collect(),
            Self::Dates { dates, format } => {
                dates[rows].iter().map(|date| date.format(format).to_string()).collect()
            }
        }
    }

    /// Returns the number of rows per season, by the convention of statsmodels' `freq_to_period`: a year for months, quarters and
    /// weeks, a week for days, and a day for any interval that divides a day. Returns `None` for numbers, which have no unit, for
    /// irregular timestamps, and for all other intervals.
    pub fn season(&self) -> Option<usize> {
        let day = TimeDelta::days(1).num_seconds();
        match self.step()? {
            Step::Months { months, .. } if months < 12 && 12 % months == 0 => Some(12 / months as usize),
            Step::Duration(length) if length.subsec_nanos() == 0 => match length.num_seconds() {
                seconds if seconds == 7 * day => Some(52),
                seconds if seconds == day => Some(7),
                seconds if seconds < day && day % seconds == 0 => usize::try_from(day / seconds).ok(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the timestamps as numbers; dates as seconds since 1970-01-01, without a time zone.
    pub fn numbers(&self) -> Vec<f64> {
        self.numbers_of(0..self.len())
    }

    /// Returns the timestamps of `rows` as numbers, like [`Timestamps::numbers`].
    pub fn numbers_of(&self, rows: Range<usize>) -> Vec<f64> {
        match self {
            Self::Numbers(numbers) => numbers[rows].to_vec(),
            Self::Dates { dates, .. } => {
                dates[rows].iter().map(|date| date.and_utc().timestamp_millis() as f64 / 1e3).collect()
            }
        }
    }

    /// Returns the interval between consecutive timestamps, or `None` if the intervals differ or there are fewer than two
    /// timestamps.
    fn step(&self) -> Option<Step> {
        match self {
            Self::Numbers(numbers) => number_step(numbers).map(Step::Number),
            Self::Dates { dates, format } => date_step(dates, format),
        }
    }

    /// Returns the next `count` timestamps after the last one, each `stride` rows after the one before. Returns `None` if the
    /// timestamps are irregular, or if one of them is after the end of the calendar.
    pub fn after(&self, count: usize, stride: usize) -> Option<Self> {
        let mut rows = (1..=count).map(|step| step.checked_mul(stride));
        Some(match (self, self.step()?) {
            (Self::Numbers(numbers), Step::Number(step)) => {
                let last = numbers.last()?;
                let number = |row: Option<usize>| Some(decimal(last + step * row? as f64));
                let numbers = rows.map(|row| number(row).filter(|number| number.is_finite()));
                Self::Numbers(numbers.collect::<Option<_>>()?)
            }
            (Self::Dates { dates, format }, step) => {
                // Counted from the first timestamp, because a short month may have moved the day of the last one.
                let (first, last) = (*dates.first()?, dates.len() - 1);
                let row = |row: Option<usize>| u32::try_from(row?.checked_add(last)?).ok();
                let dates = rows.try_fold(Vec::new(), |mut dates, next| {
                    dates.push(advance(first, step, row(next)?)?);
                    Some(dates)
                });
                Self::Dates { dates: dates?, format }
            }
            _ => return None,
        })
    }
}

fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|number: &f64| number.is_finite())
}

fn date(cell: &str, format: &str) -> Option<NaiveDateTime> {
    if format.contains("%H") {
        return NaiveDateTime::parse_from_str(cell, format).ok();
    }
    let date = if format.contains("%d") {
        NaiveDate::parse_from_str(cell, format)
    } else {
        NaiveDate::parse_from_str(&format!("{cell} 1"), &format!("{format} %d"))
    };
    Some(date.ok()?.and_time(NaiveTime::MIN))
}

fn later<T: PartialOrd>(last: Option<&T>, next: &T) -> Result<(), String> {
    match last.and_then(|last| last.partial_cmp(next)) {
        None | Some(Ordering::Less) => Ok(()),
        Some(Ordering::Equal) => {
            Err("is the same timestamp as in the row above, expected a later one; keep one row per timestamp"
                .into())
        }
        Some(Ordering::Greater) => {
            Err("is earlier than the row above, expected a later timestamp; sort the file by time".into())
        }
    }
}

fn number_step(numbers: &[f64]) -> Option<f64> {
    let [first, .., last] = *numbers else {
        return None;
    };
    let step = (last - first) / (numbers.len() - 1) as f64;
    let tolerance = 1e-6 * step + 4.0 * f64::EPSILON * first.abs().max(last.abs());
    let regular = |(row, number): (usize, &f64)| (number - (first + step * row as f64)).abs() <= tolerance;
    numbers.iter().enumerate().all(regular).then_some(step)
}

fn date_step(dates: &[NaiveDateTime], format: &str) -> Option<Step> {
    let [first, second, ..] = *dates else {
        return None;
    };
    let month = |date: NaiveDateTime| date.year() * 12 + date.month0() as i32;
    let months = (month(second) - month(first)) as u32;
    let month_end = dates.iter().all(|date| last_of_month(*date) == Some(*date));
    let regular = |step: &Step| {
        let steps = (0u32..).map(|count| advance(first, *step, count));
        dates.iter().zip(steps).all(|(date, expected)| Some(*date) == expected)
    };
    // Two months are as many days apart as any two dates, but timestamps without a day have no step of days.
    let duration = format.contains("%d").then_some(Step::Duration(second - first));
    duration.into_iter().chain([Step::Months { months, month_end }]).find(regular)
}

/// Returns the timestamp `count` steps after `first`, or `None` after the end of the calendar.
fn advance(first: NaiveDateTime, step: Step, count: u32) -> Option<NaiveDateTime> {
    match step {
        Step::Number(_) => None,
        Step::Duration(length) => first.checked_add_signed(length.checked_mul(i32::try_from(count).ok()?)?),
        Step::Months { months, month_end: false } => {
            first.checked_add_months(Months::new(months.checked_mul(count)?))
        }
        Step::Months { months, month_end: true } => {
            last_of_month(first.with_day(1)?.checked_add_months(Months::new(months.checked_mul(count)?))?)
        }
    }
}

/// Returns the last day of the month of `date`, with its time of day.
fn last_of_month(date: NaiveDateTime) -> Option<NaiveDateTime> {
    (28..=31).rev().find_map(|day| date.with_day(day))
}

/// Rounds to 15 significant digits, the decimal precision of an f64. This removes rounding errors: 0.1 + 0.2 becomes 0.3.
fn decimal(number: f64) -> f64 {
    format!("{number:.14e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(cells: &[&str]) -> Timestamps {
        let mut time = Timestamps::like(cells[0]).unwrap();
        cells.iter().for_each(|cell| time.push(cell).unwrap());
        time
    }

    #[test]
    fn regular_timestamps_keep_their_form_and_continue() {
        for (cells, next) in [
            (&["0", "1", "2"][..], ["3", "4"]),
            (&["1949", "1951", "1953"], ["1955", "1957"]),
            (&["0", "0.1", "0.2"], ["0.3", "0.4"]),
            (&["1600000000.1", "1600000000.2", "1600000000.3"], ["1600000000.4", "1600000000.5"]),
            (&["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
            (&["2024-01-31", "2024-02-29", "2024-03-31"], ["2024-04-30", "2024-05-31"]),
            (&["2023-02-28", "2023-03-31", "2023-04-30"], ["2023-05-31", "2023-06-30"]),
            (&["2023-11-15", "2024-02-15", "2024-05-15"], ["2024-08-15", "2024-11-15"]),
            (&["1949-11", "1949-12", "1950-01"], ["1950-02", "1950-03"]),
            (&["1949/11", "1949/12", "1950/01"], ["1950/02", "1950/03"]),
            (&["2024-01", "2024-02"], ["2024-03", "2024-04"]),
            (&["2024/12/30", "2024/12/31"], ["2025/01/01", "2025/01/02"]),
            (&["2024-01-01 23:00", "2024-01-01 23:30"], ["2024-01-02 00:00", "2024-01-02 00:30"]),
            (
                &["2024-01-01T00:00:00Z", "2024-01-01T06:00:00Z"],
                ["2024-01-01T12:00:00Z", "2024-01-01T18:00:00Z"],
            ),
            (
                &["2024-01-01 00:00:00", "2024-01-01 00:00:00.250"],
                ["2024-01-01 00:00:00.500", "2024-01-01 00:00:00.750"],
            ),
        ] {
            let time = time(cells);
            assert_eq!(time.labels(), cells);
            let after = time.after(2, 1).unwrap_or_else(|| panic!("{cells:?} is regular"));
            assert_eq!(after.labels(), next, "{cells:?}");
        }
    }

    #[test]
    fn season_of_each_interval_is_that_of_statsmodels() {
        let cases: &[(&[&str], Option<usize>)] = &[
            (&["2024-01", "2024-02", "2024-03"], Some(12)),
            (&["2024-01", "2024-02"], Some(12)),
            (&["2024-01-31", "2024-02-29", "2024-03-31"], Some(12)),
            (&["2023-01", "2023-04", "2023-07"], Some(4)),
            (&["2024-01", "2025-01", "2026-01"], None),
            (&["2024-01-05", "2024-01-12", "2024-01-19"], Some(52)),
            (&["2024-01-05", "2024-01-06", "2024-01-07"], Some(7)),
            (&["2024-01-05", "2024-01-07", "2024-01-09"], None),
            (&["2024-01-05 23:00", "2024-01-06 00:00", "2024-01-06 01:00"], Some(24)),
            (&["2024-01-05 23:45", "2024-01-06 00:00"], Some(96)),
            (&["2024-01-05 00:00", "2024-01-05 07:00"], None),
            (&["2024-01-05", "2024-01-08", "2024-01-09"], None),
            (&["0", "1", "2"], None),
        ];
        for (cells, season) in cases {
            assert_eq!(time(cells).season(), *season, "{cells:?}");
        }
    }

    #[test]
    fn after_with_a_stride_skips_rows_and_ends_with_the_calendar() {
        let days = time(&["+262142-12-01", "+262142-12-06"]);
        assert_eq!(days.after(2, 2).unwrap().labels(), ["+262142-12-16", "+262142-12-26"]);
        assert_eq!(days.after(3, 2), None);
        let ends = time(&["+262142-10-31", "+262142-11-30", "+262142-12-31"]);
        assert_eq!((ends.season(), ends.after(1, 1)), (Some(12), None));
        let numbers = time(&["1", "2"]);
        assert_eq!(numbers.after(2, 1 << 32).unwrap().labels(), ["4294967298", "8589934594"]);
        assert_eq!(numbers.after(2, usize::MAX), None);
        assert_eq!(days.after(1, u32::MAX as usize), None);
        assert_eq!(time(&["1e308", "1.5e308"]).after(1, 1), None);
    }

    #[test]
    fn irregular_timestamps_have_no_step_and_no_continuation() {
        for cells in
            [&["0", "1", "3"][..], &["5"], &["2024-01-05", "2024-01-08", "2024-01-09"], &["2024-01-05"]]
        {
            assert_eq!((time(cells).step(), time(cells).after(1, 1)), (None, None), "{cells:?}");
        }
    }

    #[test]
    fn push_of_earlier_or_malformed_timestamp_is_an_error() {
        for (first, second, expected) in [
            ("1", "1", "the same timestamp"),
            ("1", "0.5", "earlier than"),
            ("1", "x", "not a number"),
            ("1", "inf", "not a number"),
            ("2024-01-02", "2024-01-02", "the same timestamp"),
            ("2024-01-02", "2024-01-01", "earlier than"),
            ("2024-01-02", "2024-02-30", "not a date of the form %Y-%m-%d"),
            ("2024-01-02", "2024-01-03 10:00", "not a date of the form %Y-%m-%d"),
        ] {
            let mut time = time(&[first]);
            let error = time.push(second).unwrap_err();
            assert!(error.contains(expected), "{second}: {error}");
        }
        for cell in ["", "NaN", "inf", "yesterday", "2024-13-01", "31.12.2024"] {
            assert_eq!(Timestamps::like(cell), None, "{cell}");
        }
    }
}
