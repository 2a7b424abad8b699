//! The progress of a run, for a person: a table of epochs and, on a terminal, a bar below it. Both go to standard
//! error, so that standard output contains only results.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Callback, Monitor, Position, StopReason};
use crate::terminal;
use crate::trainer::record::Record;

mod bar;
mod pace;
mod table;

use bar::EpochState;
use pace::Pace;
use table::{Row, Table};

/// The shortest time between two updates of the bar.
const REFRESH: Duration = Duration::from_millis(50);

/// The environment of a report: a clock, the width of the terminal, and an output for lines. Tests pass their own.
pub struct Surroundings {
    /// Returns the time since a fixed start.
    pub now: Box<dyn Fn() -> Duration>,
    /// Returns the number of columns per line.
    pub width: Box<dyn Fn() -> usize>,
    /// Prints a line.
    pub print: Box<dyn FnMut(&str)>,
}

impl Surroundings {
    /// Returns the surroundings of this process: the system's clock and standard error.
    pub fn of_process() -> Self {
        let (start, stderr) = (Instant::now(), Term::stderr());
        Self {
            now: Box::new(move || start.elapsed()),
            width: Box::new(move || terminal::columns(&stderr)),
            print: Box::new(|line| terminal::note(line)),
        }
    }
}

/// A callback that prints a run's progress: a table with a row per validation and, on a terminal, a bar for the current
/// epoch.
///
/// The table fits the terminal's width; metrics without a column are only in `metrics.jsonl`. Each new best of the
/// first monitored metric has a mark. The table grows by at most one row per second, plus the last row of the run and
/// recent rows with a new best.
pub struct ProgressReport {
    max_epochs: u64,
    /// The metric that marks the best epoch.
    monitor: Option<Monitor>,
    table: Table,
    pace: Pace,
    surroundings: Surroundings,
    bar: Option<Bar>,
    at: Option<Position>,
    /// The start of the current epoch.
    started: Duration,
}

/// The bar and its state.
struct Bar {
    bar: ProgressBar,
    /// The time of the last update.
    updated: Duration,
    loss: Option<f64>,
    /// Batches of the current epoch that were finished before this process started to time it.
    untimed: usize,
}

impl ProgressReport {
    /// Creates a report of a run of at most `max_epochs` epochs. `metrics` are the names in its records, in their
    /// order. The first of `monitors` decides which epoch is the best. If it already has a best value, the run was
    /// resumed.
    pub fn new(max_epochs: u64, metrics: &[String], monitors: Vec<Monitor>) -> Self {
        let report = Self::with_surroundings(max_epochs, metrics, monitors, Surroundings::of_process());
        // Other threads print debug messages too, which would break the bar.
        let has_bar = std::io::stderr().is_terminal() && log::max_level() <= log::LevelFilter::Info;
        Self { bar: has_bar.then(Bar::new), ..report }
    }

    /// Creates the report of [`ProgressReport::new`], but without a bar and with other surroundings.
    pub fn with_surroundings(
        max_epochs: u64,
        metrics: &[String],
        monitors: Vec<Monitor>,
        surroundings: Surroundings,
    ) -> Self {
        let names: Vec<String> = monitors.iter().map(|monitor| monitor.metric.clone()).collect();
        let table = Table::new(metrics, &names, &format!("{max_epochs}/{max_epochs}"));
        Self {
            max_epochs,
            monitor: monitors.into_iter().next(),
            table,
            pace: Pace::default(),
            started: (surroundings.now)(),
            surroundings,
            bar: None,
            at: None,
        }
    }

    /// Prints the lines of `rows` above the bar.
    fn print(&mut self, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let width = (self.surroundings.width)();
        let lines: Vec<String> = rows.iter().flat_map(|row| self.table.lines(row, width)).collect();
        let mut print = || lines.iter().for_each(|line| (self.surroundings.print)(line));
        match &self.bar {
            Some(bar) => bar.bar.suspend(print),
            None => print(),
        }
    }

    /// Returns the finished epochs and their maximum: `3/10` at the end of an epoch, `2.50/10` within one.
    fn epoch(&self, record: &Record) -> String {
        match self.at.filter(|at| at.batch < at.batches) {
            Some(at) => format!("{}.{:02}/{}", at.epoch, 100 * at.batch / at.batches, self.max_epochs),
            None => format!("{}/{}", record.epoch, self.max_epochs),
        }
    }
}

impl Callback for ProgressReport {
    fn on_batch_end(&mut self, at: Position) {
        let before = self.at.replace(at);
        let Some(bar) = &mut self.bar else { return };
        if before.is_none_or(|before| before.epoch != at.epoch) {
            bar.untimed = at.batch.saturating_sub(1);
        }
        let now = (self.surroundings.now)();
        if now >= bar.updated + REFRESH {
            bar.updated = now;
            let state = EpochState {
                epoch: format!("{}/{}", at.epoch + 1, self.max_epochs),
                batch: at.batch,
                batches: at.batches,
                timed: at.batch - bar.untimed,
                elapsed: now - self.started,
                loss: bar.loss,
            };
            bar.bar.set_message(state.line((self.surroundings.width)()));
        }
    }

    fn on_log(&mut self, record: &Record) {
        if let (Some(bar), Some(loss)) = (&mut self.bar, record.get("train_loss_step")) {
            bar.loss = Some(loss);
        }
    }

    fn on_validation_end(&mut self, record: &Record) -> Result<ControlFlow<StopReason>> {
        let now = (self.surroundings.now)();
        let best = self.monitor.as_mut().is_some_and(|monitor| {
            let value = record.get(&monitor.metric).filter(|value| value.is_finite());
            value.is_some_and(|value| monitor.observe(value, 0.0))
        });
        let time = now - self.started;
        let row = Row { epoch: self.epoch(record), values: record.values.clone(), time, best };
        if self.at.is_none_or(|at| at.batch == at.batches) {
            self.started = now;
        }
        let rows = self.pace.push(row, now);
        self.print(rows);
        Ok(ControlFlow::Continue(()))
    }

    fn on_fit_end(&mut self) {
        let rows = self.pace.flush();
        self.print(rows);
        if let Some(bar) = &self.bar {
            bar.bar.finish_and_clear();
        }
    }
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or(ProgressStyle::default_spinner()));
        Self { bar, updated: Duration::ZERO, loss: None, untimed: 0 }
    }
}

#[cfg(test)]
mod tests;
