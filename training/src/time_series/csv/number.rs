//! Reads numbers as people and programs write them.

use std::cell::Cell;

/// The cells that are missing values, in lower case: those of pandas, a dash, and a question mark.
const MISSING: &[&str] = &[
    "", "na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "1.#qnan", "-1.#qnan", "1.#ind",
    "-1.#ind", "null", "none", "nil", "-", "--", "---", "–", "—", "?", ".", "..",
];

/// Signs and codes of currencies in lower case, each with the sign of its currency.
const CURRENCIES: &[(&str, &str)] = &[
    ("€", "€"),
    ("eur", "€"),
    ("$", "$"),
    ("us$", "$"),
    ("usd", "$"),
    ("£", "£"),
    ("gbp", "£"),
    ("¥", "¥"),
    ("jpy", "¥"),
    ("₹", "₹"),
    ("inr", "₹"),
    ("₽", "₽"),
    ("₩", "₩"),
    ("₺", "₺"),
    ("₪", "₪"),
    ("zł", "zł"),
    ("kr", "kr"),
    ("r$", "R$"),
    ("chf", "CHF"),
    ("fr.", "CHF"),
    ("cny", "CNY"),
    ("cad", "CAD"),
    ("aud", "AUD"),
];

/// The separators in numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Separators {
    /// The decimal separator, `.` or `,`.
    pub decimal: u8,
    /// Whether the decimal separator is certain. Only then, groups of three digits may have separators between them.
    pub certain: bool,
    /// The separator of groups that a flag sets.
    pub thousands: Option<char>,
}

impl Default for Separators {
    fn default() -> Self {
        Self { decimal: b'.', certain: false, thousands: None }
    }
}

/// A cell of a value column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// A finite number.
    Number(f64),
    /// A finite number of a currency.
    Currency(f64, &'static str),
    /// A number of percent.
    Percent(f64),
    /// A missing value.
    Missing,
}

/// The texts and the numbers that are missing values, besides the usual ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Na {
    texts: Vec<String>,
    numbers: Vec<f64>,
    found: Cell<bool>,
}

impl Na {
    /// Returns the missing values of `--na`. A number is one in any form: -999 and -999.0.
    pub fn new(texts: &[String]) -> Self {
        let numbers = texts.iter().filter_map(|text| text.parse().ok()).collect();
        Self { texts: texts.to_vec(), numbers, found: Cell::new(false) }
    }

    /// Returns whether there are such missing values, and no cell was one.
    pub fn is_unused(&self) -> bool {
        !self.texts.is_empty() && !self.found.get()
    }

    fn found(&self) -> Value {
        self.found.set(true);
        Value::Missing
    }
}

/// Returns the value of a cell, or `None` if it is neither a finite number nor a missing value.
pub(super) fn value(cell: &[u8], separators: &Separators, na: &Na) -> Option<Value> {
    let cell = cell.trim_ascii();
    if na.texts.iter().any(|na| na.as_bytes() == cell) {
        return Some(na.found());
    }
    match of_separators(cell, separators)? {
        Value::Number(number) if na.numbers.contains(&number) => Some(na.found()),
        value => Some(value),
    }
}

/// Returns the value of a trimmed cell with these separators.
fn of_separators(cell: &[u8], separators: &Separators) -> Option<Value> {
    // A number without decoration begins with a digit, a sign or a point; `inf` and `nan` do not.
    let plain = |cell: &[u8]| {
        let begins = matches!(cell, [b'0'..=b'9', ..] | [b'-' | b'+' | b'.', b'0'..=b'9' | b'.', ..]);
        std::str::from_utf8(cell)
            .ok()
            .filter(|_| begins)?
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    };
    if separators.decimal == b'.'
        && separators.thousands != Some('.')
        && let Some(number) = plain(cell)
    {
        return Some(Value::Number(number));
    }
    let text = std::str::from_utf8(cell).ok()?.trim();
    if text.len() <= 10 && MISSING.contains(&text.to_lowercase().as_str()) {
        return Some(Value::Missing);
    }
    let bare = bare(text)?;
    let digits = without_groups(bare.digits, separators)?;
    let number = plain(digits.as_bytes())?;
    let number = if bare.negative { -number } else { number };
    Some(match bare {
        Bare { percent: true, .. } => Value::Percent(number),
        Bare { currency: Some(currency), .. } => Value::Currency(number, currency),
        _ => Value::Number(number),
    })
}

/// The parts of a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bare<'a> {
    /// Digits, separators and an exponent, without a sign.
    pub digits: &'a str,
    negative: bool,
    percent: bool,
    currency: Option<&'static str>,
}

