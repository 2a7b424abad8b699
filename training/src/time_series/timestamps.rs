//! Timestamps: reading, writing, frequencies, seasons and continuation.

use std::ops::Range;

mod arrange;
mod calendar;
mod candidates;
mod clock;
mod columns;
mod config;
mod form;
mod frequency;
mod given;
mod grid;
mod infer;
mod pattern;
mod reader;
mod wall;

pub use arrange::{Arranged, arrange};
pub use calendar::{Calendar, Fourier};
pub use config::{Duplicates, TimeConfig};
pub use frequency::Frequency;
pub use reader::{RawTimes, TimeProblem, TimeReader};

use clock::Clock;
use form::Form;
use grid::{Grid, Step};
use infer::{decimal, number_index};
use wall::SECOND;

/// One timestamp per row of a series, in ascending order without duplicates.
#[derive(Debug, Clone, PartialEq)]
pub struct Timestamps {
    times: Times,
    form: Form,
    clock: Clock,
    /// The interval between consecutive timestamps; `None` if the intervals differ or there are fewer than two timestamps.
    step: Option<Step>,
}

/// The values of timestamps.
#[derive(Debug, Clone, PartialEq)]
enum Times {
    /// Row numbers from 0.
    Rows(usize),
    /// Numbers in any unit.
    Numbers(Vec<f64>),
    /// Microseconds since 1970-01-01, UTC or on a clock whose place is unknown.
    Dates(Vec<i64>),
}

impl Times {
    fn len(&self) -> usize {
        match self {
            Self::Rows(rows) => *rows,
            Self::Numbers(numbers) => numbers.len(),
            Self::Dates(dates) => dates.len(),
        }
    }

    fn is_date(&self) -> bool {
        matches!(self, Self::Dates(_))
    }

    /// Returns a timestamp as text.
    fn text(&self, row: usize, form: &Form, clock: &Clock) -> String {
        match self {
            Self::Rows(_) => row.to_string(),
            Self::Numbers(numbers) => numbers[row].to_string(),
            Self::Dates(dates) => {
                let mut text = String::new();
                form.write(&mut text, dates[row], clock);
                text
            }
        }
    }

    /// Compares the timestamps of two rows.
    fn order(&self, a: usize, b: usize) -> std::cmp::Ordering {
        match self {
            Self::Rows(_) => a.cmp(&b),
            Self::Numbers(numbers) => numbers[a].total_cmp(&numbers[b]),
            Self::Dates(dates) => dates[a].cmp(&dates[b]),
        }
    }

    /// Returns whether the timestamps ascend or descend, without duplicates.
    fn is_ordered(&self) -> bool {
        let all = |order| (1..self.len()).all(|row| self.order(row - 1, row) == order);
        all(std::cmp::Ordering::Less) || all(std::cmp::Ordering::Greater)
    }

    /// Returns the first row whose timestamp is another one in `other`.
    fn difference(&self, other: &Self) -> Option<usize> {
        match (self, other) {
            (Self::Dates(a), Self::Dates(b)) => a.iter().zip(b).position(|(a, b)| a != b),
            (Self::Numbers(a), Self::Numbers(b)) => a.iter().zip(b).position(|(a, b)| a != b),
            _ => Some(0),
        }
    }

    /// Returns the timestamps of these rows, in this order.
    fn select(&self, rows: impl ExactSizeIterator<Item = usize>) -> Self {
        match self {
            Self::Rows(_) => Self::Rows(rows.len()),
            Self::Numbers(numbers) => Self::Numbers(rows.map(|row| numbers[row]).collect()),
            Self::Dates(dates) => Self::Dates(rows.map(|row| dates[row]).collect()),
        }
    }

    /// Takes the timestamps from row `row` on, and frees their memory.
    fn split_off(&mut self, row: usize) -> Self {
        match self {
            Self::Rows(rows) => {
                let end = std::mem::replace(rows, row.min(*rows));
                Self::Rows(end - *rows)
            }
            Self::Numbers(numbers) => Self::Numbers(split_off(numbers, row)),
            Self::Dates(dates) => Self::Dates(split_off(dates, row)),
        }
    }

