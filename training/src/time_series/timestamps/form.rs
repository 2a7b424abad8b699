//! The forms of a time column: numbers, patterns of dates, and counts of time since an epoch.

use std::fmt;

use super::clock::Clock;
use super::pattern::{Item, Misfit, Pattern, Unit};
use super::wall::{DAY, SECOND, Wall};

/// The form of the cells of a time column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// Numbers in any unit.
    Number,
    /// Dates that a pattern reads.
    Pattern(Pattern),
    /// Counts of time since 1970-01-01 UTC.
    Epoch(Epoch),
    /// Days in the count of Excel, where 1 is 1900-01-01.
    Excel(Digits),
}

/// A count of time since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Epoch {
    /// The number of counts per second.
    pub per_second: i64,
    /// The decimals of the cells so far.
    pub digits: Digits,
    /// Whether digits below a microsecond were left out.
    pub cut: bool,
}

/// The decimals of the cells so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Digits {
    most: usize,
    /// Whether a cell had no decimal point.
    whole: bool,
}

/// The count of Excel at 1970-01-01.
const EXCEL_EPOCH: i64 = 25_569;

/// The first day of Excel after February 29, 1900, which it counts and which does not exist.
const EXCEL_MARCH: i64 = 61;

/// A cell as a number, in the unit of its form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// A plain number.
    Number(f64),
    /// A time of a clock whose place is not in the cell.
    Wall(Wall),
    /// An instant, with the seconds from UTC if the cell has them.
    Instant(i64, Option<i32>),
}

impl Form {
    /// Reads a cell.
    ///
    /// # Errors
    /// Fails if the cell has another form, or is no date of the calendar.
    pub fn read(&mut self, cell: &str) -> Result<Value, Misfit> {
        match self {
            Self::Number => number(cell).map(Value::Number).ok_or(Misfit::Form),
            Self::Pattern(pattern) => {
                let moment = pattern.read(cell.as_bytes())?;
                Ok(match moment.offset {
                    None => Value::Wall(moment.wall),
                    Some(offset) => {
                        let instant = moment.wall.0.checked_sub(i64::from(offset) * SECOND);
                        let instant = instant.filter(|instant| Wall(*instant).is_in_calendar());
                        Value::Instant(instant.ok_or(Misfit::Calendar)?, Some(offset))
                    }
                })
            }
            Self::Epoch(epoch) => epoch.read(cell).map(|instant| Value::Instant(instant, None)),
            Self::Excel(digits) => excel(cell, digits).map(Value::Wall),
        }
    }

    /// Appends a timestamp to `out` in this form.
    pub fn write(&self, out: &mut String, instant: i64, clock: &Clock) {
        match self {
            Self::Number => {}
            Self::Pattern(pattern) => {
                let offset = if pattern.is_utc() { 0 } else { clock.offset(instant) };
                pattern.write(out, Wall(instant.saturating_add(i64::from(offset) * SECOND)), offset);
            }
            Self::Epoch(epoch) => {
                let counts = i128::from(instant) * i128::from(epoch.per_second);
                epoch.digits.write(out, counts, i128::from(SECOND));
            }
            Self::Excel(digits) => {
                let days = clock.wall(instant);
                let leap = if days.day() + EXCEL_EPOCH < EXCEL_MARCH { 1 } else { 0 };
                let count = i128::from(days.0) + i128::from(EXCEL_EPOCH - leap) * i128::from(DAY);
                digits.write(out, count, i128::from(DAY));
            }
        }
    }

    /// Returns whether cells have times of a clock whose place is not in the cells.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Pattern(pattern) => !pattern.has(&Item::Offset),
            Self::Excel(_) => true,
            _ => false,
        }
    }

    /// Returns whether digits below a microsecond were left out.
    pub fn is_cut(&self) -> bool {
        match self {
            Self::Pattern(pattern) => pattern.is_cut(),
            Self::Epoch(epoch) => epoch.cut,
            _ => false,
        }
    }

    /// Returns the finest unit of the form.
    pub fn unit(&self) -> Unit {
        match self {
            Self::Pattern(pattern) => pattern.unit(),
            _ => Unit::Time,
        }
    }
}

impl fmt::Display for Form {
    /// Writes the value of `--time_format` for this form.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number => f.write_str("number"),
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::Epoch(epoch) => f.write_str(match epoch.per_second {
                1 => "epoch_s",
                1_000 => "epoch_ms",
                1_000_000 => "epoch_us",
                _ => "epoch_ns",
            }),
            Self::Excel(_) => f.write_str("excel"),
        }
    }
}

impl Epoch {
    /// Returns a count with this number of counts per second.
    pub const fn new(per_second: i64) -> Self {
        Self { per_second, digits: Digits { most: 0, whole: false }, cut: false }
    }

    fn read(&mut self, cell: &str) -> Result<i64, Misfit> {
        let instant = match cell.parse::<i64>() {
            Ok(count) if self.per_second <= SECOND => {
                self.digits.whole = true;
                count.checked_mul(SECOND / self.per_second)
            }
            Ok(count) => {
                let counts = self.per_second / SECOND;
                self.cut |= count % counts != 0;
                Some(count.div_euclid(counts))
            }
            Err(_) => {
                let count = number(cell).ok_or(Misfit::Form)?;
                self.digits.see(cell);
                let micros = count * (SECOND as f64 / self.per_second as f64);
                (micros.abs() < 9e18).then_some(micros.round() as i64)
            }
        };
        instant.filter(|instant| Wall(*instant).is_in_calendar()).ok_or(Misfit::Calendar)
    }
}

/// Reads a day of Excel, to the millisecond: a cell has about ten decimals.
fn excel(cell: &str, digits: &mut Digits) -> Result<Wall, Misfit> {
    let count = number(cell).ok_or(Misfit::Form)?;
    digits.see(cell);
    // The first day is 1, and the last one is December 31, 9999. February 29, 1900 does not exist.
    if !(1.0..2_958_466.0).contains(&count) || count.floor() as i64 == EXCEL_MARCH - 1 {
        return Err(Misfit::Calendar);
    }
    let leap = if count < EXCEL_MARCH as f64 { 1.0 } else { 0.0 };
    let millis = (count + leap - EXCEL_EPOCH as f64) * 86_400_000.0;
    Ok(Wall(millis.round() as i64 * 1_000))
}

impl Digits {
    fn see(&mut self, cell: &str) {
        match cell.split_once('.') {
            Some((_, decimals)) => self.most = self.most.max(decimals.len().min(10)),
            None => self.whole = true,
        }
    }

    /// Writes `count / unit` with these decimals, without zeros at the end.
    fn write(self, out: &mut String, count: i128, unit: i128) {
        let scale = 10i128.pow(self.most as u32);
        let rounded = (2 * count * scale + unit).div_euclid(2 * unit);
        let sign = if rounded < 0 { "-" } else { "" };
        let (whole, decimals) = (rounded.abs() / scale, rounded.abs() % scale);
        let decimals = format!("{decimals:0width$}", width = self.most);
        let kept = decimals.trim_end_matches('0').len();
        // Some tools write whole numbers among others with one decimal: 45292.0.
        let kept = if self.whole { kept } else { kept.max(self.most.min(1)) };
        let point = if kept > 0 { "." } else { "" };
        out.push_str(&format!("{sign}{whole}{point}{}", &decimals[..kept]));
    }
}

/// Reads a finite number.
pub(super) fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|number: &f64| number.is_finite())
}