/// Takes signs, parentheses, currencies and the percent sign off a number. Returns `None` if no digits are left.
pub(super) fn bare(text: &str) -> Option<Bare<'_>> {
    let mut bare =
        Bare { digits: text.trim_matches(is_space), negative: false, percent: false, currency: None };
    let mut signs = 0;
    loop {
        let before = bare.digits;
        if let Some(inside) = before.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            signs += 1;
            (bare.digits, bare.negative) = (inside, true);
        } else if let Some(rest) = before.strip_suffix('%') {
            if bare.percent {
                return None;
            }
            (bare.digits, bare.percent) = (rest, true);
        } else if let Some(rest) =
            before.strip_prefix(['-', '−', '–']).or_else(|| before.strip_suffix(['-', '−']))
        {
            signs += 1;
            (bare.digits, bare.negative) = (rest, true);
        } else if let Some(rest) = before.strip_prefix('+') {
            signs += 1;
            bare.digits = rest;
        } else if let Some((rest, currency)) = without_currency(before) {
            if bare.currency.is_some() {
                return None;
            }
            (bare.digits, bare.currency) = (rest, Some(currency));
        }
        bare.digits = bare.digits.trim_matches(is_space);
        if bare.digits == before {
            break;
        }
    }
    let begins = bare.digits.starts_with(|c: char| c.is_ascii_digit() || c == '.' || c == ',');
    (begins && signs <= 1).then_some(bare)
}

/// Takes a currency off one end of a number. Returns the currency too.
fn without_currency(text: &str) -> Option<(&str, &'static str)> {
    let ends = |(name, sign): &(&str, &'static str)| {
        let cut = |at: usize, is_start: bool| {
            let (a, b) = (text.get(..at)?, text.get(at..)?);
            let (part, rest) = if is_start { (a, b) } else { (b, a) };
            (part.to_lowercase() == *name).then_some((rest, *sign))
        };
        cut(name.len(), true).or_else(|| cut(text.len().checked_sub(name.len())?, false))
    };
    CURRENCIES.iter().find_map(ends)
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{a0}' | '\u{2009}' | '\u{202f}')
}

/// Returns whether a character may stand between groups of three digits.
fn is_group(c: char, separators: &Separators) -> bool {
    match separators.thousands {
        Some(given) => c == given || is_space(given) && is_space(c),
        None => {
            let other = if separators.decimal == b'.' { ',' } else { '.' };
            c == other && separators.certain || is_space(c) || matches!(c, '\'' | '’')
        }
    }
}

/// Returns the number with a decimal point and without separators of groups; `None` if groups have other than three digits.
fn without_groups(digits: &str, separators: &Separators) -> Option<String> {
    let decimal = char::from(separators.decimal);
    let (whole, rest) = match digits.find([decimal, 'e', 'E']) {
        Some(at) => digits.split_at(at),
        None => (digits, ""),
    };
    let groups: Vec<&str> = whole.split(|c| is_group(c, separators)).collect();
    let separator = whole.chars().find(|c| !c.is_ascii_digit());
    let same = whole.chars().filter(|c| !c.is_ascii_digit()).all(|c| Some(c) == separator);
    let three = groups.len() == 1
        || (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3);
    (three && same).then(|| groups.concat() + &rest.replacen(decimal, ".", 1))
}

/// The decimal separators that a number allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// It is certainly this one.
    Certain(u8),
    /// It may be a comma, or the comma may be between groups of three digits.
    Comma,
    /// Nothing: the number has no separator, or only one that is a decimal point in most files.
    Nothing,
}

/// Returns the decimal separators that a cell allows.
pub(super) fn evidence(cell: &str) -> Evidence {
    let Some(Bare { digits, .. }) = bare(cell) else { return Evidence::Nothing };
    let mantissa = digits.split(['e', 'E']).next().unwrap_or(digits);
    if !mantissa.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',' || is_space(c) || c == '\'') {
        return Evidence::Nothing;
    }
    let count = |separator: char| mantissa.matches(separator).count();
    let groups = |text: &str, separator: char| {
        let mut groups = text.split(separator);
        groups.next().is_some_and(|first| (1..=3).contains(&first.len()))
            && groups.all(|group| group.len() == 3)
    };
    match (mantissa.rfind(['.', ',']), count('.'), count(',')) {
        (Some(at), points, commas) if points > 0 && commas > 0 => {
            let last = mantissa.as_bytes()[at];
            let other = if last == b'.' { ',' } else { '.' };
            let once = count(char::from(last)) == 1 && groups(&mantissa[..at], other);
            if once { Evidence::Certain(last) } else { Evidence::Nothing }
        }
        (_, 0, 1) => {
            let like_groups = groups(mantissa, ',') && !mantissa.starts_with('0');
            if like_groups { Evidence::Comma } else { Evidence::Certain(b',') }
        }
        (_, 1, 0) => {
            let like_groups = groups(mantissa, '.') && !mantissa.starts_with('0');
            if like_groups { Evidence::Nothing } else { Evidence::Certain(b'.') }
        }
        (_, 0, 2..) if groups(mantissa, ',') => Evidence::Certain(b'.'),
        (_, 2.., 0) if groups(mantissa, '.') => Evidence::Certain(b','),
        _ => Evidence::Nothing,
    }
}

