//! A short way for the forms that most long files have.

use chrono::NaiveDate;

use super::{Item, Moment, offset, pad};
use crate::time_series::timestamps::wall::{HOUR, MINUTE, SECOND, Wall};

/// A date of ten characters, such as `2024-12-31`, alone or with a time of day, such as `2024-12-31T23:59:59` and
/// `2024-12-31T23:59:59Z`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Iso {
    date_separator: u8,
    time_separator: Option<u8>,
    has_offset: bool,
}

impl Iso {
    /// Returns the form of these items, if it is such a one.
    pub fn of(items: &[Item]) -> Option<Self> {
        use Item::{Day, Fraction, Hour, Minute, Month, Offset, Second, Text, Year};
        let byte = |text: &String| <[u8; 1]>::try_from(text.as_bytes()).ok().map(|[byte]| byte);
        let [Year, Text(first), Month, Text(second), Day, time @ ..] = items else { return None };
        let date_separator = byte(first).filter(|_| first == second)?;
        let (time_separator, has_offset) = match time {
            [] => (None, false),
            [Text(text), Hour, Text(colon), Minute, Text(other), Second, Fraction, end @ ..]
                if colon == ":" && other == ":" && (end.is_empty() || end == [Offset]) =>
            {
                (Some(byte(text)?), !end.is_empty())
            }
            _ => return None,
        };
        Some(Self { date_separator, time_separator, has_offset })
    }

    /// Reads a cell, or returns `None` if it needs the long way. `seen` are the bits of the items.
    pub fn read(self, seen: &mut [u16], cell: &[u8]) -> Option<Moment> {
        let (date, time) = cell.split_at_checked(10)?;
        let time = match (self.has_offset, time) {
            (true, [time @ .., b'Z']) => time,
            (true, _) => return None,
            (false, time) => time,
        };
        let [y0, y1, y2, y3, separator, m0, m1, other, d0, d1] = *<&[u8; 10]>::try_from(date).ok()?;
        if separator != self.date_separator || other != self.date_separator {
            return None;
        }
        let year = 100 * two(y0, y1)? + two(y2, y3)?;
        let date = NaiveDate::from_ymd_opt(year as i32, two(m0, m1)?, two(d0, d1)?)?;
        let (time, h0) = match self.time_separator {
            None => (Some(0).filter(|_| time.is_empty())?, b'1'),
            Some(separator) => (time_of_day(separator, time)?, *time.get(1)?),
        };
        for (at, tens) in [(2, m0), (4, d0), (6, h0)] {
            if tens == b'0' {
                seen[at] |= pad::ZERO;
            }
        }
        if self.time_separator.is_some() {
            seen[11] |= 1;
        }
        if self.has_offset {
            seen[12] |= offset::Z;
        }
        Some(Moment { wall: Wall::at(date, time), offset: self.has_offset.then_some(0) })
    }
}

/// Reads the time of day after a separator.
fn time_of_day(separator: u8, time: &[u8]) -> Option<i64> {
    let [first, h0, h1, b':', m0, m1, b':', s0, s1] = *<&[u8; 9]>::try_from(time).ok()? else { return None };
    let (hour, minute, second) = (two(h0, h1)?, two(m0, m1)?, two(s0, s1)?);
    let fits = first == separator && hour < 24 && minute < 60 && second < 60;
    fits.then(|| i64::from(hour) * HOUR + i64::from(minute) * MINUTE + i64::from(second) * SECOND)
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(10 * tens + ones))
}
