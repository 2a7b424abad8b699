//! Tells how far a run is: a bar on a terminal, a line an epoch everywhere. All of it goes to standard error, so that
//! standard output holds results alone.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Callback, Position, StopReason};
use crate::terminal;
use crate::trainer::record::Record;

/// A bar for each epoch on a terminal, and a line for each validation.
#[derive(Debug)]
pub struct ProgressReport {
    bar: ProgressBar,
    /// `None` off a terminal, where nothing is drawn.
    redraw: Option<Instant>,
    epoch: Option<u64>,
    max_epochs: u64,
    started: Instant,
}

impl ProgressReport {
    /// Reports on a run of at most `max_epochs` epochs.
    pub fn new(max_epochs: u64) -> Self {
        let now = Instant::now();
        // What is logged at the levels below comes from other threads too, and would break the bar.
        let draws = std::io::stderr().is_terminal() && log::max_level() <= log::LevelFilter::Info;
        let redraw = draws.then_some(now);
        Self { bar: ProgressBar::hidden(), redraw, epoch: None, max_epochs, started: now }
    }

    fn print(&self, line: &str) {
        self.bar.suspend(|| terminal::note(line));
    }
}

impl Callback for ProgressReport {
    fn on_batch_end(&mut self, at: Position) {
        if self.epoch != Some(at.epoch) {
            self.epoch = Some(at.epoch);
            self.started = Instant::now();
            if self.redraw.is_some() {
                self.bar = ProgressBar::new(at.batches as u64);
                let template = "epoch {prefix} {bar:30} {pos}/{len} [{elapsed}<{eta}, {per_sec}] {msg}";
                self.bar.set_style(
                    ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()),
                );
                self.bar.set_prefix(format!("{}/{}", at.epoch + 1, self.max_epochs));
            }
        }
        if self.redraw.is_some_and(|last| last.elapsed() > Duration::from_millis(50)) {
            self.redraw = Some(Instant::now());
            self.bar.set_position(at.batch as u64);
        }
    }

    fn on_log(&mut self, record: &Record) {
        if let (Some(_), Some(loss)) = (self.redraw, record.get("train_loss_step")) {
            self.bar.set_message(format!("loss {loss:.4}"));
        }
    }

    fn on_validation_end(&mut self, record: &Record) -> Result<ControlFlow<StopReason>> {
        let values: Vec<String> =
            record.values.iter().map(|(name, value)| format!("{name} {}", number(*value))).collect();
        let seconds = self.started.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        let epochs = format!("epoch {}/{}", record.epoch, self.max_epochs);
        self.print(&format!("{epochs}  step {}  {}  {seconds:.1} s", record.step, values.join("  ")));
        Ok(ControlFlow::Continue(()))
    }

    fn on_fit_end(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Five significant digits, in the shorter of the two notations.
pub fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e5).contains(&value.abs()) {
        let digits = 5 - 1 - value.abs().log10().floor().clamp(-4.0, 4.0) as i32;
        format!("{value:.*}", if value == 0.0 { 1 } else { digits as usize })
    } else {
        format!("{value:.4e}")
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short_and_say_what_was_measured() {
        let cases = [
            (0.0, "0.0"),
            (0.97654321, "0.97654"),
            (12.3456, "12.346"),
            (12345.6, "12346"),
            (1e-6, "1.0000e-6"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(f64::NAN), "NaN");
    }
}
