//! Finds the step of timestamps: the most common interval decides.

use std::collections::HashMap;

use super::clock::Clock;
use super::frequency::Frequency;
use super::grid::{Grid, MonthDay, Step, business_index};
use super::pattern::Unit;
use super::wall::Wall;
use crate::format::count;

/// The most different intervals that are counted, which bounds memory. Regular series have few.
const MOST_INTERVALS: usize = 4096;

/// The fewest days of a month.
pub(super) const MONTH_DAYS: i64 = 28;

/// Returns the step of ascending dates, or `None` if they are irregular. All dates are on the grid of the step, and at most half
/// of the grid is missing.
pub(super) fn date_step(dates: &[i64], unit: Unit, clock: &Clock) -> Option<Step> {
    let [first, .., last] = *dates else { return None };
    let fits = |step: &Step| {
        let grid = Grid::new(first, *step, clock);
        let rows = grid.index(last).is_some_and(|index| index < 2 * dates.len() as i64);
        rows && dates.iter().all(|date| grid.index(*date).is_some())
    };
    let walls = dates.iter().map(|date| clock.wall(*date));
    let time = clock.wall(first).time();
    if walls.clone().all(|wall| wall.time() == time) {
        let days = if unit < Unit::Week { None } else { day_step(walls.clone()) };
        return [month_step(walls, unit), days].into_iter().flatten().find(fits);
    }
    let step = most_common(dates.windows(2).map(|pair| pair[1].saturating_sub(pair[0])))?;
    // With a clock that is set, six hours on the clock are sometimes five or seven.
    let local =
        most_common(walls.clone().zip(walls.skip(1)).map(|(wall, next)| next.0.saturating_sub(wall.0)));
    let local = local.filter(|step| *step > 0 && *clock != Clock::Plain).map(Step::Clock);
    [Some(Step::Elapsed(step)), local].into_iter().flatten().find(fits)
}

/// Returns the step of `frequency` for these dates. The dates need not be on its grid.
pub(super) fn given_step(frequency: Frequency, dates: &[i64], clock: &Clock) -> Option<Step> {
    let walls = dates.iter().map(|date| clock.wall(*date));
    match frequency {
        Frequency::Number(_) => None,
        Frequency::Time(micros) => {
            let grid = Grid::new(*dates.first()?, Step::Elapsed(micros), clock);
            let elapsed = *clock == Clock::Plain || dates.iter().all(|date| grid.index(*date).is_some());
            Some(if elapsed { Step::Elapsed(micros) } else { Step::Clock(micros) })
        }
        Frequency::Days(days) => Some(Step::Days(days)),
        Frequency::BusinessDays(days) => Some(Step::BusinessDays(days)),
        Frequency::Months(months) => {
            let first = walls.clone().next()?.date();
            let day = MonthDay::of(walls).unwrap_or(MonthDay::Day(chrono::Datelike::day(&first)));
            Some(Step::Months(months, day))
        }
    }
}

/// Returns the step in months, if all dates are on the same day of their months.
fn month_step(walls: impl Iterator<Item = Wall> + Clone, unit: Unit) -> Option<Step> {
    let pairs = walls.clone().zip(walls.clone().skip(1));
    let apart = pairs.clone().all(|(wall, next)| next.day() - wall.day() >= MONTH_DAYS);
    if unit == Unit::Week || unit >= Unit::Day && !apart {
        return None;
    }
    let day = MonthDay::of(walls)?;
    let months = most_common(pairs.map(|(wall, next)| next.month() - wall.month()))?;
    (months > 0).then_some(Step::Months(months, day))
}

/// Returns the step in days or business days.
fn day_step(walls: impl Iterator<Item = Wall> + Clone) -> Option<Step> {
    let pairs = walls.clone().zip(walls.clone().skip(1));
    let days = most_common(pairs.clone().map(|(wall, next)| next.day() - wall.day()))?;
    let business = walls.clone().all(|wall| business_index(wall.day()).is_some());
    let crosses_weekend =
        pairs.clone().any(|(wall, next)| (wall.day() + 3).div_euclid(7) < (next.day() + 3).div_euclid(7));
    if business && days == 1 && crosses_weekend {
        return Some(Step::BusinessDays(1));
    }
    (days > 0).then_some(Step::Days(days))
}

