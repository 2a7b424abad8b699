//! Reads the items of a pattern from a cell.

use chrono::{Datelike, NaiveDate, Weekday};

use super::names::{MONTHS, WEEKDAYS, style};
use super::{Item, Misfit, Moment, digits, offset, pad};
use crate::time_series::timestamps::wall::{DAY, HOUR, MINUTE, SECOND, Wall};

/// The numbers of a cell.
pub(super) struct Fields {
    year: i32,
    month: u32,
    day: u32,
    day_of_year: Option<u32>,
    week: Option<u32>,
    weekday: u32,
    named_weekday: Option<u32>,
    hour: u32,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    micros: u32,
    offset: Option<i32>,
    /// Whether every number is in its range.
    in_range: bool,
}

/// Reads the items at the start of `cell`. Returns the numbers in it, and the number of bytes that were read.
pub(super) fn read_start(items: &[Item], seen: &mut [u16], cell: &[u8]) -> Result<(Fields, usize), Misfit> {
    let mut fields = Fields::default();
    let mut rest = cell;
    let mut after_number = false;
    for (at, (item, seen)) in items.iter().zip(seen).enumerate() {
        let before_number = items.get(at + 1).is_some_and(Item::is_number);
        let exact = after_number || before_number || item.is_exact();
        after_number = item.is_number();
        fields.read(item, &mut rest, exact, at == 0, seen)?;
        if after_number && !before_number && rest.first().is_some_and(u8::is_ascii_digit) {
            return Err(Misfit::Form);
        }
    }
    Ok((fields, cell.len() - rest.len()))
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            year: 0,
            month: 1,
            day: 1,
            day_of_year: None,
            week: None,
            weekday: 1,
            named_weekday: None,
            hour: 0,
            afternoon: None,
            minute: 0,
            second: 0,
            micros: 0,
            offset: None,
            in_range: true,
        }
    }
}

impl Fields {
    /// Reads one item from the start of `rest`. `exact` numbers have all their digits; only the `first` one may have a sign.
    fn read(
        &mut self,
        item: &Item,
        rest: &mut &[u8],
        exact: bool,
        first: bool,
        seen: &mut u16,
    ) -> Result<(), Misfit> {
        let fits = match item {
            Item::Text(text) => rest.strip_prefix(text.as_bytes()).map(|after| *rest = after),
            Item::Year | Item::WeekYear => year(rest, first && !exact).map(|year| self.year = year),
            Item::MonthName => MONTHS.read(rest, seen).map(|month| self.month = month),
            Item::WeekdayName => WEEKDAYS.read(rest, seen).map(|day| self.named_weekday = Some(day)),
            Item::HalfDay => half_day(rest, seen).map(|afternoon| self.afternoon = Some(afternoon)),
            Item::Fraction => fraction(rest, seen).map(|micros| self.micros = micros),
            Item::Offset => offset_seconds(rest, seen).map(|offset| self.offset = Some(offset)),
            _ => {
                let (most, range) = item.digits();
                let value = number(rest, most, exact, seen).ok_or(Misfit::Form)?;
                self.in_range &= range.contains(&value);
                self.set(item, value, seen);
                Some(())
            }
        };
        fits.ok_or(Misfit::Form)
    }

    fn set(&mut self, item: &Item, value: u32, seen: &mut u16) {
        match item {
            Item::ShortYear => self.year = value as i32 + if value < 69 { 2000 } else { 1900 },
            Item::Month => self.month = value,
            Item::Day => self.day = value,
            Item::DayOfYear => self.day_of_year = Some(value),
            Item::Quarter => self.month = (3 * value).saturating_sub(2),
            Item::Week => self.week = Some(value),
            Item::WeekdayNumber => self.weekday = value,
            Item::Hour => {
                self.hour = value;
                *seen |= if value == 24 { pad::DAY_END } else { 0 };
            }
            Item::HalfDayHour => self.hour = value,
            Item::Minute => self.minute = value,
            _ => self.second = value,
        }
    }

    /// Returns whether every number is in its range; the date may still not exist.
    pub fn is_in_range(&self) -> bool {
        self.in_range
    }

    /// Returns the timestamp, or `None` if there is no such date.
    pub fn moment(&self) -> Option<Moment> {
        if !self.in_range {
            return None;
        }
        let date = match (self.week, self.day_of_year) {
            (Some(week), _) => {
                let weekday = Weekday::try_from(self.weekday as u8 - 1).ok()?;
                NaiveDate::from_isoywd_opt(self.year, week, weekday)?
            }
            (None, Some(day)) => NaiveDate::from_yo_opt(self.year, day)?,
            (None, None) => NaiveDate::from_ymd_opt(self.year, self.month, self.day)?,
        };
        if self.named_weekday.is_some_and(|weekday| weekday != date.weekday().number_from_monday()) {
            return None;
        }
        let hour = match self.afternoon {
            Some(afternoon) => self.hour % 12 + if afternoon { 12 } else { 0 },
            None => self.hour,
        };
        let time = i64::from(hour) * HOUR
            + i64::from(self.minute) * MINUTE
            + i64::from(self.second) * SECOND
            + i64::from(self.micros);
        let wall = Wall::of(date).0.checked_add(time).filter(|_| time <= DAY)?;
        Some(Moment { wall: Wall(wall), offset: self.offset })
    }
}

