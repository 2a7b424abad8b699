//! The forms that a first cell may have.

use std::sync::LazyLock;

use super::form::{Digits, Epoch, Form, Value, number};
use super::pattern::{Item, Misfit, Pattern, Unit, is_word_of_date};

/// The years in which a number of eight digits is a date. A number of six digits is a month in a shorter range.
const YEARS: std::ops::RangeInclusive<u32> = 1600..=2299;
const MONTH_YEARS: std::ops::RangeInclusive<u32> = 1800..=2199;

/// The years 2001 to 2100 as seconds since 1970.
const EPOCH_SECONDS: std::ops::Range<f64> = 978_307_200.0..4_133_980_800.0;

/// The years 1982 to 2064 in the count of Excel.
const EXCEL_DAYS: std::ops::RangeInclusive<f64> = 30_000.0..=60_000.0;

/// The parts of a date-time, each a list of alternatives.
struct Parts {
    weekdays: Vec<Pattern>,
    dates: Vec<Pattern>,
    separators: Vec<Pattern>,
    times: Vec<Pattern>,
    offsets: Vec<Pattern>,
    /// Patterns in which the date is around the time of day.
    wholes: Vec<Pattern>,
}

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let patterns =
        |formats: Vec<String>| formats.iter().filter_map(|format| Pattern::parse(format).ok()).collect();
    let list = |formats: &[&str]| patterns(formats.iter().map(|&format| format.to_owned()).collect());
    Parts {
        weekdays: list(&["", "%a ", "%a, ", "%a-"]),
        dates: patterns(dates()),
        separators: list(&[" ", "T", ", ", ":", "-", "/"]),
        times: list(&[
            "%H:%M:%S%.f",
            "%H:%M",
            "%I:%M:%S%.f %p",
            "%I:%M:%S%.f%p",
            "%I:%M %p",
            "%I:%M%p",
            "%I %p",
            "%I%p",
            "%H%M%S%.f",
            "%H%M",
            "%H",
        ]),
        offsets: list(&["", "%z", " %z"]),
        wholes: list(&["%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y"]),
    }
});

/// Returns the formats of dates: every order that is in use, with every separator.
fn dates() -> Vec<String> {
    let mut formats: Vec<String> = Vec::new();
    let mut add = |separators: &[&str], orders: &[&str]| {
        for order in orders {
            formats.extend(separators.iter().map(|separator| order.replace('_', separator)));
        }
    };
    let numbers = ["%Y_%m_%d", "%d_%m_%Y", "%m_%d_%Y", "%y_%m_%d", "%d_%m_%y", "%m_%d_%y", "%Y_%m", "%m_%Y"];
    add(&["-", "/", ".", " "], &numbers);
    add(&["-", "/"], &["%m_%y", "%y_%m"]);
    add(&[""], &["%Y%m%d"]);
    add(&["-"], &["%Y_%j"]);
    let names = ["%d_%b_%Y", "%Y_%b_%d", "%b_%d_%Y", "%d_%b_%y", "%b_%Y", "%Y_%b", "%b_%y"];
    add(&["-", "/", ".", " ", ""], &names);
    add(&[", "], &["%b %d_%Y", "%d %b_%Y", "%b_%Y"]);
    add(&[". "], &["%d_%b %Y", "%b_%d, %Y", "%b_%Y"]);
    for quarter in ["Q", "q"] {
        add(&["", "-", " ", "/", ".", ":"], &[&format!("%Y_{quarter}%q")]);
        add(&["", "-", " ", "/", "."], &[&format!("{quarter}%q_%Y"), &format!("{quarter}%q_%y")]);
        add(&["", " "], &[&format!("%q{quarter}_%Y"), &format!("%q{quarter}_%y")]);
    }
    add(&[" "], &["%Y_%q", "%q_%Y"]);
    for month in ["M", "m"] {
        add(&["", "-", " ", ":"], &[&format!("%Y_{month}%m")]);
    }
    for week in ["W", "w"] {
        add(&["", "-", " ", "/"], &[&format!("%G_{week}%V"), &format!("{week}%V_%G")]);
        add(&["-"], &[&format!("%G_{week}%V_%u")]);
        add(&[""], &[&format!("%G_{week}%V_%u")]);
    }
    formats
}

/// Returns the forms that read a first cell, or nothing if it is neither a number nor a date.
pub(super) fn candidates(cell: &str) -> Vec<Form> {
    match number(cell) {
        Some(number) => of_number(cell, number),
        None if may_be_date(cell.as_bytes()) => patterns(cell).into_iter().map(Form::Pattern).collect(),
        None => Vec::new(),
    }
}

/// Returns whether a cell is a date that is no number.
pub(super) fn is_date(cell: &str) -> bool {
    number(cell).is_none() && !candidates(cell).is_empty()
}

/// Returns whether a cell has the form of a date and is no date of the calendar, such as 2024-02-30.
pub(super) fn names_date(cell: &str) -> bool {
    let is_wrong = |mut pattern: Pattern| pattern.read(cell.as_bytes()) == Err(Misfit::Calendar);
    PARTS.weekdays.iter().any(|weekday| PARTS.dates.iter().any(|date| is_wrong(weekday.then(date))))
}

