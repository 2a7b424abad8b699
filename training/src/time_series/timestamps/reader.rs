//! Reads the cells of a time column.
//!
//! Every form that the first cell may have is tried on all rows. A form that a row contradicts is dropped. Several forms that are
//! left are an error: nothing guesses the order of day and month.

use chrono_tz::Tz;
use text_recognizer::{Error, Result};

use super::Times;
use super::candidates::{candidates, is_date, names_date, with_time_of};
use super::clock::{Clock, resolve};
use super::columns::joined;
use super::config::TimeConfig;
use super::form::{Form, Value, number};
use super::given::{given, iso, notes};
use super::infer::MONTH_DAYS;
use super::pattern::{Item, Misfit, Unit};
use super::wall::{DAY, Wall};

/// Reads a time column, a cell at a time in the order of the file.
#[derive(Debug)]
pub struct TimeReader {
    format: Option<String>,
    zone: Option<Tz>,
    sort: bool,
    /// The names of the columns of which a cell is joined.
    names: Vec<String>,
    rows: usize,
    /// The forms that fit all rows so far.
    candidates: Vec<Candidate>,
}

/// A form with the timestamps that it read.
#[derive(Debug)]
struct Candidate {
    form: Form,
    times: Times,
    /// The rows from which an offset from UTC applies, with its seconds.
    offsets: Vec<(usize, i32)>,
}

/// The timestamps of a file, in its order.
#[derive(Debug)]
pub struct RawTimes {
    pub(super) times: Times,
    pub(super) form: Form,
    pub(super) clock: Clock,
    pub(super) notes: Vec<String>,
}

/// An error in a time column.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeProblem {
    /// The row, from 0, without the header.
    pub row: Option<usize>,
    /// The problem, as a clause with a subject.
    pub message: String,
}

impl TimeProblem {
    pub(super) fn at(row: usize, message: impl Into<String>) -> Self {
        Self { row: Some(row), message: message.into() }
    }
}

impl TimeReader {
    /// Returns a reader of the form in `config`, or of any form.
    ///
    /// # Errors
    /// Fails if the format or the time zone of `config` is unknown.
    pub fn new(config: &TimeConfig) -> Result<Self> {
        let zone = config.time_zone.as_deref().map(|name| {
            let expected = "the name of a time zone, such as Europe/Berlin, America/New_York or UTC";
            name.parse::<Tz>().map_err(|_| Error::invalid("time_zone", name, expected))
        });
        let mut reader = Self {
            format: config.time_format.clone(),
            zone: zone.transpose()?,
            sort: config.sort,
            names: Vec::new(),
            rows: 0,
            candidates: Vec::new(),
        };
        if let Some(format) = config.time_format.as_deref().filter(|format| *format != "iso") {
            let form = given(format).map_err(|problem| {
                Error::invalid("time_format", format, format!("a format of dates; it {problem}"))
            })?;
            reader.candidates = vec![Candidate::new(form)];
        }
        Ok(reader)
    }