    /// Returns the timestamps of these rows of a file.
    fn of_rows(&self, rows: &[u32]) -> Self {
        self.select(rows.iter().map(|&row| row as usize))
    }

    /// Returns these timestamps and then those of `next`.
    fn joined(&self, next: Self) -> Self {
        match (self, next) {
            (Self::Numbers(these), Self::Numbers(next)) => Self::Numbers([&these[..], &next].concat()),
            (Self::Dates(these), Self::Dates(next)) => Self::Dates([&these[..], &next].concat()),
            (these, next) => Self::Rows(these.len() + next.len()),
        }
    }
}

/// Takes the elements from `at` on, and frees the memory of the others' spare room when it is more than half.
pub(super) fn split_off<T>(all: &mut Vec<T>, at: usize) -> Vec<T> {
    let end = all.split_off(at.min(all.len()));
    if all.capacity() > 2 * (all.len() + end.len()) {
        all.shrink_to_fit();
    }
    end
}

impl Timestamps {
    /// Returns the row numbers `0..rows` as timestamps.
    pub fn counted(rows: usize) -> Self {
        let step = (rows > 1).then_some(Step::Number(1.0));
        Self { times: Times::Rows(rows), form: Form::Number, clock: Clock::Plain, step }
    }

    /// Returns the number of timestamps.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Returns whether there is no timestamp.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the timestamps are dates.
    pub fn is_date(&self) -> bool {
        self.times.is_date()
    }

    /// Returns whether the timestamps are row numbers, because the series has none.
    pub fn is_counted(&self) -> bool {
        matches!(self.times, Times::Rows(_))
    }

    /// Returns the form of the timestamps, as in `--time_format`.
    pub fn form(&self) -> String {
        match self.times {
            Times::Rows(_) => "row numbers".into(),
            _ => self.form.to_string(),
        }
    }

    /// Returns all timestamps as text, in the form in which they were read.
    pub fn labels(&self) -> Vec<String> {
        self.labels_of(0..self.len())
    }

    /// Returns the timestamps of `rows` as text, in the form in which they were read.
    pub fn labels_of(&self, rows: Range<usize>) -> Vec<String> {
        rows.map(|row| self.times.text(row, &self.form, &self.clock)).collect()
    }

    /// Returns the interval between consecutive timestamps; `None` if the intervals differ, or for fewer than two timestamps.
    pub fn frequency(&self) -> Option<Frequency> {
        self.step.map(Step::frequency)
    }

    /// Returns the number of rows per season; see [`Frequency::season`].
    pub fn season(&self) -> Option<usize> {
        self.frequency()?.season()
    }

    /// Returns the timestamps as numbers; dates as seconds since 1970-01-01 on the clock of the first timestamp, which is never set.
    pub fn numbers(&self) -> Vec<f64> {
        self.numbers_of(0..self.len())
    }

    /// Returns the timestamps of `rows` as numbers, like [`Timestamps::numbers`].
    pub fn numbers_of(&self, rows: Range<usize>) -> Vec<f64> {
        match &self.times {
            Times::Rows(_) => rows.map(|row| row as f64).collect(),
            Times::Numbers(numbers) => numbers[rows].to_vec(),
            Times::Dates(dates) => {
                let offset = dates.first().map_or(0, |first| self.clock.offset(*first));
                dates[rows].iter().map(|date| *date as f64 / SECOND as f64 + f64::from(offset)).collect()
            }
        }
    }

    /// Returns whether the timestamps are instants, because their time zone or their offsets from UTC are known.
    pub fn is_instant(&self) -> bool {
        self.is_date() && self.clock != Clock::Plain
    }

    /// Returns a date as microseconds since 1970-01-01: of an instant in UTC, else on its clock. `None` if the timestamps are no dates.
    pub fn micros(&self, row: usize) -> Option<i64> {
        match &self.times {
            Times::Dates(dates) => dates.get(row).copied(),
            _ => None,
        }
    }

