//! Measures seconds per epoch of the MLP on MNIST, and of its matrix products alone, which are a lower bound for every
//! implementation.
//!
//! `cargo run --example epoch_time`. `epoch_time.py` measures the same epoch in PyTorch.

use std::time::Instant;

use tch::{Tensor, kind};
use text_recognizer::data::{DataLoader, DataModule, Mnist, MnistConfig, MnistDataset, Shuffle};
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel, Running};
use text_recognizer::models::{Mlp, MlpConfig};
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::Optimizer;
use training::process;

const ROUNDS: usize = 5;
const BATCH_SIZE: usize = 128;

/// Computes the matrix products of `steps` steps: for each layer the output and the gradient of the weight, and for each layer
/// except the first the gradient of the input.
fn products(steps: usize) {
    let random = |rows: i64, columns: i64| Tensor::randn([rows, columns], kind::FLOAT_CPU);
    let sizes = [784, 1024, 128, 10];
    let layers: Vec<_> = sizes
        .windows(2)
        .map(|size| {
            let batch = BATCH_SIZE as i64;
            (random(batch, size[0]), random(size[1], size[0]), random(batch, size[1]))
        })
        .collect();
    for _ in 0..steps {
        for (at, (input, weight, grad)) in layers.iter().enumerate() {
            let _output = input.matmul(&weight.tr());
            let _weight_grad = grad.tr().matmul(input);
            let _input_grad = (at > 0).then(|| grad.matmul(weight));
        }
    }
}

fn main() -> text_recognizer::Result<()> {
    // SAFETY: the process has only one thread at this point.
    unsafe { process::keep_memory() };
    process::wait_briefly();
    let mnist = Mnist::new(MnistDataset::Mnist, MnistConfig::default())?;
    mnist.prepare_data()?;
    let train = DataLoader::new(mnist.setup()?.train, BATCH_SIZE, Shuffle::Full { seed: 0 })?;
    let model = Mlp::new(&MlpConfig::default(), &mnist.spec(), Placement::cpu(0))?;
    let lit = BaseLitModel::new(Box::new(model), LitConfig::default())?;
    let parameters = lit.parameters().tensors();
    let mut optimizer = Optimizer::new(&lit.config().optimizer, lit.parameters())?;

    println!("{} threads; seconds per epoch of {} batches", tch::get_num_threads(), train.len());
    let mut ratios = Vec::new();
    for epoch in 0..ROUNDS as u64 {
        let started = Instant::now();
        products(train.len());
        let floor = started.elapsed().as_secs_f64();

        let started = Instant::now();
        let mut accuracy = Running::default();
        for batch in train.epoch(epoch, 0) {
            let batch = batch?;
            let mut context = ForwardContext::train(0, optimizer.steps());
            let output = lit.step(&batch, &mut context)?;
            let gradients = context.gradients(&output.loss, parameters)?;
            optimizer.step(&gradients, 1e-3)?;
            accuracy.add(&output.metrics[0].sum, &output.metrics[0].count)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        ratios.push(seconds / floor);
        let accuracy = accuracy.mean().unwrap_or(f64::NAN);
        println!(
            "products {floor:.2}, training {seconds:.2}: ratio {:.2} (train_acc {accuracy:.4})",
            seconds / floor
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio: {:.2}", ratios[ROUNDS / 2]);
    Ok(())
}
