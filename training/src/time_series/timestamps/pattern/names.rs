//! The English names of months and weekdays.

/// Names that stand for the numbers from 1 on. The first three letters are the short name.
pub(super) struct Names(&'static [&'static str]);

pub(super) const MONTHS: Names = Names(&[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]);

pub(super) const WEEKDAYS: Names =
    Names(&["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]);

/// The bits of a name: the ways in which it was written.
pub(super) mod style {
    pub const UPPER: u16 = 1;
    pub const LOWER: u16 = 2;
    pub const TITLE: u16 = 4;
    pub const SHORT: u16 = 8;
    pub const LONG: u16 = 16;
    /// Of AM and PM: a.m. and p.m.
    pub const DOTTED: u16 = 32;
}

/// Returns whether a date may have this word, in any case.
pub(in super::super) fn is_word_of_date(word: &[u8]) -> bool {
    let is_short = |other: &&str| word.eq_ignore_ascii_case(other.as_bytes());
    let is_name = |names: &Names| names.read(&mut &*word, &mut 0).is_some();
    ["T", "Z", "UTC", "GMT", "AM", "PM", "A", "P", "M", "Q", "W"].iter().any(is_short)
        || is_name(&MONTHS)
        || is_name(&WEEKDAYS)
}

impl Names {
    /// Reads a short or a long name in any case, and returns its number.
    pub fn read(&self, rest: &mut &[u8], seen: &mut u16) -> Option<u32> {
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (word, after) = rest.split_at(length);
        let fits = |name: &&str| {
            let name = name.as_bytes();
            let short = length == 3 || length == 4 && name.starts_with(b"Sept");
            word.eq_ignore_ascii_case(name) || short && word.eq_ignore_ascii_case(&name[..length])
        };
        let index = self.0.iter().position(fits)?;
        *seen |= match (length, self.0[index].len()) {
            // May is both.
            (3, 3) => 0,
            (length, long) if length == long => style::LONG,
            _ => style::SHORT,
        };
        *seen |= match word {
            [.., last] if last.is_ascii_uppercase() => style::UPPER,
            [first, ..] if first.is_ascii_lowercase() => style::LOWER,
            _ => style::TITLE,
        };
        *rest = after;
        Some(index as u32 + 1)
    }

    /// Writes the name of `number` as names were written in the cells so far.
    pub fn write(&self, out: &mut String, number: u32, seen: u16) {
        let Some(name) = self.0.get((number as usize).wrapping_sub(1)) else { return };
        let long = seen & (style::LONG | style::SHORT) == style::LONG;
        let name = if long { name } else { &name[..3] };
        match seen & (style::UPPER | style::LOWER | style::TITLE) {
            style::UPPER => out.push_str(&name.to_ascii_uppercase()),
            style::LOWER => out.push_str(&name.to_ascii_lowercase()),
            _ => out.push_str(name),
        }
    }
}
