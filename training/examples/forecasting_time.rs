//! Measures seconds per epoch of the forecasting networks of papers on one thread: 100 batches of 32 windows of 96 values, 48 steps
//! ahead, with their default sizes, the MAE and Adam. `forecasting_time.py` is the same in PyTorch.
//!
//! `cargo run -p training --example forecasting_time`

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::json;
use tch::{Kind, Tensor};
use text_recognizer::data::DataSpec;
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::{Optimizer, OptimizerConfig, OptimizerName};
use training::experiment::registry::{self, ModelKind};

const MODELS: [&str; 7] = ["nlinear", "dlinear", "nbeats", "nhits", "tide", "tcn", "patchtst"];
const BATCHES: i64 = 100;
const BATCH: i64 = 32;
/// The epoch that is measured.
const EPOCH: u64 = 10;

/// Returns the seconds of the epoch.
fn measure(name: &str, x: &Tensor, y: &Tensor) -> Result<f64> {
    let data = DataSpec { input_dims: vec![96, 1], output_dims: vec![48, 1], ..DataSpec::default() };
    let ModelKind::Network(network) = &registry::model(name)?.kind else { return Ok(0.0) };
    let model = network.build(&json!({}), &data, Placement::cpu(0))?;
    let config = OptimizerConfig { optimizer: OptimizerName::Adam, ..OptimizerConfig::default() };
    let mut optimizer = Optimizer::new(&config, model.parameters())?;
    let mut start = Instant::now();
    for epoch in 0..EPOCH {
        start = Instant::now();
        let order = Tensor::f_randperm(BATCHES * BATCH, (Kind::Int64, tch::Device::Cpu))?;
        for batch in 0..BATCHES {
            let rows = order.f_narrow(0, batch * BATCH, BATCH)?;
            let mut context = ForwardContext::train(0, epoch * BATCHES as u64 + batch as u64);
            let output = model.forward(&x.f_index_select(0, &rows)?, &mut context)?;
            let loss = output.f_l1_loss(&y.f_index_select(0, &rows)?, tch::Reduction::Mean)?;
            let grads = context.gradients(&loss, model.parameters().tensors())?;
            optimizer.step(&grads, 1e-3)?;
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

fn main() -> Result<()> {
    tch::set_num_threads(1);
    tch::manual_seed(0);
    let x = Tensor::f_randn([BATCHES * BATCH, 96, 1], (Kind::Float, tch::Device::Cpu))?;
    let y = Tensor::f_randn([BATCHES * BATCH, 48, 1], (Kind::Float, tch::Device::Cpu))?;
    for name in MODELS {
        let seconds = measure(name, &x, &y).with_context(|| format!("cannot measure {name}"))?;
        println!("{name:<10} {seconds:.3}");
    }
    Ok(())
}
