//! `run_experiment data`: shows how a file is read.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};
use console::Term;
use serde::Serialize;

use crate::format::{self, count, listed, number};
use crate::tasks::plot_series;
use crate::terminal;
use crate::time_series::{CsvConfig, Frequency, Panel, Series, read_panel};

/// The line of the command in `--help`.
const ABOUT: &str = "Show how a file is read: times, frequency, gaps, columns, a plot";

/// The most columns in the table. `--json` has all.
const MAX_COLUMNS: usize = 20;

/// The flags of `data`.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    #[command(flatten)]
    series: CsvConfig,
    /// Plot the series to FILE.png and FILE.svg.
    #[arg(long = "output", value_name = "FILE", default_value = "logs/data")]
    output: PathBuf,
    /// Print one line of JSON.
    #[arg(long = "json")]
    json: bool,
}

/// Adds the flags of `data`.
pub fn with_flags(command: Command) -> Command {
    DataArgs::augment_args(command).about(ABOUT)
}

impl DataArgs {
    /// Reads the file, prints how it is read, and plots it.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if the plot or standard output cannot be written.
    pub fn run(&self) -> Result<()> {
        let panel = read_panel(&self.series, None)?;
        let of_many = SeriesPreview::new(&panel);
        let series = panel.series.first().context("found no series, expected one")?;
        let mut preview = Preview { of_many, ..Preview::new(series)? };
        preview.notes.extend(panel.notes.iter().cloned());
        if self.json {
            terminal::result(serde_json::to_string(&preview)?)?;
        } else {
            let width = terminal::columns(&Term::stdout());
            terminal::result(format::wrap(&preview.text(), width))?;
        }
        let stem = match self.output.extension() {
            Some(extension) if extension == "png" || extension == "svg" => self.output.with_extension(""),
            _ => self.output.clone(),
        };
        if let Some(folder) = stem.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        plot_series(&stem, series)?;
        if !self.json {
            terminal::result(format_args!("{}.png", stem.display()))?;
        }
        Ok(())
    }
}

/// A description of a series as it was read.
#[derive(Debug, Serialize)]
struct Preview {
    /// The series of a file of many, of which the first one is shown; `None` for one series.
    #[serde(rename = "series", skip_serializing_if = "Option::is_none")]
    of_many: Option<SeriesPreview>,
    rows: usize,
    /// The first and the last timestamp.
    first: String,
    last: String,
    /// The form of the timestamps, as in `--time_format`.
    time_format: String,
    frequency: Option<Frequency>,
    /// Rows per season.
    season: Option<usize>,
    columns: Vec<ColumnPreview>,
    /// The rows after the last target whose future covariates are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    later_rows: Option<usize>,
    /// The features that are made of timestamps, as in --calendar and --fourier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
    notes: Vec<String>,
}

/// The values of one column. A column without a value has no range.
#[derive(Debug, Serialize)]
struct ColumnPreview {
    name: String,
    /// The flag of its role; `None` in a series without covariates.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    missing: usize,
    min: Option<f64>,
    mean: Option<f64>,
    max: Option<f64>,
    /// The means of equal parts of the rows, NaN for parts without a value.
    #[serde(skip)]
    parts: Vec<f64>,
}

/// The series of a file of many.
#[derive(Debug, Serialize)]
struct SeriesPreview {
    count: usize,
    /// The rows of the shortest and of the longest series.
    shortest: usize,
    longest: usize,
    names: Vec<String>,
}

impl SeriesPreview {
    fn new(panel: &Panel) -> Option<Self> {
        let rows = panel.series.iter().map(Series::len);
        let (shortest, longest) = (rows.clone().min()?, rows.max()?);
        let names = panel.series.iter().map(|series| series.key.clone()).collect();
        Some(Self { count: panel.series.len(), shortest, longest, names }).filter(|_| panel.is_many())
    }
}

