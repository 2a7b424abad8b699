//! The metrics of a run over its epochs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::plots::{self, Measured};

/// Plots the loss and the metrics by epoch to `STEM.png` and `STEM.svg`, from the lines of the file `metrics`
/// (`metrics.jsonl`, which includes the lines before a resume). An epoch has `steps_per_epoch` steps. Writes no plot
/// for a run with fewer than two records.
///
/// # Errors
/// Fails if the file cannot be read or a plot cannot be written.
pub fn plot_metrics(metrics: &Path, stem: &Path, steps_per_epoch: u64) -> Result<()> {
    let reading = || format!("cannot read {}", metrics.display());
    let text = fs::read_to_string(metrics).with_context(reading)?;
    let mut records = Vec::new();
    // The current epoch, and its first step.
    let mut began = (0, 0);
    for line in text.lines() {
        let record: Map<String, Value> = serde_json::from_str(line).with_context(reading)?;
        // Skip the records of single steps: they contain the loss of one batch, not the mean over an epoch.
        if record.contains_key("train_loss") {
            let number = |name: &str| record[name].as_u64().unwrap_or(0);
            let (epoch, step) = (number("epoch"), number("step"));
            if epoch > began.0 {
                began = (epoch, step);
            }
            let epoch = epoch as f64 + step.saturating_sub(began.1) as f64 / steps_per_epoch as f64;
            let values =
                record.into_iter().filter(|(name, _)| name.starts_with("train_") || name.starts_with("val_"));
            let values = values.map(|(name, value)| (name, value.as_f64().unwrap_or(f64::NAN)));
            records.push((epoch, values.collect::<Vec<_>>()));
        }
    }
    let measured: Vec<_> = records.iter().map(|(epoch, values)| Measured { epoch: *epoch, values }).collect();
    if measured.len() > 1 { plots::metrics(stem, &measured) } else { Ok(()) }
}
