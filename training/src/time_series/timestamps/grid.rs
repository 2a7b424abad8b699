//! The steps of regular timestamps, and the grid on which they are.

use chrono::{Datelike, NaiveDate};

use super::clock::Clock;
use super::frequency::Frequency;
use super::wall::Wall;

/// The step between the timestamps of a regular series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// A difference of numbers.
    Number(f64),
    /// Microseconds that pass.
    Elapsed(i64),
    /// Microseconds on the clock, so that a day has 24 hours also when clocks are set.
    Clock(i64),
    /// Days, at the same time of day.
    Days(i64),
    /// Days from Monday to Friday, at the same time of day.
    BusinessDays(i64),
    /// Months, at the same time of day.
    Months(i64, MonthDay),
}

/// The day of the month of a monthly series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum MonthDay {
    /// This day, or the last one of a shorter month. 31 is the last day of every month.
    Day(u32),
    /// The first day from Monday to Friday.
    FirstBusiness,
    /// The last day from Monday to Friday.
    LastBusiness,
}

/// The grid of regular dates: the first one and the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid<'a> {
    step: Step,
    clock: &'a Clock,
    first: i64,
    wall: Wall,
}

impl Step {
    /// Returns the frequency of the step.
    pub fn frequency(self) -> Frequency {
        match self {
            Self::Number(step) => Frequency::Number(step),
            Self::Elapsed(micros) | Self::Clock(micros) => Frequency::of_time(micros),
            Self::Days(days) => Frequency::Days(days),
            Self::BusinessDays(days) => Frequency::BusinessDays(days),
            Self::Months(months, _) => Frequency::Months(months),
        }
    }
}

impl MonthDay {
    /// Returns the date in a month that is counted from January of year 0.
    pub fn date(self, month: i64) -> Option<NaiveDate> {
        let year = i32::try_from(month.div_euclid(12)).ok()?;
        let month = month.rem_euclid(12) as u32 + 1;
        let last = |most: u32| (28..=most).rev().find_map(|day| NaiveDate::from_ymd_opt(year, month, day));
        let is_business = |date: &NaiveDate| business_index(Wall::of(*date).day()).is_some();
        match self {
            Self::Day(day) => NaiveDate::from_ymd_opt(year, month, day).or_else(|| last(day)),
            Self::FirstBusiness => {
                (1..=3).filter_map(|day| NaiveDate::from_ymd_opt(year, month, day)).find(is_business)
            }
            Self::LastBusiness => {
                let last = last(31)?.day();
                let days = (last - 2..=last).rev();
                days.filter_map(|day| NaiveDate::from_ymd_opt(year, month, day)).find(is_business)
            }
        }
    }

    /// Returns the rule that all of these days follow.
    pub fn of(days: impl Iterator<Item = Wall> + Clone) -> Option<Self> {
        let most = days.clone().map(|wall| wall.date().day()).max()?;
        let fits = |rule: &Self| days.clone().all(|wall| rule.date(wall.month()) == Some(wall.date()));
        [Self::Day(31), Self::Day(most), Self::LastBusiness, Self::FirstBusiness].into_iter().find(fits)
    }
}

impl<'a> Grid<'a> {
    /// Returns the grid of `step` that begins at the instant `first`.
    pub fn new(first: i64, step: Step, clock: &'a Clock) -> Self {
        Self { step, clock, first, wall: clock.wall(first) }
    }

    /// Returns the number of steps from the first timestamp to `instant`, or `None` if it is not on the grid.
    pub fn index(&self, instant: i64) -> Option<i64> {
        let whole = |distance: i64, step: i64| (distance % step == 0).then_some(distance / step);
        if let Step::Elapsed(step) = self.step {
            return whole(instant.checked_sub(self.first)?, step);
        }
        let wall = self.clock.wall(instant);
        if let Step::Clock(step) = self.step {
            return whole(wall.0.checked_sub(self.wall.0)?, step);
        }
        if wall.time() != self.wall.time() {
            return None;
        }
        match self.step {
            Step::Days(step) => whole(wall.day() - self.wall.day(), step),
            Step::BusinessDays(step) => {
                whole(business_index(wall.day())? - business_index(self.wall.day())?, step)
            }
            Step::Months(step, day) => {
                let month = wall.month();
                let fits = day.date(month) == Some(wall.date());
                whole(month - self.wall.month(), step).filter(|_| fits)
            }
            _ => None,
        }
    }

    /// Returns the instant `index` steps after the first one, or `None` after the end of the calendar.
    pub fn at(&self, index: i64) -> Option<i64> {
        let day = |day: i64| day.checked_mul(super::wall::DAY)?.checked_add(self.wall.time());
        let wall = match self.step {
            Step::Number(_) => return None,
            Step::Elapsed(step) => {
                let instant = self.first.checked_add(step.checked_mul(index)?)?;
                return Some(instant).filter(|instant| Wall(*instant).is_in_calendar());
            }
            Step::Clock(step) => self.wall.0.checked_add(step.checked_mul(index)?)?,
            Step::Days(step) => day(self.wall.day().checked_add(step.checked_mul(index)?)?)?,
            Step::BusinessDays(step) => {
                let index = business_index(self.wall.day())?.checked_add(step.checked_mul(index)?)?;
                day(index.div_euclid(5).checked_mul(7)?.checked_add(index.rem_euclid(5) - 3)?)?
            }
            Step::Months(step, day) => {
                let month = self.wall.month().checked_add(step.checked_mul(index)?)?;
                Wall::at(day.date(month)?, self.wall.time()).0
            }
        };
        let wall = Some(Wall(wall)).filter(|wall| wall.is_in_calendar())?;
        Some(self.clock.instant(wall)).filter(|instant| Wall(*instant).is_in_calendar())
    }
}

/// Returns the number of days from Monday to Friday since Monday, 1969-12-29, or `None` on a weekend. `day` counts from 1970-01-01.
pub(super) fn business_index(day: i64) -> Option<i64> {
    let (week, weekday) = ((day + 3).div_euclid(7), (day + 3).rem_euclid(7));
    (weekday < 5).then_some(5 * week + weekday)
}