/// Returns the step of ascending numbers, or `None` if they are irregular.
pub(super) fn number_step(numbers: &[f64]) -> Option<f64> {
    let [first, .., last] = *numbers else { return None };
    let fits = |step: &f64| {
        let rows = number_index(first, *step, last).is_some_and(|index| index < 2 * numbers.len() as i64);
        let on_grid = |number: &f64| number_index(first, *step, *number).is_some();
        *step > 0.0 && rows && numbers.iter().all(on_grid)
    };
    let complete = (last - first) / (numbers.len() - 1) as f64;
    // Rounded numbers have slightly different intervals. Over all rows, their mean is more exact.
    let mean = |step: f64| (last - first) / ((last - first) / step).round();
    Some(complete).filter(fits).or_else(|| common_interval(numbers).map(mean).filter(fits))
}

/// Returns the most common interval of numbers, to about nine significant digits.
fn common_interval(numbers: &[f64]) -> Option<f64> {
    let intervals = numbers.windows(2).map(|pair| rounded(pair[1] - pair[0]));
    most_common(intervals).map(|bits| decimal(f64::from_bits(bits as u64), 9))
}

/// Rounds a number to about nine significant digits, so that equal intervals have equal bits.
fn rounded(number: f64) -> i64 {
    const CUT: u32 = 22;
    ((number.to_bits().saturating_add(1 << (CUT - 1))) >> CUT << CUT) as i64
}

/// Returns the number of steps from `first` to `number`, or `None` if it is not a whole number of steps. Rounding errors are allowed.
pub(super) fn number_index(first: f64, step: f64, number: f64) -> Option<i64> {
    let index = ((number - first) / step).round();
    let tolerance = 1e-6 * step + 4.0 * f64::EPSILON * first.abs().max(number.abs());
    let fits = (number - (first + step * index)).abs() <= tolerance && index.abs() < 9e15;
    fits.then_some(index as i64)
}

/// Rounds to `digits` significant digits. With 15, the decimal precision of an f64, this removes rounding errors: 0.1 + 0.2 becomes
/// 0.3.
pub(super) fn decimal(number: f64, digits: usize) -> f64 {
    format!("{number:.*e}", digits - 1).parse().unwrap_or(number)
}

/// Returns the most common of `intervals`, and of several the shortest.
fn most_common(intervals: impl Iterator<Item = i64>) -> Option<i64> {
    let mut counts = HashMap::new();
    // Neighbors are mostly equal, and then cost no search.
    let (mut run, mut length) = (None, 0u64);
    let mut add = |run: Option<i64>, length: u64| {
        if let Some(interval) = run
            && (counts.len() < MOST_INTERVALS || counts.contains_key(&interval))
        {
            *counts.entry(interval).or_default() += length;
        }
    };
    for interval in intervals {
        if run != Some(interval) {
            add(run, length);
            (run, length) = (Some(interval), 0);
        }
        length += 1;
    }
    add(run, length);
    let best = counts
        .into_iter()
        .max_by_key(|(interval, count): &(i64, u64)| (*count, std::cmp::Reverse(*interval)));
    best.map(|(interval, _)| interval)
}

/// Describes irregular dates by the interval that is most common.
pub(super) fn irregular_dates(dates: &[i64]) -> Option<String> {
    let intervals = || dates.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    let common = most_common(intervals())?;
    let text = Frequency::of_time(common).length();
    Some(irregular(intervals().filter(|interval| *interval != common).count(), dates.len() - 1, &text))
}

/// Describes irregular numbers by the interval that is most common.
pub(super) fn irregular_numbers(numbers: &[f64]) -> Option<String> {
    let common = common_interval(numbers)?;
    let differs = |pair: &&[f64]| rounded(pair[1] - pair[0]) != rounded(common);
    let others = numbers.windows(2).filter(differs).count();
    Some(irregular(others, numbers.len() - 1, &common.to_string()))
}

fn irregular(others: usize, all: usize, common: &str) -> String {
    format!(
        "irregular: {others} of {} {} from the most common, {common}; the rows are taken as they come; try --frequency",
        count(all as u64, "interval"),
        if others == 1 { "differs" } else { "differ" },
    )
}