impl Preview {
    fn new(series: &Series) -> Result<Self> {
        let rows = series.len();
        let label = |row: usize| series.timestamps.labels_of(row..row + 1).remove(0);
        let covariates = series.covariates();
        let tables = covariates.map(|covariates| {
            let roles = &covariates.roles;
            [
                ("past_covariates", &roles.past, &covariates.past),
                ("future_covariates", &roles.future, &covariates.future),
            ]
        });
        let target = (covariates.map(|_| "target"), &series.names, &series.values);
        let tables = tables.into_iter().flatten().map(|(role, names, values)| (Some(role), names, values));
        let columns = std::iter::once(target).chain(tables).flat_map(|(role, names, values)| {
            names.iter().enumerate().map(move |(at, name)| {
                let column = Vec::<f64>::try_from(values.f_select(1, at as i64)?)?;
                Ok(ColumnPreview { role, ..ColumnPreview::new(name, &column) })
            })
        });
        let features = covariates.map(|covariates| covariates.roles.features()).unwrap_or_default();
        let later = covariates.filter(|covariates| !covariates.roles.future.is_empty());
        let later_rows = later.map(|covariates| covariates.later(rows)).transpose()?;
        Ok(Self {
            of_many: None,
            rows,
            first: label(0),
            last: label(rows - 1),
            time_format: series.timestamps.form(),
            frequency: series.timestamps.frequency(),
            season: series.season,
            columns: columns.collect::<Result<_>>()?,
            later_rows,
            features,
            notes: series.notes.clone(),
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if let Some(SeriesPreview { count, shortest, longest, names }) = &self.of_many {
            let _ = writeln!(text, "series   {count}, of {shortest} to {longest} rows: {}", listed(names));
            let _ = writeln!(text, "\nThe first series, {}", names[0]);
        }
        let _ = writeln!(text, "rows     {}, from {} to {}", self.rows, self.first, self.last);
        let season = self
            .season
            .map_or_else(|| "unknown (--season ROWS)".into(), |season| count(season as u64, "row"));
        let frequency = self.frequency.map_or_else(|| "irregular".into(), |frequency| frequency.to_string());
        let _ = writeln!(text, "times    {frequency}, of the form {}", self.time_format);
        let _ = writeln!(text, "season   {season}");
        if !self.features.is_empty() {
            let _ = writeln!(text, "features {}", self.features.join(", "));
        }
        for note in &self.notes {
            let _ = writeln!(text, "note     {note}");
        }
        let shown = &self.columns[..self.columns.len().min(MAX_COLUMNS)];
        let width = shown.iter().map(|column| column.name.chars().count()).max().unwrap_or(0).clamp(6, 30);
        let _ = writeln!(
            text,
            "\n{:<width$} {:>11} {:>11} {:>11} {:>8}",
            "column", "min", "mean", "max", "missing"
        );
        for column in shown {
            let name: String = column.name.chars().take(width).collect();
            let cell = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), number);
            let _ = writeln!(
                text,
                "{name:<width$} {:>11} {:>11} {:>11} {:>8}  {}{}",
                cell(column.min),
                cell(column.mean),
                cell(column.max),
                column.missing,
                sparkline(&column.parts),
                column.role.map_or_else(String::new, |role| format!("  --{role}"))
            );
        }
        if self.columns.len() > shown.len() {
            let _ = writeln!(text, "and {}", count((self.columns.len() - shown.len()) as u64, "more column"));
        }
        text
    }
}

impl ColumnPreview {
    /// The number of parts, which is the length of the line in the table.
    const PARTS: usize = 24;

    fn new(name: &str, values: &[f64]) -> Self {
        let present = || values.iter().copied().filter(|value| !value.is_nan());
        let found = present().count();
        let mean = |values: &[f64]| {
            let present = || values.iter().copied().filter(|value| !value.is_nan());
            present().sum::<f64>() / present().count() as f64
        };
        let some = |value: f64| (found > 0).then_some(value);
        Self {
            name: name.to_owned(),
            role: None,
            missing: values.len() - found,
            min: some(present().fold(f64::INFINITY, f64::min)),
            mean: some(mean(values)),
            max: some(present().fold(f64::NEG_INFINITY, f64::max)),
            parts: values.chunks(values.len().div_ceil(Self::PARTS).max(1)).map(mean).collect(),
        }
    }
}

/// Draws values as a line of blocks, with a space for NaN.
fn sparkline(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (least, greatest) =
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let block = |value: &f64| {
        if !value.is_finite() {
            return ' ';
        }
        let share = if greatest > least { (value - least) / (greatest - least) } else { 0.5 };
        BLOCKS[((share * 8.0) as usize).min(7)]
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_preview_of_values_with_gaps_leaves_them_out() {
        let column = ColumnPreview::new("v", &[1.0, f64::NAN, 3.0, 8.0]);
        assert_eq!(
            (column.missing, column.min, column.mean, column.max),
            (1, Some(1.0), Some(4.0), Some(8.0))
        );
        let empty = ColumnPreview::new("v", &[f64::NAN; 3]);
        assert_eq!((empty.missing, empty.min, empty.mean), (3, None, None));
    }

    #[test]
    fn sparkline_of_a_ramp_rises_and_has_a_space_for_a_gap() {
        assert_eq!(sparkline(&[0.0, 1.0, f64::NAN, 2.0, 4.0]), "▁▃ ▅█");
        assert_eq!(sparkline(&[5.0, 5.0]), "▅▅");
    }
}