/// Reads a number of at most `most` digits, or of exactly `most`.
fn number(rest: &mut &[u8], most: usize, exact: bool, seen: &mut u16) -> Option<u32> {
    if let [b' ', after @ ..] = rest
        && most == 2
        && !exact
    {
        *seen |= pad::SPACE;
        *rest = after;
    }
    let mut value = 0;
    let mut read = 0;
    while let Some(digit) = rest.get(read).filter(|byte| byte.is_ascii_digit()).filter(|_| read < most) {
        value = 10 * value + u32::from(digit - b'0');
        read += 1;
    }
    if read == 0 || exact && read < most {
        return None;
    }
    if read == 1 && most == 2 {
        *seen |= pad::NONE;
    } else if rest[0] == b'0' {
        *seen |= pad::ZERO;
    }
    *rest = &rest[read..];
    Some(value)
}

/// Reads a year of four digits, or one of four to six digits after a sign.
fn year(rest: &mut &[u8], signed: bool) -> Option<i32> {
    let (sign, digits) = match *rest {
        [b'-', digits @ ..] if signed => (-1, digits),
        [b'+', digits @ ..] if signed => (1, digits),
        digits => (0, digits),
    };
    let most = if sign == 0 { 4 } else { 6 };
    let count = digits.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let value = digits[..count].iter().fold(0, |value, digit| 10 * value + i32::from(digit - b'0'));
    *rest = &digits[count..];
    (count >= 4).then_some(if sign < 0 { -value } else { value })
}

/// Reads AM or PM, also as `a.m.`. Returns whether it is PM.
fn half_day(rest: &mut &[u8], seen: &mut u16) -> Option<bool> {
    let (letter, dotted, after) = match rest {
        [letter, b'.', b'm' | b'M', b'.', after @ ..] => (*letter, true, after),
        [letter, b'm' | b'M', after @ ..] => (*letter, false, after),
        _ => return None,
    };
    let afternoon = match letter {
        b'a' | b'A' => false,
        b'p' | b'P' => true,
        _ => return None,
    };
    *seen |= if letter.is_ascii_uppercase() { style::UPPER } else { style::LOWER };
    *seen |= if dotted { style::DOTTED } else { 0 };
    *rest = after;
    Some(afternoon)
}

/// Reads a point or a comma with digits as microseconds; 0 if there is none.
fn fraction(rest: &mut &[u8], seen: &mut u16) -> Option<u32> {
    let [mark @ (b'.' | b','), digits @ ..] = rest else {
        *seen |= 1;
        return Some(0);
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > digits::MOST {
        return None;
    }
    let digit = |at: usize| if at < count { u32::from(digits[at] - b'0') } else { 0 };
    let micros = (0..6).fold(0, |micros, at| 10 * micros + digit(at));
    *seen |= 1 << count;
    *seen |= if *mark == b',' { digits::COMMA } else { 0 };
    *seen |= if (6..count).any(|at| digit(at) > 0) { digits::CUT } else { 0 };
    *rest = &digits[count..];
    Some(micros)
}

/// Reads an offset from UTC in seconds.
fn offset_seconds(rest: &mut &[u8], seen: &mut u16) -> Option<i32> {
    for (name, bit) in [("Z", offset::Z), ("UTC", offset::UTC), ("GMT", offset::GMT)] {
        if let Some(after) = rest.strip_prefix(name.as_bytes()) {
            *seen |= bit;
            *rest = after;
            return Some(0);
        }
    }
    let (sign, digits) = match rest {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let two = |at: usize| match digits.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i32::from(10 * (tens - b'0') + ones - b'0')),
        _ => None,
    };
    let (minutes, read, bit) = match (digits.get(2), two(2), two(3)) {
        (Some(b':'), _, Some(minutes)) => (minutes, 5, offset::COLON),
        (_, Some(minutes), _) => (minutes, 4, offset::PLAIN),
        _ => (0, 2, offset::HOURS),
    };
    let hours = two(0).filter(|hours| *hours < 24 && minutes < 60)?;
    *seen |= bit;
    *rest = &digits[read..];
    Some(sign * 60 * (60 * hours + minutes))
}