    /// Sets the names of the columns of which each cell is joined, such as year and quarter.
    #[must_use]
    pub fn named(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Returns whether `cell` is a date of a known form. A number is none, because it may be a value too.
    pub fn is_date(cell: &str) -> bool {
        is_date(cell.trim())
    }

    /// Returns whether `cell` is a number that is probably a timestamp: a date without separators, or a count of time since 1970.
    pub fn is_dated_number(cell: &str) -> bool {
        let cell = cell.trim();
        let is_dated = |form: &Form| !matches!(form, Form::Number | Form::Excel(_));
        number(cell).is_some() && matches!(&candidates(cell)[..], [form] if is_dated(form))
    }

    /// Reads the next cell. Several columns of dates and times are joined by one space.
    ///
    /// # Errors
    /// Fails if no form reads all cells so far. The error is a predicate without a subject: the caller puts the place and the cell
    /// in front of it.
    pub fn push(&mut self, cell: &str) -> Result<(), String> {
        let cell = cell.trim();
        if cell.is_empty() {
            return Err("is empty, expected a timestamp; remove the row or write its time".into());
        }
        if self.rows == 0 && self.candidates.is_empty() {
            let forms = self.forms(cell)?;
            self.candidates = forms.into_iter().map(Candidate::new).collect();
        }
        let row = self.rows;
        let mut misfits = Vec::new();
        let mut index = 0;
        while let Some(candidate) = self.candidates.get_mut(index) {
            let pushed = candidate.push(cell, row).or_else(|misfit| match &candidate.form {
                Form::Pattern(pattern) if self.format.is_none() => {
                    candidate.form = with_time_of(pattern, cell).map(Form::Pattern).ok_or(misfit)?;
                    candidate.push(cell, row)
                }
                _ => Err(misfit),
            });
            match pushed {
                Ok(()) => index += 1,
                Err(misfit) => misfits.push((self.candidates.remove(index).form, misfit)),
            }
        }
        if self.candidates.is_empty() {
            return Err(self.misfit(&misfits));
        }
        self.rows += 1;
        Ok(())
    }

    /// Returns the forms that read the first cell.
    fn forms(&self, cell: &str) -> Result<Vec<Form>, String> {
        let mut forms = joined(&self.names, cell);
        if forms.is_empty() {
            // Numbers of several columns are parts of dates only by the names of the columns.
            if self.names.len() > 1 && cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ') {
                return Err(
                    "has parts of a date whose columns have no name of a part, such as year and month; try --time_format, such as %Y %m"
                        .into(),
                );
            }
            forms = candidates(cell);
        }
        if self.format.is_some() {
            forms.retain(|form| matches!(form, Form::Pattern(pattern) if pattern.begins_with_year()));
            if forms.is_empty() {
                return Err(
                    "does not fit --time_format iso, expected for example 2024-12-31 or 2024-12-31T23:59:00Z"
                        .into(),
                );
            }
        }
        match forms.is_empty() {
            false => Ok(forms),
            true if names_date(cell) => Err("is no date of the calendar, expected one".into()),
            true => Err("is neither a number nor a date, expected for example 2024-12-31, 2024-12-31 23:59:00 or 2024-12; try \
                 --time_format with its form, such as %d.%m.%y, or no --time_column, so that row numbers are the timestamps"
                .into()),
        }
    }

    /// Returns an error if months may be something else: Jan-05 a day without a year, and 2009/10 a year that begins in 2009.
    fn no_month(&self) -> Option<TimeProblem> {
        let [Candidate { form: form @ Form::Pattern(pattern), times: Times::Dates(dates), .. }] =
            &self.candidates[..]
        else {
            return None;
        };
        if self.format.is_some() || pattern.unit() != Unit::Month {
            return None;
        }
        // The year of the century, and the number of the month.
        let parts = dates.iter().map(|date| {
            let month = Wall(*date).month();
            (month.div_euclid(12).rem_euclid(100), month.rem_euclid(12) + 1)
        });
        let is_short = pattern.has(&Item::ShortYear);
        let other = if is_short && parts.clone().all(|(year, _)| (1..=31).contains(&year)) {
            "a day without a year"
        } else if !is_short && dates.len() > 1 && parts.clone().all(|(year, month)| month == (year + 1) % 100)
        {
            "a year that ends in the next one"
        } else {
            return None;
        };
        let mut cell = String::new();
        form.write(&mut cell, dates[0], &Clock::Plain);
        let message = format!(
            "{cell} is a month by {form}, or {other}, expected one reading; try --time_format {}, or the full form",
            quoted(form)
        );
        Some(TimeProblem::at(0, message))
    }

