//! The time of each phase of the training loop.

use std::fmt;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The profilers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum ProfilerName {
    /// Print a table of phases at the end.
    Simple,
}

/// A phase of the training loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Gathering batches.
    Data,
    /// The forward pass, from the inputs to the loss.
    Forward,
    /// The backward pass, from the loss to the gradients.
    Backward,
    /// Checking and clipping gradients, and updating the weights.
    Optimizer,
    /// Validation.
    Validation,
    /// Records, loggers and callbacks.
    Logging,
    /// Writing checkpoints.
    Checkpoint,
}

const PHASES: [(Phase, &str); 7] = [
    (Phase::Data, "data"),
    (Phase::Forward, "forward"),
    (Phase::Backward, "backward"),
    (Phase::Optimizer, "optimizer"),
    (Phase::Validation, "validation"),
    (Phase::Logging, "logging"),
    (Phase::Checkpoint, "checkpoint"),
];

/// The sums of the time in each phase. A profiler that is off costs one branch per lap.
#[derive(Debug)]
pub struct Profiler {
    started: Option<Instant>,
    last: Option<Instant>,
    spent: [(Duration, u64); PHASES.len()],
}

impl Profiler {
    /// Creates a profiler that is on or off.
    pub fn new(on: bool) -> Self {
        let now = on.then(Instant::now);
        Self { started: now, last: now, spent: [(Duration::ZERO, 0); PHASES.len()] }
    }

    /// Adds the time since the previous lap to the sum of `phase`.
    pub fn lap(&mut self, phase: Phase) {
        let Some(last) = &mut self.last else { return };
        let now = Instant::now();
        let (time, calls) = &mut self.spent[phase as usize];
        *time += now - *last;
        *calls += 1;
        *last = now;
    }
}

impl fmt::Display for Profiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(started) = self.started else {
            return Ok(());
        };
        let total = started.elapsed().as_secs_f64();
        writeln!(f, "{:<12}{:>10}{:>10}{:>14}{:>8}", "phase", "calls", "seconds", "ms per call", "share")?;
        for ((_, name), (time, calls)) in PHASES.iter().zip(&self.spent).filter(|(_, (_, calls))| *calls > 0)
        {
            let seconds = time.as_secs_f64();
            let (each, share) = (seconds * 1e3 / *calls as f64, 100.0 * seconds / total);
            writeln!(f, "{name:<12}{calls:>10}{seconds:>10.3}{each:>14.4}{share:>7.1}%")?;
        }
        let measured: f64 = self.spent.iter().map(|(time, _)| time.as_secs_f64()).sum();
        let rest = total - measured;
        writeln!(f, "{:<12}{:>10}{rest:>10.3}{:>14}{:>7.1}%", "other", "", "", 100.0 * rest / total)?;
        write!(f, "{:<12}{:>10}{total:>10.3}", "total", "")
    }
}
