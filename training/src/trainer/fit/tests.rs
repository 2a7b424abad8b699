//! The loop on five rows and one weight: every step can be computed by hand.

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use text_recognizer::checkpoint;
use text_recognizer::data::Shuffle;
use text_recognizer::lit_models::BaseLitModel;
use text_recognizer::optim::OptimizerConfig;

use super::*;
use crate::testing::{
    AfterBatch, Events, INPUTS, LR, Recorder, Run, SLOPE, START, assert_close, config, descend, gradient,
    lit, lit_with, loaders, loaders_of, loss, weight,
};
use crate::trainer::callbacks::Mode;
use crate::trainer::checkpointing::ResumePoint;
use crate::trainer::{BatchLimit, ClipAlgorithm, OnNonfinite, SingleProcess};

mod averages;
mod budget;
mod early_stop;
mod folder;
mod nonfinite;
mod ranks;
mod resume;
mod signals;
mod steps;
mod validation;

/// Runs without a folder, and expects the run to end well.
fn run(config: &TrainerConfig, lit: &BaseLitModel, loaders: &Loaders) -> (FitSummary, Events) {
    let (summary, events) = try_run(config, lit, loaders);
    (summary.unwrap(), events)
}

fn try_run(config: &TrainerConfig, lit: &BaseLitModel, loaders: &Loaders) -> (Result<FitSummary>, Events) {
    let recorder = Recorder::new(lit);
    let fit = Fit::new(config, lit, loaders, &SingleProcess, None, Value::Null).unwrap();
    let mut fit = fit.callback(Box::new(recorder.clone())).logger(recorder.clone());
    let summary = fit.run();
    drop(fit);
    (summary, recorder.take())
}

/// Returns the weights after each step of `epochs` epochs over the rows in their order.
fn weights(epochs: usize, batch_size: usize) -> Vec<f64> {
    let batches: Vec<&[f64]> = INPUTS.chunks(batch_size).collect();
    descend(START, &batches.repeat(epochs))
}