    /// Describes a cell that none of these forms reads.
    fn misfit(&self, misfits: &[(Form, Misfit)]) -> String {
        let forms: Vec<String> = misfits.iter().map(|(form, _)| form.to_string()).collect();
        let forms = forms.join(" or ");
        let bare = |form: &Form| matches!(form, Form::Pattern(pattern) if pattern.is_bare());
        let hint = match (&self.format, misfits) {
            (None, [(form, _)]) if bare(form) => "; if the column has no dates, try --time_format number",
            (None, [(Form::Epoch(_), _)]) => "; try --time_format number",
            (None, _) if self.rows > 0 => "; try --time_format",
            _ => "",
        };
        let calendar = misfits.iter().any(|(_, misfit)| *misfit == Misfit::Calendar);
        match (&self.format, misfits) {
            (_, [(Form::Number, _)]) => "is not a number, expected one as in the rows above".into(),
            (_, _) if calendar => {
                format!("is no date of the calendar, expected one of the form {forms}{hint}")
            }
            (Some(format), _) => {
                format!("does not fit --time_format {format}, expected that form in all rows")
            }
            _ => format!("is not a date of the form {forms}, expected that form as in the rows above{hint}"),
        }
    }

    /// Returns the timestamps in the order of the file.
    ///
    /// # Errors
    /// Fails if several forms are left that give different times, or if a local time does not exist in the time zone.
    pub fn finish(self) -> Result<RawTimes, TimeProblem> {
        self.finish_groups(&[])
    }

    /// Returns the timestamps in the order of the file. `groups` are the rows of several series, each in the order of its time; it is
    /// empty for one series.
    ///
    /// # Errors
    /// Fails like [`TimeReader::finish`].
    pub fn finish_groups(mut self, groups: &[&[u32]]) -> Result<RawTimes, TimeProblem> {
        let is_ordered = |candidate: &Candidate| match groups {
            [] => candidate.times.is_ordered(),
            groups => groups.iter().all(|rows| candidate.times.of_rows(rows).is_ordered()),
        };
        if self.candidates.len() > 1 && !self.sort && self.candidates.iter().any(is_ordered) {
            self.candidates.retain(is_ordered);
        }
        if let Some(problem) = ambiguous(&self.candidates) {
            return Err(problem);
        }
        if let Some(problem) = self.no_month() {
            return Err(problem);
        }
        let mut left = self.candidates.into_iter();
        let none = || TimeProblem {
            row: None,
            message: "the time column is empty, expected at least one row".into(),
        };
        let Candidate { form, mut times, offsets } =
            left.next().filter(|_| self.rows > 0).ok_or_else(none)?;
        let mut notes = notes(&form, &times);
        let clock = match (self.zone, &mut times) {
            (None, Times::Dates(dates)) => written_clock(&form, dates, &offsets),
            (Some(zone), Times::Dates(dates)) if form.unit() == Unit::Time => {
                let clock = Clock::Zone(zone);
                if form.is_local() {
                    let by_file = resolve_groups(dates, &clock, groups).map_err(|row| {
                        let mut label = String::new();
                        form.write(&mut label, dates[row], &Clock::Plain);
                        TimeProblem::at(row, format!("{label} does not exist in {zone}, because clocks were set forward, expected a local time"))
                    })?;
                    if by_file > 0 {
                        notes.push(format!(
                            "{} twice when clocks are set back, in rows without order: the first one in the file is the earlier",
                            if by_file == 1 { "1 row has a time that is there".into() } else { format!("{by_file} rows have times that are there") }
                        ));
                    }
                }
                clock
            }
            (None, _) => Clock::Plain,
            (Some(_), _) => {
                notes.push("--time_zone has no effect on timestamps without a time of day".into());
                Clock::Plain
            }
        };
        Ok(RawTimes { times, form, clock, notes })
    }
}

impl RawTimes {
    /// Returns the timestamps of these rows.
    pub fn of_rows(&self, rows: &[u32]) -> Self {
        let (form, clock) = (self.form.clone(), self.clock.clone());
        Self { times: self.times.of_rows(rows), form, clock, notes: Vec::new() }
    }

    /// Takes the timestamps from row `row` on.
    pub fn split_off(&mut self, row: usize) -> Self {
        let (form, clock) = (self.form.clone(), self.clock.clone());
        Self { times: self.times.split_off(row), form, clock, notes: Vec::new() }
    }

