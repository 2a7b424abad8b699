//! The forms of `--time_format`, and the sentences on forms that are not dates at first sight.

use super::Times;
use super::clock::Clock;
use super::form::{Digits, Epoch, Form};
use super::pattern::{Item, Pattern};
use super::wall::Wall;

/// Returns the form of a value of `--time_format`. The error is a predicate without a subject.
pub(super) fn given(format: &str) -> Result<Form, String> {
    Ok(match format {
        "number" => Form::Number,
        "excel" => Form::Excel(Digits::default()),
        "epoch_s" | "%s" => Form::Epoch(Epoch::new(1)),
        "epoch_ms" => Form::Epoch(Epoch::new(1_000)),
        "epoch_us" => Form::Epoch(Epoch::new(1_000_000)),
        "epoch_ns" => Form::Epoch(Epoch::new(1_000_000_000)),
        _ => {
            let pattern = Pattern::parse(format)?;
            if !pattern.has_year() {
                return Err("has no year, expected %Y or %y".into());
            }
            Form::Pattern(pattern)
        }
    })
}

/// Returns the sentences on forms that are not dates at first sight.
pub(super) fn notes(form: &Form, times: &Times) -> Vec<String> {
    let first = match times {
        Times::Dates(dates) => dates.first().copied().unwrap_or_default(),
        _ => return Vec::new(),
    };
    let cell = times.text(0, form, &Clock::Plain);
    let mut notes = Vec::new();
    match form {
        Form::Pattern(pattern) if pattern.has(&Item::ShortYear) => {
            notes.push(format!("years of two digits are 1969 to 2068: {cell} is {}", iso(first)));
        }
        Form::Pattern(pattern) if pattern.is_bare() => {
            notes.push(format!("the time column has dates of the form {form}: {cell} is {}", iso(first)));
        }
        Form::Epoch(_) | Form::Excel(_) => {
            notes.push(format!("the time column is a count of time, {form}: {cell} is {}", iso(first)));
        }
        _ => {}
    }
    if let Form::Pattern(pattern) = form
        && pattern.is_midnight_short()
    {
        notes.push("timestamps without a time of day are midnight".into());
    }
    if form.is_cut() {
        notes.push("timestamps were cut to microseconds".into());
    }
    notes
}

/// Formats a date, with the time of day unless it is midnight.
pub(super) fn iso(date: i64) -> String {
    let wall = Wall(date);
    let format = if wall.time() == 0 { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M:%S%.f" };
    wall.date_time().map(|time| time.format(format).to_string()).unwrap_or_default()
}
