//! Features that are made of timestamps: the place in the day, week, month or year, and Fourier terms of any period.

use std::f64::consts::TAU;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::grid::{Grid, Step, business_index};
use super::wall::{DAY, Wall};
use super::{Times, Timestamps, decimal};

/// A place of timestamps in a period of the calendar. A network gets the sine and the cosine of its angle, so that the end of a period
/// is next to its start, as `cyclic` encoders in darts (Herzen et al., "Darts: User-Friendly Modern Machine Learning for Time Series",
/// 2022).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Calendar {
    /// The time of day.
    Hour,
    /// The day of the week, from Monday.
    Weekday,
    /// The day of the month.
    Day,
    /// The month of the year.
    Month,
    /// The quarter of the year.
    Quarter,
    /// The ISO week of its year.
    Week,
    /// The day of the year.
    DayOfYear,
}

impl Calendar {
    /// Returns the name, as in `--calendar NAME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Weekday => "weekday",
            Self::Day => "day",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Week => "week",
            Self::DayOfYear => "day_of_year",
        }
    }

    /// Returns the place of a time in its period, from 0 to below 1. Months, years and ISO years have their own lengths.
    fn phase(self, wall: Wall) -> f64 {
        let date = wall.date();
        let days = |end: Option<NaiveDate>, start: Option<NaiveDate>| {
            end.zip(start).map_or(30, |(end, start)| (end - start).num_days().max(1)) as f64
        };
        let first = |year: i32, month: u32| NaiveDate::from_ymd_opt(year, month, 1);
        let (year, month) = (date.year(), date.month());
        match self {
            Self::Hour => wall.time() as f64 / DAY as f64,
            Self::Weekday => f64::from(date.weekday().num_days_from_monday()) / 7.0,
            Self::Day => {
                let next = if month == 12 { first(year + 1, 1) } else { first(year, month + 1) };
                f64::from(date.day0()) / days(next, first(year, month))
            }
            Self::Month => f64::from(date.month0()) / 12.0,
            Self::Quarter => f64::from(date.month0() / 3) / 4.0,
            Self::Week => {
                // The last week of an ISO year has December 28.
                let week = date.iso_week();
                let last =
                    NaiveDate::from_ymd_opt(week.year(), 12, 28).map_or(52, |day| day.iso_week().week());
                f64::from(week.week0()) / f64::from(last)
            }
            Self::DayOfYear => f64::from(date.ordinal0()) / days(first(year + 1, 1), first(year, 1)),
        }
    }
}

/// Fourier terms of a period: the sines and cosines of its first harmonics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fourier {
    /// The rows of a period.
    pub period: f64,
    /// The number of harmonics.
    pub order: usize,
}

impl Fourier {
    /// The most harmonics of a period.
    const MOST: usize = 100;

    /// Returns the sine and the cosine of each harmonic, sines and cosines in turn.
    fn terms(self, position: f64) -> impl Iterator<Item = f64> {
        let phase = position.rem_euclid(self.period) / self.period;
        (1..=self.order).flat_map(move |harmonic| {
            let (sine, cosine) = (TAU * (harmonic as f64 * phase).fract()).sin_cos();
            [sine, cosine]
        })
    }
}

impl fmt::Display for Fourier {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.order {
            1 => write!(f, "{}", self.period),
            order => write!(f, "{}:{order}", self.period),
        }
    }
}

impl FromStr for Fourier {
    type Err = String;

    /// Reads `PERIOD` or `PERIOD:ORDER`.
    ///
    /// # Errors
    /// Fails if a period has fewer than two rows, or if the order is not 1 to half of the period and at most 100: shorter waves look
    /// like longer ones in rows.
    fn from_str(text: &str) -> Result<Self, String> {
        let (period, order) = text.trim().split_once(':').unwrap_or((text.trim(), "1"));
        let period = period.parse().ok().filter(|period: &f64| period.is_finite() && *period >= 2.0);
        let period = period.ok_or("expected PERIOD or PERIOD:ORDER, with a period of at least 2 rows")?;
        let most = (period / 2.0).min(Self::MOST as f64) as usize;
        let order = order.parse().ok().filter(|order| (1..=most).contains(order));
        let order =
            order.ok_or_else(|| format!("expected an order of 1 to {most} for a period of {period} rows"))?;
        Ok(Self { period, order })
    }
}

