//! Writes timestamps as a pattern read them.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate};

use super::names::{MONTHS, WEEKDAYS, style};
use super::{Item, Pattern, digits, offset, pad};
use crate::time_series::timestamps::wall::{HOUR, MINUTE, SECOND, Wall};

const PADS: u16 = pad::NONE | pad::ZERO | pad::SPACE;

/// A date and a time of day in their parts.
struct Parts {
    date: NaiveDate,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    offset: i32,
}

impl Pattern {
    /// Appends a timestamp to `out`. `offset` is the seconds from UTC.
    pub fn write(&self, out: &mut String, wall: Wall, offset: i32) {
        let time = wall.time();
        let mut parts = Parts {
            date: wall.date(),
            hour: time / HOUR,
            minute: time % HOUR / MINUTE,
            second: time % MINUTE / SECOND,
            micros: time % SECOND,
            offset,
        };
        let ends_days = |(item, seen): (&Item, u16)| *item == Item::Hour && seen & pad::DAY_END != 0;
        if time == 0
            && self.items().any(ends_days)
            && let Some(date) = parts.date.pred_opt()
        {
            (parts.date, parts.hour) = (date, 24);
        }
        let date = self.midnight.filter(|_| time == 0 && self.is_midnight_short);
        let items = self.items().take(date.unwrap_or(self.items.len()));
        let usual = self.padding();
        items.for_each(|(item, seen)| {
            let unseen = item.has_padding() && seen & PADS == 0;
            parts.write(out, item, if unseen { seen | usual } else { seen });
        });
    }

    /// Returns the padding of all numbers so far. It is that of a number that was never below 10.
    fn padding(&self) -> u16 {
        let numbers = self.items().filter(|(item, _)| item.has_padding());
        numbers.fold(0, |all, (_, seen)| all | seen & PADS)
    }

    pub(super) fn items(&self) -> impl Iterator<Item = (&Item, u16)> {
        self.items.iter().zip(self.seen.iter().copied())
    }
}

impl Item {
    /// Returns whether numbers below 10 may have one digit.
    fn has_padding(&self) -> bool {
        use Item::{Day, HalfDayHour, Hour, Month, Week};
        matches!(self, Month | Day | Week | Hour | HalfDayHour)
    }
}

impl Parts {
    fn write(&self, out: &mut String, item: &Item, seen: u16) {
        let date = self.date;
        match item {
            Item::Text(text) => out.push_str(text),
            Item::Year => year(out, date.year()),
            Item::WeekYear => year(out, date.iso_week().year()),
            Item::ShortYear => padded(out, date.year().rem_euclid(100).into(), 0),
            Item::Month => padded(out, date.month().into(), seen),
            Item::MonthName => MONTHS.write(out, date.month(), seen),
            Item::Day => padded(out, date.day().into(), seen),
            Item::WeekdayName => WEEKDAYS.write(out, date.weekday().number_from_monday(), seen),
            Item::DayOfYear => append(out, format_args!("{:03}", date.ordinal())),
            Item::Quarter => append(out, format_args!("{}", date.quarter())),
            Item::Week => padded(out, date.iso_week().week().into(), seen),
            Item::WeekdayNumber => append(out, format_args!("{}", date.weekday().number_from_monday())),
            Item::Hour => padded(out, self.hour, seen),
            Item::HalfDayHour => padded(out, (self.hour + 11) % 12 + 1, seen),
            Item::HalfDay => half_day(out, self.hour >= 12, seen),
            Item::Minute => padded(out, self.minute, 0),
            Item::Second => padded(out, self.second, 0),
            Item::Fraction => fraction(out, self.micros, seen),
            Item::Offset => offset_of(out, self.offset, seen),
        }
    }
}

/// Appends text. Writing to a string cannot fail.
fn append(out: &mut String, text: std::fmt::Arguments) {
    let _ = out.write_fmt(text);
}

/// Writes four digits, or a sign and more where a year needs them.
fn year(out: &mut String, year: i32) {
    match year {
        0..=9999 => append(out, format_args!("{year:04}")),
        _ => append(out, format_args!("{year:+05}")),
    }
}

fn padded(out: &mut String, number: i64, seen: u16) {
    match (number, seen & PADS) {
        (0..10, pad::NONE) => append(out, format_args!("{number}")),
        (0..10, pads) if pads & pad::SPACE != 0 => append(out, format_args!(" {number}")),
        _ => append(out, format_args!("{number:02}")),
    }
}

fn half_day(out: &mut String, afternoon: bool, seen: u16) {
    let text = match (afternoon, seen & style::DOTTED != 0) {
        (false, false) => "am",
        (true, false) => "pm",
        (false, true) => "a.m.",
        (true, true) => "p.m.",
    };
    match seen & style::LOWER {
        0 => out.push_str(&text.to_ascii_uppercase()),
        _ => out.push_str(text),
    }
}

/// Writes as many digits as cells had. If they differed, writes the fewest that are exact.
fn fraction(out: &mut String, micros: i64, seen: u16) {
    let exact = |count: &usize| micros % 10i64.pow(6u32.saturating_sub(*count as u32)) == 0;
    let count = (0..=digits::MOST).filter(|count| seen & 1 << count != 0).find(exact);
    let count = count.unwrap_or(if micros == 0 { 0 } else { 6 });
    if count > 0 {
        out.push(if seen & digits::COMMA != 0 { ',' } else { '.' });
        let all = format!("{micros:06}000");
        out.push_str(&all[..count]);
    }
}

fn offset_of(out: &mut String, seconds: i32, seen: u16) {
    let names = [("Z", offset::Z), ("UTC", offset::UTC), ("GMT", offset::GMT)];
    if let Some((name, _)) = names.iter().find(|(_, bit)| seconds == 0 && seen & bit != 0) {
        return out.push_str(name);
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match seen & !offset::NAMES {
        offset::HOURS if minutes == 0 => append(out, format_args!("{sign}{hours:02}")),
        offset::PLAIN => append(out, format_args!("{sign}{hours:02}{minutes:02}")),
        _ => append(out, format_args!("{sign}{hours:02}:{minutes:02}")),
    }
}
