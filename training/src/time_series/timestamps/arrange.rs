//! Puts rows in the order of time, on the grid of their frequency.

use std::cmp::Ordering;

use chrono::{Datelike, Weekday};

use super::clock::Clock;
use super::config::{Duplicates, TimeConfig};
use super::frequency::Frequency;
use super::grid::{Grid, Step};
use super::infer::{date_step, given_step, irregular_dates, irregular_numbers, number_step};
use super::pattern::Unit;
use super::reader::{RawTimes, TimeProblem};
use super::wall::{HOUR, Wall};
use super::{Times, Timestamps, number_index};
use crate::format::count;

/// The most rows of a grid per row of the file, if `--frequency` sets it. This bounds its memory.
const MOST_PER_ROW: usize = 64;

/// The most gaps that a note lists.
const MOST_GAPS: usize = 3;

/// A series in the order of time, on a regular grid if it has one.
#[derive(Debug)]
pub struct Arranged {
    /// The timestamps, one per row.
    pub timestamps: Timestamps,
    /// The values, `[rows, columns]`. NaN is a missing value.
    pub values: Vec<f64>,
    /// Notes on changed, inserted and merged rows, one sentence each.
    pub notes: Vec<String>,
}

/// Sorts rows, merges those with the same timestamp, finds the frequency, and inserts NaN for the rows that are missing by it.
/// `values` are `[rows, columns]`, in the order of the file. A few rows may have several frequencies, such as Monday to Thursday: it is
/// `expected` if that fits as well as the one that is found.
///
/// # Errors
/// Fails with the row if the order of time or a duplicate needs a flag, or if a row does not fit `--frequency`.
pub fn arrange(
    raw: RawTimes,
    values: Vec<f64>,
    columns: usize,
    config: &TimeConfig,
    expected: Option<Frequency>,
) -> Result<Arranged, TimeProblem> {
    let mut rows = Rows { raw, values, columns, order: None, notes: Vec::new() };
    rows.notes.append(&mut rows.raw.notes);
    rows.sort(config.sort)?;
    rows.merge(config.duplicates)?;
    rows.ascend();
    rows.on_grid(config.frequency, expected)
}

struct Rows {
    raw: RawTimes,
    values: Vec<f64>,
    columns: usize,
    /// The row of the file of each row; `None` if the order is that of the file.
    order: Option<Vec<usize>>,
    notes: Vec<String>,
}

impl Rows {
    fn len(&self) -> usize {
        self.raw.times.len()
    }

    /// Returns the row of the file.
    fn in_file(&self, row: usize) -> usize {
        self.order.as_ref().map_or(row, |order| order[row])
    }

    fn text(&self, row: usize) -> String {
        self.raw.times.text(row, &self.raw.form, &self.raw.clock)
    }

    /// Returns whether the timestamps are local times of an unknown place, which may be lost or doubled when clocks are set.
    fn may_be_local(&self) -> bool {
        let form = &self.raw.form;
        self.raw.clock == Clock::Plain && form.is_local() && form.unit() == Unit::Time
    }

    /// Returns the first row that has this order to the row before it.
    fn first(&self, order: Ordering) -> Option<usize> {
        (1..self.len()).find(|&row| self.raw.times.order(row, row - 1) == order)
    }

    fn sort(&mut self, sort: bool) -> Result<(), TimeProblem> {
        let Some(earlier) = self.first(Ordering::Less) else { return Ok(()) };
        if sort {
            let mut order: Vec<usize> = (0..self.len()).collect();
            order.sort_by(|&a, &b| self.raw.times.order(a, b));
            self.notes.push("the rows were not in the order of time: sorted (--sort)".into());
            self.select(order);
            return Ok(());
        }
        // Descending rows are reversed after duplicates are merged, which are in the order of the file.
        let Some(later) = self.first(Ordering::Greater) else { return Ok(()) };
        let descends = self.raw.times.order(0, self.len() - 1) == Ordering::Greater;
        let (row, word) = if descends { (later, "later") } else { (earlier, "earlier") };
        let zone = if self.may_be_local() { ", or --time_zone if clocks were set" } else { "" };
        let message = format!(
            "{} is {word} than {} in the row above, expected rows in the order of time; try --sort{zone}",
            self.text(row),
            self.text(row - 1)
        );
        Err(TimeProblem::at(row, message))
    }

