//! Patterns of dates: the items of which a cell consists, in order, as in a format of `strftime`.
//!
//! A pattern is lenient where forms differ without a change of meaning, such as `01` and `1`, or `JAN` and `January`. It
//! remembers what it read, so that it writes timestamps as they are in the file.

use super::wall::Wall;

mod format;
mod iso;
mod names;
mod read;
mod write;

use iso::Iso;
pub(super) use names::is_word_of_date;
use read::read_start;

/// A part of a date or a time of day, or a text between two parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    /// This text exactly.
    Text(String),
    /// A year: four digits, or a sign and four to six digits.
    Year,
    /// A year of two digits, 1969 to 2068.
    ShortYear,
    /// The number of a month.
    Month,
    /// The English name of a month, short or long.
    MonthName,
    /// The day of a month.
    Day,
    /// The English name of a weekday, short or long. It must fit the date.
    WeekdayName,
    /// The day of a year, three digits.
    DayOfYear,
    /// The quarter of a year.
    Quarter,
    /// The year of an ISO week.
    WeekYear,
    /// The number of an ISO week.
    Week,
    /// The number of the weekday in an ISO week: Monday is 1.
    WeekdayNumber,
    /// The hour, 0 to 24. 24:00 is the end of a day.
    Hour,
    /// The hour of a clock of 12 hours.
    HalfDayHour,
    /// AM or PM.
    HalfDay,
    /// The minute, two digits.
    Minute,
    /// The second, two digits.
    Second,
    /// A point or a comma and digits, or nothing.
    Fraction,
    /// The offset from UTC: `Z`, `UTC`, `GMT`, `+02:00`, `+0200` or `+02`.
    Offset,
}

/// The finest unit of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// A year without a month.
    Year,
    /// A quarter of a year.
    Quarter,
    /// A month.
    Month,
    /// An ISO week.
    Week,
    /// A day.
    Day,
    /// A time of day.
    Time,
}

/// The bits of a number: how numbers below its width were written.
mod pad {
    pub const NONE: u16 = 1;
    pub const ZERO: u16 = 2;
    pub const SPACE: u16 = 4;
    /// Of an hour: the end of a day was written as 24:00.
    pub const DAY_END: u16 = 8;
}

/// The bits of a fraction. Bits 0 to 9 are the numbers of digits.
mod digits {
    pub const MOST: usize = 9;
    pub const COMMA: u16 = 1 << 10;
    pub const CUT: u16 = 1 << 11;
}

/// The bits of an offset.
mod offset {
    pub const Z: u16 = 1;
    pub const UTC: u16 = 2;
    pub const GMT: u16 = 4;
    pub const COLON: u16 = 8;
    pub const PLAIN: u16 = 16;
    pub const HOURS: u16 = 32;
    /// The forms that write no number.
    pub const NAMES: u16 = Z | UTC | GMT;
}

/// A sequence of items.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Pattern {
    items: Vec<Item>,
    /// The ways in which each item was written in the cells so far. The bits are those of the item.
    seen: Vec<u16>,
    /// The number of items that a cell at midnight may consist of, which are the date; `None` if cells always have all items.
    midnight: Option<usize>,
    /// Whether a cell so far was such a date alone.
    is_midnight_short: bool,
    /// The short way of reading, if there is one; `None` before the first cell.
    iso: Option<Option<Iso>>,
}

/// A timestamp as it is in a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moment {
    /// The date and the time of day.
    pub wall: Wall,
    /// The seconds from UTC, if the cell has them.
    pub offset: Option<i32>,
}

/// The reason why a pattern cannot read a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// The cell has another form.
    Form,
    /// The cell has the form, and is no date of the calendar.
    Calendar,
}

impl Pattern {
    /// Returns this pattern followed by the items of `other`.
    pub fn then(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        joined.items.extend_from_slice(&other.items);
        joined.seen.extend_from_slice(&other.seen);
        joined.iso = None;
        joined
    }

    /// Returns this date followed by a time of day, which cells at midnight may lack: some tools write them so.
    pub fn then_time(&self, time: &Self) -> Self {
        let midnight = (!time.has(&Item::Offset)).then_some(self.items.len());
        Self { midnight, ..self.then(time) }
    }

    /// Returns this pattern for a column in which cells at midnight lack the time of day.
    pub fn with_midnight_short(self) -> Self {
        Self { is_midnight_short: true, ..self }
    }

    /// Returns whether cells of dates alone were among the cells of dates and times so far.
    pub fn is_midnight_short(&self) -> bool {
        self.is_midnight_short
    }

