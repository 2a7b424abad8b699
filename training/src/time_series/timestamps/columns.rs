//! Timestamps of several columns, such as year and quarter, whose names give the parts.

use super::form::Form;
use super::pattern::Pattern;

/// The names of the parts, and their formats.
const PARTS: &[(&[&str], &[&str])] = &[
    (&["year", "yr", "y", "yyyy"], &["%Y"]),
    (&["quarter", "qtr", "q", "qu"], &["%q", "Q%q", "q%q"]),
    (&["month", "mon", "mth", "mo", "m", "mm"], &["%-m", "%b"]),
    (&["week", "wk", "w", "isoweek", "kw"], &["%-V", "W%V", "w%V"]),
    (&["day", "d", "dd", "dom", "mday"], &["%-d"]),
    (&["hour", "hr", "h", "hh"], &["%-H"]),
    (&["minute", "min"], &["%M"]),
];

/// Returns the forms of the columns of these names that read the first cell, the columns joined by spaces. Returns none if a name
/// is not a part of a date.
pub(super) fn joined(names: &[String], cell: &str) -> Vec<Form> {
    if names.len() < 2 {
        return Vec::new();
    }
    let mut formats = vec![String::new()];
    for name in names {
        let lower = name.to_lowercase();
        let word =
            lower.split(|c: char| !c.is_alphanumeric()).rfind(|word| !word.is_empty()).unwrap_or_default();
        let Some((_, parts)) = PARTS.iter().find(|(words, _)| words.contains(&word)) else {
            return Vec::new();
        };
        let add =
            |format: &String| parts.iter().map(move |part| format!("{format} {part}")).collect::<Vec<_>>();
        formats = formats.iter().flat_map(add).collect();
    }
    let weeks = formats.iter().any(|format| format.contains('V'));
    let pattern = |format: &String| {
        let format = if weeks { format.replace("%Y", "%G") } else { format.clone() };
        let mut pattern = Pattern::parse(format.trim_start()).ok().filter(Pattern::has_year)?;
        pattern.read(cell.as_bytes()).ok().map(|_| Form::Pattern(pattern))
    };
    formats.iter().filter_map(pattern).collect()
}