    /// Reverses rows that descend.
    fn ascend(&mut self) {
        if self.first(Ordering::Less).is_some() {
            self.notes.push("the rows descend in time: reversed".into());
            self.select((0..self.len()).rev().collect());
        }
    }

    /// Keeps these rows, in this order.
    fn select(&mut self, rows: Vec<usize>) {
        self.raw.times = self.raw.times.select(rows.iter().copied());
        self.values = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        self.order = Some(rows.iter().map(|&row| self.in_file(row)).collect());
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }

    fn merge(&mut self, duplicates: Duplicates) -> Result<(), TimeProblem> {
        let Some(second) = self.first(Ordering::Equal) else { return Ok(()) };
        if duplicates == Duplicates::Error {
            let other = match self.raw.form.unit() {
                _ if self.raw.form.is_cut() => " (timestamps are cut to microseconds)",
                _ if self.may_be_local() => ", or --time_zone if clocks were set back",
                Unit::Time => "",
                _ => ", or --time_column with a column of the time of day too",
            };
            let message = format!(
                "{} is the same timestamp as {} above, expected one row per timestamp; try --duplicates first, last or \
                 mean{other}",
                self.text(second),
                count((self.in_file(second) - self.in_file(second - 1)) as u64, "row")
            );
            return Err(TimeProblem::at(self.in_file(second), message));
        }
        // The first row of each timestamp, and the end.
        let mut starts: Vec<usize> = (0..self.len())
            .filter(|&row| row == 0 || self.raw.times.order(row, row - 1) != Ordering::Equal)
            .collect();
        let merged = self.len() - starts.len();
        starts.push(self.len());
        let kept: Vec<usize> = starts
            .windows(2)
            .map(|group| if duplicates == Duplicates::Last { group[1] - 1 } else { group[0] })
            .collect();
        let means = (duplicates == Duplicates::Mean).then(|| self.means(&starts));
        self.select(kept);
        if let Some(means) = means {
            self.values = means;
        }
        let name = match duplicates {
            Duplicates::First => "the first row",
            Duplicates::Last => "the last row",
            _ => "the mean",
        };
        self.notes.push(format!(
            "left out {} of a timestamp: kept {name} (--duplicates)",
            count(merged as u64, "further row")
        ));
        Ok(())
    }

    /// Returns the means of the rows of each group, without missing values.
    fn means(&self, starts: &[usize]) -> Vec<f64> {
        let mean = |group: &[usize], column: usize| {
            let values =
                (group[0]..group[1]).map(|row| self.row(row)[column]).filter(|value| !value.is_nan());
            let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
            sum / count
        };
        let groups = starts.windows(2);
        groups.flat_map(|group| (0..self.columns).map(move |column| mean(group, column))).collect()
    }