impl TryFrom<String> for Fourier {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fourier> for String {
    fn from(fourier: Fourier) -> Self {
        fourier.to_string()
    }
}

impl Timestamps {
    /// Returns the sine and the cosine of each feature for each of `rows`, `[rows, 2 * features]`. The rows may be after the last one
    /// of regular timestamps. A row without a date has NaN.
    pub fn calendar(&self, features: &[Calendar], rows: Range<usize>) -> Vec<f64> {
        let of = |row: usize| {
            let wall = self.instant(row).map(|instant| self.clock.wall(instant));
            features.iter().flat_map(move |feature| {
                let (sine, cosine) = (TAU * wall.map_or(f64::NAN, |wall| feature.phase(wall))).sin_cos();
                [sine, cosine]
            })
        };
        rows.flat_map(of).collect()
    }

    /// Returns the sines and the cosines of Fourier terms for each of `rows`, `[rows, 2 * the sum of the orders]`. The rows may be after
    /// the last one. A period begins at 1970-01-01 or at the number 0, so that it is the same for all files of a frequency; without
    /// timestamps, it begins at the first row. Irregular timestamps have NaN.
    pub fn fourier(&self, terms: &[Fourier], rows: Range<usize>) -> Vec<f64> {
        let of = |row: usize| {
            let position = self.position(row).unwrap_or(f64::NAN);
            terms.iter().flat_map(move |term| term.terms(position))
        };
        rows.flat_map(of).collect()
    }

    /// Returns the instant of a row, also after the last one of regular timestamps.
    fn instant(&self, row: usize) -> Option<i64> {
        let Times::Dates(dates) = &self.times else { return None };
        match dates.get(row) {
            Some(date) => Some(*date),
            None => Grid::new(*dates.first()?, self.step?, &self.clock).at(i64::try_from(row).ok()?),
        }
    }

