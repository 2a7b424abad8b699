//! Measures milliseconds per training step of each time-series model on one thread: forward pass, loss, backward pass and SGD.
//!
//! `cargo run --example step_time`

use std::time::Instant;

use tch::{Kind, Tensor};
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::{Optimizer, OptimizerConfig, OptimizerName};
use training::time_series::models::{
    ConvLstm, ConvLstmConfig, Dnn, DnnConfig, GatedConfig, Gru, Linear, LinearConfig, Lstm, Rnn, RnnConfig,
};

/// Prints the milliseconds per step of the fastest of 20 repetitions of 20 steps, which other processes disturb least.
fn measure(name: &str, model: &dyn Model, batch: i64) -> Result<()> {
    let config =
        OptimizerConfig { optimizer: OptimizerName::Sgd, momentum: 0.9, ..OptimizerConfig::default() };
    let mut optimizer = Optimizer::new(&config, model.parameters())?;
    let x = Tensor::f_randn([batch, 20, 1], (Kind::Float, tch::Device::Cpu))?;
    let y = Tensor::f_randn([batch, 1, 1], (Kind::Float, tch::Device::Cpu))?;
    let mut best = f64::INFINITY;
    for repetition in 0..20 {
        let start = Instant::now();
        for step in 0..20 {
            let mut context = ForwardContext::train(0, repetition * 20 + step);
            let loss = model.forward(&x, &mut context)?.f_mse_loss(&y, tch::Reduction::Mean)?;
            let grads = context.gradients(&loss, model.parameters().tensors())?;
            optimizer.step(&grads, 1e-9)?;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e3 / 20.0);
    }
    println!("{name:<24} batch {batch:>3}  {best:.3} ms");
    Ok(())
}

fn main() -> Result<()> {
    tch::set_num_threads(1);
    let data =
        DataSpec { input_dims: vec![20, 1], output_dims: vec![1, 1], mapping: Vec::new(), image: None };
    let placement = Placement::cpu(0);
    let both = GatedConfig { bidirectional: true, ..GatedConfig::default() };
    measure("linear", &Linear::new(&LinearConfig::default(), &data, placement)?, 32)?;
    measure("dnn", &Dnn::new(&DnnConfig::default(), &data, placement)?, 32)?;
    measure("rnn", &Rnn::new(&RnnConfig::default(), &data, placement)?, 128)?;
    measure("lstm", &Lstm::new(&GatedConfig::default(), &data, placement)?, 32)?;
    measure("lstm --bidirectional", &Lstm::new(&both, &data, placement)?, 32)?;
    measure("gru", &Gru::new(&GatedConfig::default(), &data, placement)?, 32)?;
    measure("conv_lstm", &ConvLstm::new(&ConvLstmConfig::default(), &data, placement)?, 32)
}
