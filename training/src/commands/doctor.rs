//! `run_experiment doctor`: checks libtorch, the devices and the data.

use anyhow::{Result, ensure};
use clap::Command;
use tch::{Cuda, Device, Kind, Tensor};
use text_recognizer::data::{Batch, DataSpec};
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel};
use text_recognizer::models::{Mlp, MlpConfig};
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::Optimizer;

use crate::experiment::DataEntry;
use crate::experiment::registry::DATA;
use crate::tasks::Classification;
use crate::time_series::Target;
use crate::{terminal, version};

/// The line of the command in `--help`.
pub const ABOUT: &str = "Show libtorch, the devices and the data, and run one training step per device";

/// Prints the versions, devices and data folders, and runs one training step on each device.
///
/// # Errors
/// Fails if a training step fails or does not reduce the loss.
pub fn run() -> Result<()> {
    let yes = |there: bool| if there { "yes" } else { "no" };
    terminal::result(format_args!("run_experiment  {}", env!("CARGO_PKG_VERSION")))?;
    terminal::result(format_args!(
        "libtorch        {} in {}",
        version::libtorch(),
        version::LIBTORCH_LIB.unwrap_or("an unknown folder")
    ))?;
    terminal::result(format_args!(
        "arithmetic      MKL {}, oneDNN {}, OpenMP {}",
        yes(tch::utils::has_mkl()),
        yes(tch::utils::has_mkldnn()),
        yes(tch::utils::has_openmp())
    ))?;
    terminal::result(format_args!(
        "threads         {} of {} cores",
        tch::get_num_threads(),
        std::thread::available_parallelism()?
    ))?;
    let mut devices = vec![Device::Cpu];
    devices.extend((0..Cuda::device_count().max(0) as usize).map(Device::Cuda));
    devices.extend(tch::utils::has_mps().then_some(Device::Mps));
    terminal::result(format_args!("devices         {devices:?}"))?;
    for entry in DATA.iter().filter(|entry| entry.task == Classification::NAME) {
        terminal::result(format_args!(
            "data            {} in {}",
            entry.name,
            data_folder(entry).unwrap_or_else(|error| format!("{error:#}"))
        ))?;
    }
    for device in devices {
        let (before, after) = train_step(device)?;
        ensure!(
            before.is_finite() && after < before,
            "cannot train on {device:?}: one step changed the loss from {before} to {after}, expected a smaller loss"
        );
        terminal::result(format_args!(
            "self-test       one step on {device:?} reduced the loss from {before:.4} to {after:.4}: ok"
        ))?;
    }
    Ok(())
}

/// Returns the folder of the raw data of a data module with default flags, as text.
fn data_folder(entry: &DataEntry) -> Result<String> {
    let matches = (entry.flags.augment)(Command::new("")).try_get_matches_from([""])?;
    let data = entry.build(&(entry.flags.read)(&matches)?, Target::default(), None)?;
    let Some(folder) = data.module.folder()? else { return Ok("no folder: the data is generated".into()) };
    let there = data.module.is_prepared()?;
    Ok(format!(
        "{}{}",
        folder.display(),
        if there { "" } else { " (not there yet: the first run downloads it)" }
    ))
}

/// Returns the loss of a batch before and after one training step on it.
fn train_step(device: Device) -> Result<(f64, f64)> {
    let data = DataSpec { input_dims: vec![16], output_dims: vec![4], mapping: Vec::new(), image: None };
    let config = MlpConfig { fc1: 32, fc2: 16, dropout: 0.0 };
    let model = Mlp::new(&config, &data, Placement { device, ..Placement::cpu(0) })?;
    let lit = BaseLitModel::new(Box::new(model), LitConfig::default())?;
    let mut optimizer = lit.optimizer()?;
    let batch = Batch {
        x: Tensor::f_randn([64, 16], (Kind::Float, Device::Cpu))?.f_to_device(device)?,
        y: Tensor::f_randint(4, [64], (Kind::Int64, Device::Cpu))?.f_to_device(device)?,
        rows: (0..64).collect(),
    };
    let loss = |optimizer: &mut Optimizer| -> Result<f64> {
        let mut context = ForwardContext::train(0, 0);
        let output = lit.step(&batch, &mut context)?;
        optimizer.step(&context.gradients(&output.loss, lit.parameters().tensors())?, 1e-3)?;
        Ok(output.loss.f_double_value(&[])?)
    };
    Ok((loss(&mut optimizer)?, loss(&mut optimizer)?))
}