    /// Returns the first `rows` timestamps, or all if there are fewer.
    pub fn head(&self, rows: usize) -> Self {
        let times = match &self.times {
            Times::Rows(all) => Times::Rows(rows.min(*all)),
            Times::Numbers(numbers) => Times::Numbers(numbers[..rows.min(numbers.len())].to_vec()),
            Times::Dates(dates) => Times::Dates(dates[..rows.min(dates.len())].to_vec()),
        };
        Self { times, form: self.form.clone(), clock: self.clock.clone(), step: self.step }
    }

    /// Returns the next `count` timestamps after the last one, each `stride` rows after the one before. Returns `None` if the
    /// timestamps are irregular, or if one of them is after the end of the calendar.
    pub fn after(&self, count: usize, stride: usize) -> Option<Self> {
        let steps = (1..=count).map(|step| step.checked_mul(stride));
        let (last, step) = (self.len().checked_sub(1)?, self.step?);
        let number = |last: f64, step: f64, rows: Option<usize>| {
            Some(decimal(last + step * rows? as f64, 15)).filter(|number| number.is_finite())
        };
        let times = match (&self.times, step) {
            (Times::Rows(_), _) => {
                Times::Numbers(steps.map(|rows| number(last as f64, 1.0, rows)).collect::<Option<_>>()?)
            }
            (Times::Numbers(numbers), Step::Number(step)) => {
                Times::Numbers(steps.map(|rows| number(numbers[last], step, rows)).collect::<Option<_>>()?)
            }
            (Times::Dates(dates), step) => {
                // Counted from the first timestamp, because a short month may have moved the day of the last one.
                let grid = Grid::new(dates[0], step, &self.clock);
                let next = |rows: Option<usize>| grid.at(i64::try_from(rows?.checked_add(last)?).ok()?);
                // A step of many rows ends with the calendar long before its list is made.
                let dates = steps.map(next).collect::<Option<_>>()?;
                Times::Dates(dates)
            }
            _ => return None,
        };
        let step = (times.len() > 1).then_some(step);
        Some(Self { times, form: self.form.clone(), clock: self.clock.clone(), step })
    }

    /// Returns these timestamps and then those of `next`.
    ///
    /// # Errors
    /// Fails with the two timestamps if those of `next` do not continue these: with the same step, or after the last one if they are
    /// irregular.
    pub fn followed_by(&self, next: &Self) -> Result<Self, String> {
        let label = |times: &Self, row: usize| times.labels_of(row..row + 1).remove(0);
        if let Some(expected) = self.after(next.len(), 1) {
            let is_other = |row: &usize| match (&next.times, &expected.times) {
                (Times::Rows(_), _) => !matches!(self.times, Times::Rows(_)),
                (Times::Numbers(found), Times::Numbers(expected)) => found[*row] != expected[*row],
                (Times::Dates(found), Times::Dates(expected)) => found[*row] != expected[*row],
                _ => true,
            };
            return match (0..next.len()).find(is_other) {
                Some(row) => Err(format!("found {}, expected {}", label(next, row), label(&expected, row))),
                None => Ok(Self { times: self.times.joined(expected.times), ..self.clone() }),
            };
        }
        let (Some(last), Some(_)) = (self.len().checked_sub(1), next.len().checked_sub(1)) else {
            return Ok(self.clone());
        };
        let is_later = match (&self.times, &next.times) {
            (Times::Numbers(these), Times::Numbers(next)) => these[last] < next[0],
            (Times::Dates(these), Times::Dates(next)) => these[last] < next[0],
            _ => false,
        };
        if !is_later {
            return Err(format!("found {}, expected one after {}", label(next, 0), label(self, last)));
        }
        Ok(Self { times: self.times.joined(next.times.clone()), step: None, ..self.clone() })
    }
}

#[cfg(test)]
mod tests;