    /// Returns the steps of regular timestamps from a fixed place to a row, also after the last one.
    fn position(&self, row: usize) -> Option<f64> {
        match (&self.times, self.step) {
            (Times::Rows(_), _) => Some(row as f64),
            (Times::Numbers(numbers), Some(Step::Number(step))) => {
                let number = numbers.get(row).copied();
                let number = number.or_else(|| Some(decimal(numbers.first()? + step * row as f64, 15)))?;
                Some(number / step)
            }
            (Times::Dates(_), Some(step)) => steps_to(self.instant(row)?, step, &self.clock),
            _ => None,
        }
    }
}

/// Returns the steps from 1970-01-01 to an instant.
fn steps_to(instant: i64, step: Step, clock: &Clock) -> Option<f64> {
    let wall = clock.wall(instant);
    let (distance, step) = match step {
        Step::Number(_) => return None,
        Step::Elapsed(step) => (instant, step),
        Step::Clock(step) => (wall.0, step),
        Step::Days(step) => (wall.day(), step),
        Step::BusinessDays(step) => (business_index(wall.day())?, step),
        Step::Months(step, _) => (wall.month(), step),
    };
    Some(distance.div_euclid(step) as f64 + distance.rem_euclid(step) as f64 / step as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::timestamps::tests::time as timestamps;

    fn phases(times: &Timestamps, feature: Calendar, rows: Range<usize>) -> Vec<f64> {
        let pairs = times.calendar(&[feature], rows);
        pairs.chunks(2).map(|pair| (pair[0].atan2(pair[1]) / TAU).rem_euclid(1.0)).collect()
    }

    #[test]
    fn calendar_of_each_feature_is_the_place_in_its_period() {
        let times = timestamps(&["2024-02-29 06:00", "2024-02-29 18:00", "2024-03-01 06:00"]);
        let expected = [
            (Calendar::Hour, [0.25, 0.75, 0.25]),
            (Calendar::Weekday, [3.0 / 7.0, 3.0 / 7.0, 4.0 / 7.0]),
            (Calendar::Day, [28.0 / 29.0, 28.0 / 29.0, 0.0]),
            (Calendar::Month, [1.0 / 12.0, 1.0 / 12.0, 2.0 / 12.0]),
            (Calendar::Quarter, [0.0; 3]),
            (Calendar::Week, [8.0 / 52.0; 3]),
            (Calendar::DayOfYear, [59.0 / 366.0, 59.0 / 366.0, 60.0 / 366.0]),
        ];
        for (feature, phase) in expected {
            let got = phases(&times, feature, 0..3);
            assert!(got.iter().zip(phase).all(|(a, b)| (a - b).abs() < 1e-12), "{feature:?}: {got:?}");
        }
        // Rows after the last one: 2024-12-31 18:00 is 614 half days after the first.
        let got = phases(&times, Calendar::DayOfYear, 613..614);
        assert!((got[0] - 365.0 / 366.0).abs() < 1e-12, "{got:?}");
    }

    #[test]
    fn calendar_without_dates_or_after_irregular_ones_is_nan() {
        assert!(Timestamps::counted(3).calendar(&[Calendar::Month], 0..1)[0].is_nan());
        let irregular = timestamps(&["2024-01-01", "2024-01-02", "2024-01-07", "2024-01-19"]);
        let values = irregular.calendar(&[Calendar::Day], 3..5);
        assert!(values[0].is_finite() && values[2].is_nan(), "{values:?}");
        assert!(irregular.fourier(&["7".parse().unwrap()], 0..1)[0].is_nan());
    }

    /// A file that begins later has the same terms.
    #[test]
    fn fourier_terms_do_not_depend_on_the_first_row() {
        let terms: Vec<Fourier> = ["7:3", "3.5"].iter().map(|text| text.parse().unwrap()).collect();
        for labels in [
            &["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"][..],
            &["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"],
            &[
                "2024-03-08",
                "2024-03-11",
                "2024-03-12",
                "2024-03-13",
                "2024-03-14",
                "2024-03-15",
                "2024-03-18",
            ],
            &["2024-01-30 22:00", "2024-01-30 23:00", "2024-01-31 00:00", "2024-01-31 01:00"],
            &["30", "40", "50", "60"],
        ] {
            let (whole, rest) = (timestamps(labels), timestamps(&labels[1..]));
            let (whole, rest) = (whole.fourier(&terms, 1..9), rest.fourier(&terms, 0..8));
            assert_eq!(whole.len(), 8 * 8);
            assert!(whole.iter().zip(&rest).all(|(a, b)| (a - b).abs() < 1e-9), "{labels:?}");
        }
        let counted = Timestamps::counted(9).fourier(&["4:2".parse().unwrap()], 0..3);
        let expected = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0];
        assert!(counted.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{counted:?}");
    }

    #[test]
    fn from_str_of_impossible_fourier_terms_is_an_error_with_the_bounds() {
        for (text, part) in [
            ("1", "at least 2 rows"),
            ("x", "at least 2 rows"),
            ("inf", "at least 2 rows"),
            ("7:4", "1 to 3 for a period of 7"),
            ("7:0", "1 to 3"),
            ("7:", "1 to 3"),
            ("1e9:101", "1 to 100"),
        ] {
            let error = text.parse::<Fourier>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        for text in ["7", "7:3", "365.25:2"] {
            assert_eq!(text.parse::<Fourier>().unwrap().to_string(), text);
        }
    }
}