/// Returns whether the point of a number may be between groups of three digits: 1.234, but not 0.234, 1.5 or 1234. `None` for a
/// number that has no point and needs none.
pub(super) fn may_be_group(cell: &[u8]) -> Option<bool> {
    match cell {
        // Most cells of such a file are of this form, and are read without a search.
        [digits @ .., b'.', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            Some(matches!(without_sign(digits), [b'1'..=b'9'] | [b'1'..=b'9', _] | [b'1'..=b'9', _, _]))
        }
        [.., b' ' | b'\t' | b'\r'] => may_be_group(cell.trim_ascii_end()),
        _ if cell.contains(&b'.') => Some(false),
        _ => (without_sign(cell).len() > 3).then_some(false),
    }
}

/// Returns a number without spaces before it and without its sign.
fn without_sign(number: &[u8]) -> &[u8] {
    match number {
        [b' ' | b'\t' | b'-' | b'+', rest @ ..] => without_sign(rest),
        digits => digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cell: &str, decimal: u8) -> Option<Value> {
        value(cell.as_bytes(), &Separators { decimal, certain: true, thousands: None }, &Na::default())
    }

    #[test]
    fn value_of_each_form_is_the_number() {
        use Value::{Currency, Missing, Number, Percent};
        for (cell, decimal, expected) in [
            ("1.5", b'.', Number(1.5)),
            (" -2e3 ", b'.', Number(-2000.0)),
            ("+.5", b'.', Number(0.5)),
            ("9007199254740007", b'.', Number(9_007_199_254_740_007.0)),
            ("1,234,567.5", b'.', Number(1_234_567.5)),
            ("1'234.5", b'.', Number(1234.5)),
            ("1 234,5", b',', Number(1234.5)),
            ("1\u{a0}234,5", b',', Number(1234.5)),
            ("1.234,5", b',', Number(1234.5)),
            ("-0,5", b',', Number(-0.5)),
            ("(1,234.50)", b'.', Number(-1234.5)),
            ("$1,234.50", b'.', Currency(1234.5, "$")),
            ("-$5", b'.', Currency(-5.0, "$")),
            ("($5)", b'.', Currency(-5.0, "$")),
            ("12,50 €", b',', Currency(12.5, "€")),
            ("USD 12", b'.', Currency(12.0, "$")),
            ("12 EUR", b'.', Currency(12.0, "€")),
            ("12.5%", b'.', Percent(12.5)),
            ("−3", b'.', Number(-3.0)),
            ("3-", b'.', Number(-3.0)),
            ("", b'.', Missing),
            ("N/A", b'.', Missing),
            ("NaN", b'.', Missing),
            ("-", b'.', Missing),
        ] {
            assert_eq!(read(cell, decimal), Some(expected), "{cell}");
        }
        let na = Na::new(&["-999".into(), "gone".into()]);
        for cell in ["-999", "-999.0", "-9.99e2", "gone"] {
            assert_eq!(value(cell.as_bytes(), &Separators::default(), &na), Some(Missing), "{cell}");
        }
    }

    #[test]
    fn value_of_other_text_is_none() {
        for cell in [
            "inf",
            "-inf",
            "1e999",
            "x",
            "0x10",
            "true",
            "12,34.5",
            "1,2,3",
            "1.2.3",
            "--5",
            "5%%",
            "$",
            "1 2",
            "12 kW",
            "2024-01-01",
            "(-5)",
        ] {
            assert_eq!(read(cell, b'.'), None, "{cell}");
        }
        let uncertain = Separators::default();
        assert_eq!(value(b"1,234", &uncertain, &Na::default()), None);
    }

    #[test]
    fn may_be_group_of_a_number_is_whether_its_point_may_be_between_groups() {
        for (cell, expected) in [
            ("1.234", Some(true)),
            (" -12.345", Some(true)),
            ("0.234", Some(false)),
            ("1.23", Some(false)),
            ("1234.567", Some(false)),
            ("1234", Some(false)),
            ("-999", None),
            ("12", None),
        ] {
            assert_eq!(may_be_group(cell.as_bytes()), expected, "{cell}");
        }
    }

    #[test]
    fn evidence_of_a_number_is_certain_only_if_one_reading_is_left() {
        use Evidence::{Certain, Comma, Nothing};
        for (cell, expected) in [
            ("1,5", Certain(b',')),
            ("0,125", Certain(b',')),
            ("1234,567", Certain(b',')),
            ("1.234,5", Certain(b',')),
            ("1.234.567", Certain(b',')),
            ("1.5", Certain(b'.')),
            ("1,234.5", Certain(b'.')),
            ("1,234,567", Certain(b'.')),
            ("1,234", Comma),
            ("1.234", Nothing),
            ("5", Nothing),
            ("01.02.2024", Nothing),
            ("north", Nothing),
        ] {
            assert_eq!(evidence(cell), expected, "{cell}");
        }
    }
}