    /// Finds the step, and puts the rows on its grid.
    fn on_grid(
        mut self,
        given: Option<Frequency>,
        expected: Option<Frequency>,
    ) -> Result<Arranged, TimeProblem> {
        let step = match &self.raw.times {
            Times::Rows(_) => None,
            Times::Numbers(numbers) => match given {
                Some(Frequency::Number(step)) => Some(Step::Number(step)),
                Some(frequency) => return Err(unlike(frequency, "numbers")),
                None => number_step(numbers).map(Step::Number),
            },
            Times::Dates(dates) => match given {
                Some(frequency @ Frequency::Number(_)) => return Err(unlike(frequency, "dates")),
                Some(frequency) => given_step(frequency, dates, &self.raw.clock),
                None => {
                    let found = date_step(dates, self.raw.form.unit(), &self.raw.clock);
                    let other = expected.and_then(|other| given_step(other, dates, &self.raw.clock));
                    other.filter(|other| self.fits_as_well(*other, found)).or(found)
                }
            },
        };
        let Some(step) = step else {
            let irregular = match &self.raw.times {
                Times::Numbers(numbers) if numbers.len() > 2 => irregular_numbers(numbers),
                Times::Dates(dates) if dates.len() > 2 => irregular_dates(dates),
                _ => None,
            };
            // Local days have 23 or 25 hours when clocks are set.
            let is_utc = self.raw.times.is_date()
                && !matches!(self.raw.clock, Clock::Zone(_))
                && self.raw.form.unit() == Unit::Time;
            let zone = if is_utc { ", or --time_zone if clocks were set" } else { "" };
            self.notes.extend(irregular.map(|note| note + zone));
            return Ok(self.arranged(None));
        };
        if self.is_complete(step) {
            return Ok(self.arranged(Some(step)));
        }
        let places = self.places(step)?;
        let last = places.last().copied().unwrap_or(0);
        if last + 1 > self.len() {
            if last / MOST_PER_ROW > self.len() {
                let message = format!(
                    "by --frequency {}, the series has {} rows, expected at most {}, {MOST_PER_ROW} per row of the file; try a \
                     longer --frequency",
                    step.frequency(),
                    last.saturating_add(1),
                    MOST_PER_ROW * self.len()
                );
                return Err(TimeProblem { row: None, message });
            }
            self.notes.push(self.gaps(step, &places));
            self.expand(step, &places);
        }
        Ok(self.arranged(Some(step)))
    }

