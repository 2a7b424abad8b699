//! Clocks: the relation between instants and the times that clocks of a place show.

use std::collections::HashSet;

use chrono::{MappedLocalTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::wall::{SECOND, Wall};

/// A clock. Instants are microseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Clock {
    /// Shows instants as they are: UTC, or local times of an unknown place.
    Plain,
    /// Shows the offsets that are written in a file: the instants from which an offset applies, and its seconds.
    Offsets(Vec<(i64, i32)>),
    /// Shows the local time of a time zone.
    Zone(Tz),
}

/// The instants at which a clock shows a time. When clocks are set forward there is none, and when they are set back two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Instants {
    /// The time is left out. The instant would be this one if the clock had not been set yet.
    None(i64),
    /// The usual case.
    One(i64),
    /// The time occurs twice.
    Two(i64, i64),
}

impl Clock {
    /// Returns the seconds from UTC at an instant.
    pub fn offset(&self, instant: i64) -> i32 {
        match self {
            Self::Plain => 0,
            Self::Offsets(changes) => {
                let next = changes.partition_point(|(from, _)| *from <= instant);
                changes.get(next.saturating_sub(1)).map_or(0, |(_, offset)| *offset)
            }
            Self::Zone(zone) => Wall(instant)
                .date_time()
                .map_or(0, |time| zone.offset_from_utc_datetime(&time).fix().local_minus_utc()),
        }
    }

    /// Returns the time that the clock shows at an instant.
    pub fn wall(&self, instant: i64) -> Wall {
        Wall(instant.saturating_add(i64::from(self.offset(instant)) * SECOND))
    }

    /// Returns the instants at which the clock shows `wall`.
    pub fn instants(&self, wall: Wall) -> Instants {
        let before = |offset: i32| wall.0.saturating_sub(i64::from(offset) * SECOND);
        match self {
            Self::Plain => Instants::One(wall.0),
            Self::Offsets(changes) => {
                let at = changes.partition_point(|(from, _)| *from <= wall.0);
                // Offsets are below a day, so that only changes close to the time matter.
                let near = changes[at.saturating_sub(3)..changes.len().min(at + 2)].iter();
                let mut fitting = near.clone().filter(|(_, offset)| self.offset(before(*offset)) == *offset);
                match (fitting.next(), fitting.next()) {
                    (Some((_, first)), Some((_, second))) if first != second => {
                        Instants::Two(before(*first), before(*second))
                    }
                    (Some((_, offset)), _) => Instants::One(before(*offset)),
                    (None, _) => Instants::None(before(near.clone().next().map_or(0, |(_, offset)| *offset))),
                }
            }
            Self::Zone(zone) => {
                let offset = |time| zone.offset_from_local_datetime(&time).map(|offset| offset.fix());
                match wall.date_time().map(offset) {
                    Some(MappedLocalTime::Single(offset)) => Instants::One(before(offset.local_minus_utc())),
                    Some(MappedLocalTime::Ambiguous(first, second)) => {
                        Instants::Two(before(first.local_minus_utc()), before(second.local_minus_utc()))
                    }
                    _ => Instants::None(before(self.offset(wall.0.saturating_sub(super::wall::DAY)))),
                }
            }
        }
    }

    /// Returns the instant at which the clock shows `wall`: the first one if there are two, and if there is none, the one that
    /// the clock would show if it had not been set yet.
    pub fn instant(&self, wall: Wall) -> i64 {
        match self.instants(wall) {
            Instants::None(instant) | Instants::One(instant) | Instants::Two(instant, _) => instant,
        }
    }
}

/// Converts local times to instants, in place. Of two instants with the same local time, the order of the rows decides; if the rows
/// have no order, the first one in the file is the earlier. Returns the number of times for which only the file decided.
///
/// # Errors
/// Fails with the row of a time that does not exist.
pub(super) fn resolve(dates: &mut [i64], clock: &Clock) -> Result<usize, usize> {
    let instants = |date: &i64| clock.instants(Wall(*date));
    if let Some(row) = dates.iter().position(|date| matches!(instants(date), Instants::None(_))) {
        return Err(row);
    }
    let ascends = dates.first() <= dates.last();
    let mut last = if ascends { i64::MIN } else { i64::MAX };
    let in_order = |date: &i64| {
        last = match instants(date) {
            Instants::None(instant) | Instants::One(instant) => instant,
            Instants::Two(first, second) if ascends => {
                if first > last {
                    first
                } else {
                    second
                }
            }
            Instants::Two(first, second) => {
                if second < last {
                    second
                } else {
                    first
                }
            }
        };
        last
    };
    let ordered: Vec<i64> = dates.iter().map(in_order).collect();
    if ordered.is_sorted() || ordered.is_sorted_by(|a, b| a >= b) {
        dates.copy_from_slice(&ordered);
        return Ok(0);
    }
    let mut seen = HashSet::new();
    let mut by_file = 0;
    for date in dates {
        *date = match instants(date) {
            Instants::None(instant) | Instants::One(instant) => instant,
            Instants::Two(first, second) => {
                by_file += 1;
                if seen.insert(*date) { first } else { second }
            }
        };
    }
    Ok(by_file)
}
