use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::trainer::callbacks::Mode;

/// A report with a clock that the test sets, and the printed lines.
struct Desk {
    report: ProgressReport,
    now: Rc<Cell<Duration>>,
    lines: Rc<RefCell<Vec<String>>>,
}

impl Desk {
    fn new(max_epochs: u64, monitors: Vec<Monitor>) -> Self {
        let now = Rc::new(Cell::new(Duration::ZERO));
        let lines = Rc::new(RefCell::new(Vec::new()));
        let (clock, sink) = (Rc::clone(&now), Rc::clone(&lines));
        let surroundings = Surroundings {
            now: Box::new(move || clock.get()),
            width: Box::new(|| 80),
            print: Box::new(move |line| sink.borrow_mut().push(line.to_owned())),
        };
        let metrics = ["train_loss", "val_loss", "val_acc"].map(String::from);
        let report = ProgressReport::with_surroundings(max_epochs, &metrics, monitors, surroundings);
        Self { report, now, lines }
    }

    /// Trains up to batch `batch` of 4 in epoch `epoch` (from 0), which takes `millis` ms, and validates.
    fn validate(&mut self, epoch: u64, batch: usize, millis: u64, loss: f64, acc: f64) {
        self.now.set(self.now.get() + Duration::from_millis(millis));
        self.report.on_batch_end(Position { epoch, batch, batches: 4 });
        let values = [("train_loss", 1.0), ("val_loss", loss), ("val_acc", acc)];
        let values = values.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let record = Record { epoch: epoch + u64::from(batch == 4), step: 0, values };
        assert!(self.report.on_validation_end(&record).unwrap().is_continue());
    }

    fn end(mut self) -> Vec<String> {
        self.report.on_fit_end();
        self.lines.take()
    }
}

fn monitor(metric: &str, mode: Mode) -> Vec<Monitor> {
    vec![Monitor::new(metric, mode)]
}

/// Returns the epochs with a mark, from 1, of a run with one validation per epoch.
fn marked(monitors: Vec<Monitor>, values: &[f64]) -> Vec<usize> {
    let mut desk = Desk::new(10, monitors);
    for (epoch, &value) in (0..).zip(values) {
        desk.validate(epoch, 4, 1000, value, value);
    }
    let lines = desk.end();
    assert_eq!(lines.len(), 1 + values.len());
    (1..lines.len()).filter(|&at| lines[at].ends_with('*')).collect()
}

#[test]
fn report_of_whole_epochs_is_a_table() {
    let mut desk = Desk::new(10, monitor("val_loss", Mode::Min));
    desk.validate(0, 4, 1560, 0.5, 0.875);
    desk.validate(1, 4, 125_000, 0.25, 0.9375);
    desk.validate(2, 4, 1000, 0.375, 0.90625);
    let expected = [
        "epoch  train_loss   val_loss    val_acc         time  best",
        " 1/10      1.0000    0.50000    0.87500        1.6 s     *",
        " 2/10      1.0000    0.25000    0.93750   2 min 05 s     *",
        " 3/10      1.0000    0.37500    0.90625        1.0 s",
    ];
    assert_eq!(desk.end(), expected);
}

#[test]
fn report_within_epochs_shows_fractions_and_time_since_the_start_of_the_epoch() {
    let mut desk = Desk::new(10, monitor("val_loss", Mode::Min));
    desk.validate(0, 2, 1000, 0.5, 0.5);
    desk.validate(0, 4, 1000, 0.5, 0.5);
    desk.validate(1, 3, 3000, 0.5, 0.5);
    let rows: Vec<String> = desk.end().into_iter().skip(1).collect();
    let starts: Vec<&str> = rows.iter().filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(starts, ["0.50/10", "1/10", "1.75/10"]);
    let times: Vec<bool> =
        ["1.0 s", "2.0 s", "3.0 s"].iter().zip(&rows).map(|(t, r)| r.contains(t)).collect();
    assert_eq!(times, [true; 3], "{rows:?}");
    assert!(rows[1].starts_with("   1/10  "), "{rows:?}");
}

#[test]
fn report_of_short_epochs_has_the_first_the_last_and_recent_best_epochs() {
    let mut desk = Desk::new(100, monitor("val_loss", Mode::Min));
    for epoch in 0..100 {
        let loss = if [0, 50, 94].contains(&epoch) { 1.0 / (epoch + 1) as f64 } else { 2.0 };
        desk.validate(epoch, 4, 3, loss, 0.5);
    }
    let lines = desk.end();
    let epochs: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(epochs, ["epoch", "1/100", "95/100", "100/100"]);
    assert!(lines[2].ends_with("3.0 ms     *"), "{lines:?}");
}

#[test]
fn report_of_a_run_that_ends_at_once_prints_nothing() {
    assert_eq!(Desk::new(10, monitor("val_loss", Mode::Min)).end(), [""; 0]);
}

#[test]
fn report_of_a_resumed_run_continues_with_its_epoch_and_best() {
    let best = Monitor { best: Some(0.5), ..Monitor::new("val_loss", Mode::Min) };
    let mut desk = Desk::new(10, vec![best]);
    desk.validate(6, 4, 1000, 0.75, 0.5);
    desk.validate(7, 4, 1000, 0.25, 0.5);
    let lines = desk.end();
    assert!(lines[1].starts_with(" 7/10") && lines[1].ends_with("1.0 s"), "{lines:?}");
    assert!(lines[2].starts_with(" 8/10") && lines[2].ends_with('*'), "{lines:?}");
}

#[test]
fn marks_of_both_modes_are_on_each_new_best() {
    let values = [0.5, 0.75, 0.25, 0.25, 0.875];
    assert_eq!(marked(monitor("val_loss", Mode::Min), &values), [1, 3]);
    assert_eq!(marked(monitor("val_acc", Mode::Max), &values), [1, 2, 5]);
}

#[test]
fn marks_are_never_on_nonfinite_values() {
    let values = [f64::NAN, 0.5, f64::NAN, f64::NEG_INFINITY, 0.25];
    assert_eq!(marked(monitor("val_loss", Mode::Min), &values), [2, 5]);
}

#[test]
fn marks_without_a_monitor_are_absent() {
    assert_eq!(marked(Vec::new(), &[0.5, 0.25]), [0usize; 0]);
}
