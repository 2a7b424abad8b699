//! The metrics of a run over its epochs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::plots::{self, Measured};
use crate::format;

/// Plots the loss and the metrics by epoch to `STEM.png` and `STEM.svg`, from the lines of the file `metrics`
/// (`metrics.jsonl`, which includes the lines before a resume). An epoch has `steps_per_epoch` steps. Writes no plot
/// for a run with fewer than two records. Leaves out lines that are not records, with a warning.
///
/// # Errors
/// Fails if the file cannot be read or a plot cannot be written.
pub fn plot_metrics(metrics: &Path, stem: &Path, steps_per_epoch: u64) -> Result<()> {
    let text = fs::read(metrics).with_context(|| format!("cannot read {}", metrics.display()))?;
    let (records, unusable) = records(&String::from_utf8_lossy(&text));
    if let Some((line, why)) = unusable.first() {
        let lines = format::count(unusable.len() as u64, "line");
        log::warn!(
            "{}: left {lines} out of the plot, the first is line {line}: {why}, expected a record of the run",
            metrics.display()
        );
    }
    // The current epoch, and its first step.
    let mut began = (0, 0);
    let measured: Vec<_> = records
        .iter()
        .map(|Measurement { epoch, step, values }| {
            if *epoch > began.0 {
                began = (*epoch, *step);
            }
            let epoch = *epoch as f64 + step.saturating_sub(began.1) as f64 / steps_per_epoch as f64;
            Measured { epoch, values }
        })
        .collect();
    if measured.len() > 1 { plots::metrics(stem, &measured) } else { Ok(()) }
}

/// The means of one validation or epoch.
#[derive(Debug, PartialEq)]
struct Measurement {
    epoch: u64,
    step: u64,
    values: Vec<(String, f64)>,
}

/// Returns the means over an epoch, and the numbers of the lines that are not records, with the reasons. Skips the records of
/// single steps, which contain the loss of one batch, and the metrics of the test split.
fn records(text: &str) -> (Vec<Measurement>, Vec<(usize, String)>) {
    let (mut records, mut unusable) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines()) {
        match record(text) {
            Ok(record) if record.values.iter().any(|(name, _)| name == "train_loss") => records.push(record),
            Ok(_) => {}
            Err(why) => unusable.push((line, why)),
        }
    }
    (records, unusable)
}

fn record(line: &str) -> Result<Measurement, String> {
    let record: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let number = |name: &str| {
        record.get(name).and_then(Value::as_u64).ok_or_else(|| format!("it has no number {name:?}"))
    };
    let (epoch, step) = (number("epoch")?, number("step")?);
    let values =
        record.into_iter().filter(|(name, _)| name.starts_with("train_") || name.starts_with("val_"));
    let values = values.map(|(name, value)| (name, value.as_f64().unwrap_or(f64::NAN))).collect();
    Ok(Measurement { epoch, step, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_damaged_lines_are_the_others() {
        let text = r#"{"epoch":1,"step":2,"train_loss":0.5,"val_loss":null}
{"epoxx":1,"step":2,"train_loss":0.5}
{"epoch":-1,"step":2,"train_loss":0.5}
{"epoch":1,"step":2,"train_loss_step":0.5}
no JSON
[1]

{"epoch":2,"step":4,"test_loss":0.5}
{"epoch":2,"step":4,"train_loss":1}"#;
        let (records, unusable) = records(text);
        let found: Vec<_> =
            records.iter().map(|r| (r.epoch, r.step, r.values.len(), r.values[0].1)).collect();
        assert_eq!(found, [(1, 2, 2, 0.5), (2, 4, 1, 1.0)]);
        assert!(records[0].values[1].1.is_nan());
        assert_eq!(unusable.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 5, 6, 7]);
        assert_eq!(unusable[0].1, r#"it has no number "epoch""#);
    }
}