    /// Returns the finest unit of the pattern.
    pub fn unit(&self) -> Unit {
        let unit = |item: &Item| match item {
            Item::Quarter => Unit::Quarter,
            Item::Month | Item::MonthName => Unit::Month,
            Item::Week => Unit::Week,
            Item::Day | Item::DayOfYear | Item::WeekdayNumber => Unit::Day,
            Item::Hour | Item::HalfDayHour => Unit::Time,
            _ => Unit::Year,
        };
        self.items.iter().map(unit).max().unwrap_or(Unit::Year)
    }

    /// Returns whether the pattern has this item.
    pub fn has(&self, item: &Item) -> bool {
        self.items.contains(item)
    }

    /// Returns whether the pattern has a year.
    pub fn has_year(&self) -> bool {
        [Item::Year, Item::ShortYear, Item::WeekYear].iter().any(|year| self.has(year))
    }

    /// Returns whether the pattern has several numbers and no text between them, so that its cells may be plain numbers too.
    pub fn is_bare(&self) -> bool {
        self.items.len() > 1 && self.items.iter().all(Item::is_number)
    }

    /// Returns whether the pattern begins with a year of four digits.
    pub fn begins_with_year(&self) -> bool {
        matches!(self.items.first(), Some(Item::Year | Item::WeekYear))
    }

    /// Returns whether every offset so far was `Z`, `UTC` or `GMT`.
    pub fn is_utc(&self) -> bool {
        self.seen_of(&Item::Offset).is_some_and(|seen| seen != 0 && seen & !offset::NAMES == 0)
    }

    /// Returns whether digits after the sixth of a fraction were left out.
    pub fn is_cut(&self) -> bool {
        self.seen_of(&Item::Fraction).is_some_and(|seen| seen & digits::CUT != 0)
    }

    fn seen_of(&self, item: &Item) -> Option<u16> {
        self.items.iter().zip(&self.seen).find(|(other, _)| *other == item).map(|(_, seen)| *seen)
    }

    /// Reads a cell.
    ///
    /// # Errors
    /// Fails if the cell has another form, or is no date of the calendar.
    pub fn read(&mut self, cell: &[u8]) -> Result<Moment, Misfit> {
        let iso = *self.iso.get_or_insert_with(|| Iso::of(&self.items));
        if let Some(moment) = iso.and_then(|iso| iso.read(&mut self.seen, cell)) {
            return Ok(moment);
        }
        let (fields, read) = read_start(&self.items, &mut self.seen, cell).or_else(|misfit| {
            let date = self.midnight.map(|date| read_start(&self.items[..date], &mut self.seen, cell));
            let date = date.and_then(Result::ok).filter(|(_, read)| *read == cell.len()).ok_or(misfit)?;
            self.is_midnight_short = true;
            Ok(date)
        })?;
        if read == cell.len() { fields.moment().ok_or(Misfit::Calendar) } else { Err(Misfit::Form) }
    }

    /// Returns the number of bytes at the start of `cell` that the pattern reads, or `None` if it does not fit.
    pub fn fits_start(&self, cell: &[u8]) -> Option<usize> {
        let mut seen = [0; 16];
        let seen = seen.get_mut(..self.items.len())?;
        let (fields, read) = read_start(&self.items, seen, cell).ok()?;
        fields.is_in_range().then_some(read)
    }
}

impl Item {
    fn is_number(&self) -> bool {
        use Item::{Fraction, HalfDay, MonthName, Offset, Text, WeekdayName};
        !matches!(self, Text(_) | MonthName | WeekdayName | HalfDay | Fraction | Offset)
    }

    /// Returns whether the number always has all its digits.
    fn is_exact(&self) -> bool {
        matches!(self, Self::ShortYear | Self::Minute | Self::Second | Self::DayOfYear)
    }

    /// Returns the most digits of the number, and its range.
    fn digits(&self) -> (usize, std::ops::RangeInclusive<u32>) {
        match self {
            Self::ShortYear => (2, 0..=99),
            Self::Month | Self::HalfDayHour => (2, 1..=12),
            Self::Day => (2, 1..=31),
            Self::DayOfYear => (3, 1..=366),
            Self::Quarter => (1, 1..=4),
            Self::Week => (2, 1..=53),
            Self::WeekdayNumber => (1, 1..=7),
            Self::Hour => (2, 0..=24),
            _ => (2, 0..=59),
        }
    }
}