    /// Takes the notes.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// Converts the local times of each group of rows, or of all rows without groups; see [`resolve`].
fn resolve_groups(dates: &mut [i64], clock: &Clock, groups: &[&[u32]]) -> Result<usize, usize> {
    if groups.is_empty() {
        return resolve(dates, clock);
    }
    let mut by_file = 0;
    for &rows in groups {
        let mut own: Vec<i64> = rows.iter().map(|&row| dates[row as usize]).collect();
        by_file += resolve(&mut own, clock).map_err(|row| rows[row] as usize)?;
        rows.iter().zip(own).for_each(|(&row, date)| dates[row as usize] = date);
    }
    Ok(by_file)
}

impl Candidate {
    fn new(form: Form) -> Self {
        let times = match form {
            Form::Number => Times::Numbers(Vec::new()),
            _ => Times::Dates(Vec::new()),
        };
        Self { form, times, offsets: Vec::new() }
    }

    fn push(&mut self, cell: &str, row: usize) -> Result<(), Misfit> {
        match (self.form.read(cell)?, &mut self.times) {
            (Value::Number(number), Times::Numbers(numbers)) => numbers.push(number),
            (Value::Wall(wall), Times::Dates(dates)) => dates.push(wall.0),
            (Value::Instant(instant, offset), Times::Dates(dates)) => {
                dates.push(instant);
                if let Some(offset) = offset
                    && self.offsets.last().is_none_or(|(_, last)| *last != offset)
                {
                    self.offsets.push((row, offset));
                }
            }
            _ => return Err(Misfit::Form),
        }
        Ok(())
    }
}

/// Returns an error if the candidates give different times, or would give different times to the rows that follow.
fn ambiguous(candidates: &[Candidate]) -> Option<TimeProblem> {
    let [first, others @ ..] = candidates else { return None };
    let differing = others.iter().filter_map(|other| first.times.difference(&other.times)).min();
    // 01/01/2024 is one date in either order. Years of such dates go on so, but hours of such a day do not.
    let continues = || match &first.times {
        Times::Dates(dates) => {
            dates.get(1).is_some_and(|next| next.abs_diff(dates[0]) < (MONTH_DAYS * DAY) as u64)
        }
        _ => false,
    };
    let row = differing.or_else(|| (!others.is_empty() && continues()).then_some(0))?;
    let cell = first.times.text(row, &first.form, &Clock::Plain);
    let reading = |candidate: &Candidate| match &candidate.times {
        Times::Dates(dates) => format!("{} by {}", iso(dates[row]), candidate.form),
        _ => "a number by number".to_owned(),
    };
    let readings: Vec<String> = candidates.iter().map(reading).collect();
    let flags: Vec<String> =
        candidates.iter().map(|candidate| format!("--time_format {}", quoted(&candidate.form))).collect();
    let message =
        format!("{cell} is {}, expected one reading; try {}", readings.join(" and "), flags.join(" or "));
    Some(TimeProblem::at(row, message))
}

/// Returns a form as a shell reads it.
fn quoted(form: &Form) -> String {
    let text = form.to_string();
    if text.contains(' ') { format!("\"{text}\"") } else { text }
}

/// Returns the clock of the offsets that are written in the cells.
fn written_clock(form: &Form, dates: &[i64], offsets: &[(usize, i32)]) -> Clock {
    match (form, offsets) {
        (_, []) => return Clock::Plain,
        (Form::Pattern(pattern), _) if pattern.is_utc() => return Clock::Plain,
        (_, [(_, offset)]) => return Clock::Offsets(vec![(i64::MIN, *offset)]),
        _ => {}
    }
    let ends = offsets.iter().skip(1).map(|(row, _)| *row).chain([dates.len()]);
    let runs = offsets.iter().zip(ends);
    let mut changes: Vec<(i64, i32)> =
        runs.flat_map(|((row, offset), end)| dates[*row..end].iter().map(|date| (*date, *offset))).collect();
    changes.sort_unstable();
    changes.dedup_by_key(|(_, offset)| *offset);
    Clock::Offsets(changes)
}