/// Returns whether a cell has a digit and no word that dates do not have. This is quick, and enough for most names of columns.
fn may_be_date(cell: &[u8]) -> bool {
    let mut words = cell.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    cell.is_ascii() && cell.iter().any(u8::is_ascii_digit) && words.all(is_word_of_date)
}

/// Returns the forms of a cell that is a number.
fn of_number(cell: &str, value: f64) -> Vec<Form> {
    let digits = if cell.bytes().all(|byte| byte.is_ascii_digit()) { cell.len() } else { 0 };
    let starts = |years: &std::ops::RangeInclusive<u32>| {
        cell.get(..4).and_then(|year| year.parse().ok()).is_some_and(|year| years.contains(&year))
    };
    let certain = match digits {
        6 if starts(&MONTH_YEARS) => reading(cell, &["%Y%m"]),
        8 if starts(&YEARS) => reading(cell, &["%Y%m%d"]),
        12 if starts(&YEARS) => reading(cell, &["%Y%m%d%H%M"]),
        14 if starts(&YEARS) => reading(cell, &["%Y%m%d%H%M%S"]),
        _ => Vec::new(),
    };
    if !certain.is_empty() {
        return certain;
    }
    if EPOCH_SECONDS.contains(&value) {
        let hours = if digits == 10 && starts(&YEARS) { reading(cell, &["%Y%m%d%H"]) } else { Vec::new() };
        return [Form::Epoch(Epoch::new(1))].into_iter().chain(hours).collect();
    }
    for per_second in [1_000, 1_000_000, 1_000_000_000] {
        if digits > 0 && EPOCH_SECONDS.contains(&(value / per_second as f64)) {
            return vec![Form::Epoch(Epoch::new(per_second))];
        }
    }
    let mut forms = match (digits, cell.len()) {
        (6, _) => reading(cell, &["%y%m%d", "%d%m%y", "%m%d%y"]),
        (8, _) => reading(cell, &["%d%m%Y", "%m%d%Y"]),
        (0, 7) => reading(cell, &["%Y.%m", "%m.%Y"]),
        _ => Vec::new(),
    };
    let in_years = |form: &mut Form| match form.read(cell) {
        Ok(Value::Wall(wall)) => YEARS.contains(&(wall.month().div_euclid(12) as u32)),
        _ => false,
    };
    forms.retain_mut(in_years);
    if EXCEL_DAYS.contains(&value) {
        forms.push(Form::Excel(Digits::default()));
    }
    // A number has no zero in front of other digits.
    let padded = matches!(cell.as_bytes(), [b'0', b'0'..=b'9', ..]);
    if forms.is_empty() || !padded {
        forms.push(Form::Number);
    }
    forms
}

/// Returns the patterns of these formats that read the cell.
fn reading(cell: &str, formats: &[&str]) -> Vec<Form> {
    let patterns = formats.iter().filter_map(|format| Pattern::parse(format).ok());
    let fits = |mut pattern: Pattern| pattern.read(cell.as_bytes()).ok().map(|_| Form::Pattern(pattern));
    patterns.filter_map(fits).collect()
}

/// Returns the patterns of dates and date-times that read a cell.
fn patterns(cell: &str) -> Vec<Pattern> {
    let bytes = cell.as_bytes();
    let fits = |pattern: &Pattern| pattern.clone().read(bytes).is_ok();
    let mut found: Vec<Pattern> = PARTS.wholes.iter().filter(|pattern| fits(pattern)).cloned().collect();
    for weekday in &PARTS.weekdays {
        let Some(start) = weekday.fits_start(bytes) else { continue };
        for date in &PARTS.dates {
            let Some(read) = date.fits_start(&bytes[start..]) else { continue };
            let pattern = weekday.then(date);
            let rest = &bytes[start + read..];
            let whole = match (rest, date.unit()) {
                ([], _) => Some(pattern),
                (_, Unit::Day) => with_time(&pattern, rest),
                _ => None,
            };
            found.extend(whole.filter(|pattern| fits(pattern) && !found.contains(pattern)));
        }
    }
    found
}

/// Returns a pattern of dates with the time of day that `cell` has, if the cells before it may be at midnight.
pub(super) fn with_time_of(pattern: &Pattern, cell: &str) -> Option<Pattern> {
    let bytes = cell.as_bytes();
    let rest = &bytes[pattern.fits_start(bytes).filter(|_| pattern.unit() == Unit::Day)?..];
    with_time(pattern, rest).filter(|pattern| !pattern.has(&Item::Offset)).map(Pattern::with_midnight_short)
}

/// Returns a date followed by the time of day in `rest`.
fn with_time(date: &Pattern, rest: &[u8]) -> Option<Pattern> {
    for separator in &PARTS.separators {
        let Some(at) = separator.fits_start(rest) else { continue };
        for time in &PARTS.times {
            let Some(read) = time.fits_start(&rest[at..]) else { continue };
            let offset = PARTS
                .offsets
                .iter()
                .find(|offset| offset.fits_start(&rest[at + read..]) == Some(rest.len() - at - read));
            let Some(offset) = offset else { continue };
            let pattern = date.then_time(&separator.then(time).then(offset));
            return Some(pattern);
        }
    }
    None
}
