//! The progress of a run, for a person: a table of epochs, and on a terminal a bar below it. All of it goes to standard
//! error, so that standard output holds results alone.

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

/// The time between two drawings of the bar.
const REDRAW: Duration = Duration::from_millis(50);

/// The surroundings of a report: a clock, a terminal's width, and a place for lines. Tests bring their own.
pub struct Surroundings {
    /// Returns the time since any fixed moment.
    pub now: Box<dyn Fn() -> Duration>,
    /// Returns the number of columns that a line may fill.
    pub width: Box<dyn Fn() -> usize>,
    /// Prints a line.
    pub print: Box<dyn FnMut(&str)>,
}

impl Surroundings {
    /// Returns those of this process: the system's clock and standard error.
    pub fn of_process() -> Self {
        let (start, stderr) = (Instant::now(), Term::stderr());
        Self {
            now: Box::new(move || start.elapsed()),
            width: Box::new(move || terminal::columns(&stderr)),
            print: Box::new(|line| terminal::note(line)),
        }
    }
}

/// The report of a run's progress: a table with a row per validation, and on a terminal a bar for the epoch in progress.
///
/// The table fits the terminal's width; metrics without a column are in `metrics.jsonl`. Each new best of the first
/// monitored metric has a mark. Rows are at most one per second, but for the last row and the new bests before each
/// printed row.
pub struct ProgressReport {
    max_epochs: u64,
    /// The metric that marks the best epoch.
    monitor: Option<Monitor>,
    table: Table,
    pace: Pace,
    surroundings: Surroundings,
    bar: Option<Bar>,
    at: Option<Position>,
    /// The start of the epoch in progress.
    started: Duration,
}

/// The bar and its state.
struct Bar {
    bar: ProgressBar,
    drawn: Duration,
    loss: Option<f64>,
    /// Batches of the epoch in progress that were done before this process began to time it.
    untimed: usize,
}

impl ProgressReport {
    /// Reports on a run of at most `max_epochs` epochs that measures `metrics`, in the order of their measurement. The
    /// first of `monitors` decides which epoch is the best; a value that it already has comes from before a resume.
    pub fn new(max_epochs: u64, metrics: &[String], monitors: Vec<Monitor>) -> Self {
        let report = Self::with_surroundings(max_epochs, metrics, monitors, Surroundings::of_process());
        // Debug messages come from other threads too, and would break the bar.
        let draws = std::io::stderr().is_terminal() && log::max_level() <= log::LevelFilter::Info;
        Self { bar: draws.then(Bar::new), ..report }
    }

    /// Reports as [`ProgressReport::new`] does, without a bar, to other surroundings.
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

    /// Returns the epochs done, of how many: those of the record at the end of an epoch, else a share more.
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
        if now >= bar.drawn + REDRAW {
            bar.drawn = now;
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
        Self { bar, drawn: Duration::ZERO, loss: None, untimed: 0 }
    }
}

#[cfg(test)]
mod tests;
