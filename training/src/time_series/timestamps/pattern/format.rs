//! Patterns as formats in the notation of `strftime`.

use std::fmt;

use super::{Item, Pattern, pad};

/// The items and their notation, with a hint for padding: the first notation of an item is the one that is written.
const NOTATIONS: &[(&str, Item, u16)] = &[
    ("%Y", Item::Year, 0),
    ("%y", Item::ShortYear, 0),
    ("%m", Item::Month, 0),
    ("%-m", Item::Month, pad::NONE),
    ("%b", Item::MonthName, 0),
    ("%B", Item::MonthName, 0),
    ("%h", Item::MonthName, 0),
    ("%d", Item::Day, 0),
    ("%-d", Item::Day, pad::NONE),
    ("%e", Item::Day, pad::SPACE),
    ("%a", Item::WeekdayName, 0),
    ("%A", Item::WeekdayName, 0),
    ("%j", Item::DayOfYear, 0),
    ("%q", Item::Quarter, 0),
    ("%G", Item::WeekYear, 0),
    ("%V", Item::Week, 0),
    ("%-V", Item::Week, pad::NONE),
    ("%u", Item::WeekdayNumber, 0),
    ("%H", Item::Hour, 0),
    ("%-H", Item::Hour, pad::NONE),
    ("%k", Item::Hour, pad::SPACE),
    ("%I", Item::HalfDayHour, 0),
    ("%-I", Item::HalfDayHour, pad::NONE),
    ("%l", Item::HalfDayHour, pad::SPACE),
    ("%p", Item::HalfDay, 0),
    ("%P", Item::HalfDay, 0),
    ("%M", Item::Minute, 0),
    ("%S", Item::Second, 0),
    ("%.f", Item::Fraction, 0),
    // Of Python, which writes the point before it.
    (".%f", Item::Fraction, 0),
    ("%.3f", Item::Fraction, 1 << 3),
    ("%.6f", Item::Fraction, 1 << 6),
    ("%z", Item::Offset, 0),
    ("%:z", Item::Offset, 0),
    ("%#z", Item::Offset, 0),
];

/// Notations that stand for several others.
const SHORTHANDS: &[(&str, &str)] =
    &[("%F", "%Y-%m-%d"), ("%T", "%H:%M:%S"), ("%R", "%H:%M"), ("%D", "%m/%d/%y"), ("%x", "%m/%d/%y")];

impl Pattern {
    /// Reads a format.
    ///
    /// # Errors
    /// Fails if the format has an unknown item. The error is a predicate without a subject.
    pub fn parse(format: &str) -> Result<Self, String> {
        let mut format = format.to_owned();
        for (short, long) in SHORTHANDS {
            format = format.replace(short, long);
        }
        let mut pattern = Self::default();
        let mut rest = format.as_str();
        while let Some(first) = rest.chars().next() {
            if let Some((notation, item, seen)) = NOTATIONS.iter().find(|(start, ..)| rest.starts_with(start))
            {
                pattern.push(item.clone(), *seen);
                rest = &rest[notation.len()..];
            } else if let Some(after) = rest.strip_prefix("%%") {
                pattern.push_text("%");
                rest = after;
            } else if first == '%' {
                let found: String = rest.chars().take(2).collect();
                return Err(format!(
                    "has {found}, expected items such as %Y, %m, %d, %H, %M, %S, %b, %p, %z, %q, %G and %V"
                ));
            } else {
                let (text, after) = rest.split_at(first.len_utf8());
                pattern.push_text(text);
                rest = after;
            }
        }
        Ok(pattern)
    }

    fn push(&mut self, item: Item, seen: u16) {
        self.items.push(item);
        self.seen.push(seen);
    }

    fn push_text(&mut self, text: &str) {
        match self.items.last_mut() {
            Some(Item::Text(before)) => before.push_str(text),
            _ => self.push(Item::Text(text.to_owned()), 0),
        }
    }
}

impl fmt::Display for Pattern {
    /// Writes the format. A fraction that no cell had is left out.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (item, seen) in self.items() {
            let notation = NOTATIONS.iter().find(|(_, other, _)| other == item);
            match (item, notation) {
                (Item::Fraction, _) if seen & !1 == 0 => {}
                (Item::Text(text), _) => f.write_str(&text.replace('%', "%%"))?,
                (_, Some((notation, ..))) => f.write_str(notation)?,
                (_, None) => {}
            }
        }
        Ok(())
    }
}
