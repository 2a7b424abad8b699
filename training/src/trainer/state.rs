//! How far a run is, in numbers that can be saved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use text_recognizer::Result;
use text_recognizer::lit_models::{Metric, Running, StepOutput};

/// The loop's position: together with the weights, the optimiser and the seed it determines the rest of the run.
#[derive(Debug, Default)]
pub struct LoopState {
    /// Epochs finished.
    pub epoch: u64,
    /// Batches done in the epoch at hand.
    pub batch: usize,
    /// Optimiser steps taken.
    pub step: u64,
    /// Batches done in all epochs, which dropout noise depends on.
    pub batches_seen: u64,
    /// Steps that were left out for a non-finite gradient.
    pub skipped: u64,
    /// Training loss and metrics of the epoch at hand.
    pub train: Averages,
}

/// [`LoopState`] in a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedLoopState {
    epoch: u64,
    batch: usize,
    step: u64,
    batches_seen: u64,
    skipped: u64,
    loss: (f64, i64),
    metrics: BTreeMap<Metric, (f64, i64)>,
}

impl LoopState {
    /// For a checkpoint.
    pub fn save(&mut self) -> SavedLoopState {
        SavedLoopState {
            epoch: self.epoch,
            batch: self.batch,
            step: self.step,
            batches_seen: self.batches_seen,
            skipped: self.skipped,
            loss: self.train.loss.parts(),
            metrics: self
                .train
                .metrics
                .iter_mut()
                .map(|(metric, running)| (*metric, running.parts()))
                .collect(),
        }
    }
}

impl From<SavedLoopState> for LoopState {
    fn from(saved: SavedLoopState) -> Self {
        let running = |(sum, count)| Running::from_parts(sum, count);
        let metrics = saved.metrics.into_iter().map(|(metric, parts)| (metric, running(parts))).collect();
        Self {
            epoch: saved.epoch,
            batch: saved.batch,
            step: saved.step,
            batches_seen: saved.batches_seen,
            skipped: saved.skipped,
            train: Averages { loss: running(saved.loss), metrics },
        }
    }
}

/// Loss and metrics averaged over batches.
#[derive(Debug, Default)]
pub struct Averages {
    loss: Running,
    metrics: BTreeMap<Metric, Running>,
}

impl Averages {
    /// Takes in a batch of `rows` rows.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn add(&mut self, output: &StepOutput, rows: usize) -> Result<()> {
        self.loss.add_mean(&output.loss, rows as i64)?;
        for part in &output.metrics {
            self.metrics.entry(part.metric).or_default().add(&part.sum, part.count)?;
        }
        Ok(())
    }

    /// `STAGE_loss` and `STAGE_METRIC` of every metric; nothing where nothing was added. Synchronises with the device.
    pub fn values(&mut self, stage: &str) -> Vec<(String, f64)> {
        let loss = self.loss.mean().map(|loss| (format!("{stage}_loss"), loss));
        let metrics = self.metrics.iter_mut().filter_map(|(metric, running)| {
            Some((format!("{stage}_{}", metric.name()), metric.finish(running.mean()?)))
        });
        loss.into_iter().chain(metrics).collect()
    }
}