    /// Returns a function of the place of a row on the grid of `step`.
    fn place(&self, step: Step) -> Box<dyn Fn(usize) -> Option<usize> + '_> {
        let place = |index: Option<i64>| usize::try_from(index?).ok();
        match (&self.raw.times, step) {
            (Times::Numbers(numbers), Step::Number(step)) => {
                Box::new(move |row| place(number_index(numbers[0], step, numbers[row])))
            }
            (Times::Dates(dates), step) => {
                let grid = Grid::new(dates[0], step, &self.raw.clock);
                Box::new(move |row| place(grid.index(dates[row])))
            }
            _ => Box::new(Some),
        }
    }

    /// Returns whether no row is missing on the grid of `step`.
    fn is_complete(&self, step: Step) -> bool {
        let place = self.place(step);
        (0..self.len()).all(|row| place(row) == Some(row))
    }

    /// Returns whether all rows are on the grid of `step`, and no more of them are missing than by the step that was `found`.
    fn fits_as_well(&self, step: Step, found: Option<Step>) -> bool {
        if found.is_some_and(|found| found.frequency() == step.frequency()) {
            return false;
        }
        let last = |step: Step| self.places(step).ok().and_then(|places| places.last().copied());
        match (last(step), found) {
            (Some(last), None) => last < 2 * self.len(),
            (Some(last_of_step), Some(found)) => last(found).is_none_or(|last| last_of_step <= last),
            (None, _) => false,
        }
    }

    /// Returns the place of each row on the grid of `step`.
    fn places(&self, step: Step) -> Result<Vec<usize>, TimeProblem> {
        let place = self.place(step);
        let mut places = Vec::with_capacity(self.len());
        for row in 0..self.len() {
            match (place(row), places.last()) {
                (Some(place), None) => places.push(place),
                (Some(place), Some(last)) if place > *last => places.push(place),
                _ => {
                    let message = format!(
                        "{} is not on the grid of --frequency {} from {}, expected timestamps on it; try another --frequency",
                        self.text(row),
                        step.frequency(),
                        self.text(0)
                    );
                    return Err(TimeProblem::at(self.in_file(row), message));
                }
            }
        }
        Ok(places)
    }

    /// Describes the gaps: their number, the first places, and the longest one.
    fn gaps(&self, step: Step, places: &[usize]) -> String {
        let gaps: Vec<(usize, usize)> = (1..places.len())
            .map(|row| (row - 1, places[row] - places[row - 1] - 1))
            .filter(|(_, length)| *length > 0)
            .collect();
        let (all, missing) =
            (places.last().map_or(0, |last| last + 1), gaps.iter().map(|(_, length)| length).sum::<usize>());
        let place = |(row, length): &(usize, usize)| match length {
            1 => self.text(*row),
            _ => format!("{} ({length} rows)", self.text(*row)),
        };
        let mut listed: Vec<String> = gaps.iter().take(MOST_GAPS).map(place).collect();
        if gaps.len() > MOST_GAPS {
            let longest = gaps.iter().max_by_key(|(row, length)| (*length, std::cmp::Reverse(*row)));
            let longest =
                longest.map_or_else(String::new, |gap| format!("; the longest after {}", place(gap)));
            listed.push(format!("and {}{longest}", count((gaps.len() - MOST_GAPS) as u64, "more gap")));
        }
        let verb = if missing == 1 { "is" } else { "are" };
        let zone =
            if self.lacks_hours(step, &gaps) { "; if clocks were set then, try --time_zone" } else { "" };
        format!(
            "{}, {missing} of {all} rows {verb} missing, after {}{zone}",
            step.frequency(),
            listed.join(", ")
        )
    }

    /// Returns whether a gap is the hour of a night from Saturday to Sunday that is lost where clocks are set forward.
    fn lacks_hours(&self, step: Step, gaps: &[(usize, usize)]) -> bool {
        let (Times::Dates(dates), Step::Elapsed(step)) = (&self.raw.times, step) else { return false };
        let is_lost = |(row, length): &(usize, usize)| {
            let next = Wall(dates[row + 1]);
            i64::try_from(*length).is_ok_and(|length| length * step == HOUR)
                && next.date().weekday() == Weekday::Sun
                && next.time() <= 4 * HOUR
        };
        self.may_be_local() && gaps.iter().any(is_lost)
    }

    /// Inserts the rows that are missing.
    fn expand(&mut self, step: Step, places: &[usize]) {
        let rows = places.last().map_or(0, |last| last + 1);
        let mut values = vec![f64::NAN; rows * self.columns];
        for (row, place) in places.iter().enumerate() {
            values[place * self.columns..][..self.columns].copy_from_slice(self.row(row));
        }
        self.values = values;
        self.raw.times = match (&self.raw.times, step) {
            (Times::Numbers(numbers), Step::Number(step)) => {
                let mut all: Vec<f64> =
                    (0..rows).map(|row| super::decimal(numbers[0] + step * row as f64, 15)).collect();
                places.iter().zip(numbers).for_each(|(place, number)| all[*place] = *number);
                Times::Numbers(all)
            }
            (Times::Dates(dates), step) => {
                let grid = Grid::new(dates[0], step, &self.raw.clock);
                let mut all: Vec<i64> =
                    (0..rows).map(|row| grid.at(row as i64).unwrap_or(dates[0])).collect();
                places.iter().zip(dates).for_each(|(place, date)| all[*place] = *date);
                Times::Dates(all)
            }
            (times, _) => times.clone(),
        };
    }

    fn arranged(self, step: Option<Step>) -> Arranged {
        let RawTimes { times, form, clock, .. } = self.raw;
        let step = step.filter(|_| times.len() > 1);
        Arranged {
            timestamps: Timestamps { times, form, clock, step },
            values: self.values,
            notes: self.notes,
        }
    }
}

fn unlike(frequency: Frequency, times: &str) -> TimeProblem {
    let message = format!(
        "--frequency is {frequency}, and the timestamps are {times}, expected a frequency of {times}"
    );
    TimeProblem { row: None, message }
}
