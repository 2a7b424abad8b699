//! The training loop and what surrounds it.
//!
//! [`fit::Fit::run`] is the loop, to be read top to bottom. Data gives a batch, the lit model its loss and metrics, the
//! optimiser steps, and after each validation one [`Record`] goes to callbacks, checkpoints and loggers.

use anyhow::{Context, Result};
use tch::{Cuda, Device, Kind};
use text_recognizer::Error;
use text_recognizer::data::{DataLoader, DataSplits, Shuffle};
use text_recognizer::lit_models::LitModel;

mod averaging;
pub mod callbacks;
pub mod checkpoint;
mod config;
mod evaluate;
mod fit;
pub mod loggers;
mod lr_find;
mod nonfinite;
mod profiler;
mod record;
mod run_folder;
mod saver;
mod signals;
mod state;

pub use config::{Batches, ClipAlgorithm, Mode, OnNonfinite, Precision, ProfilerName, TrainerConfig};
pub use evaluate::evaluate;
pub use fit::{Fit, FitSummary};
pub use lr_find::{LrFind, LrFindConfig, Sweep, lr_find};
pub use record::Record;
pub use run_folder::RunFolder;
pub use signals::Signals;

/// The loaders of a run.
#[derive(Debug)]
pub struct Loaders {
    /// Shuffled, unless the run is to overfit.
    pub train: DataLoader,
    /// `None` where validation is switched off.
    pub val: Option<DataLoader>,
    /// `None` where the data has no test part, or testing is switched off.
    pub test: Option<DataLoader>,
}

impl Loaders {
    /// Moves the data to `device` and serves it as `config` says; `shuffle` is the order of the training part.
    ///
    /// # Errors
    /// When a part is empty, or the device has no room for it.
    pub fn new(splits: DataSplits, config: &TrainerConfig, shuffle: Shuffle, device: Device) -> Result<Self> {
        let kind = config.kind();
        let limited = |loader: DataLoader, limit: Batches| {
            let limit = if config.fast_dev_run { Batches::Count(1) } else { limit };
            let batches = limit.of(loader.len());
            loader.limit(batches)
        };
        // What is evaluated does not depend on the size of its batches, and large ones are faster.
        let eval_batch_size = config.batch_size.max(1024);
        let serve = |part: &'static str, dataset: Box<dyn text_recognizer::data::Dataset>, shuffle| {
            let dataset = dataset.to(device, kind)?;
            let batch_size = if part == "training" { config.batch_size } else { eval_batch_size };
            DataLoader::new(dataset, batch_size, shuffle).with_context(|| format!("the {part} part"))
        };
        let present = |loader: DataLoader| (!loader.is_empty()).then_some(loader);

        let test = splits.test.map(|test| serve("test", test, Shuffle::No)).transpose()?;
        let test = test.map(|test| limited(test, config.limit_test_batches)).and_then(present);
        let overfit = config.overfit_batches.of(splits.train.len().div_ceil(config.batch_size));
        if overfit > 0 {
            let train = serve("training", splits.train, Shuffle::No)?.limit(overfit);
            let val = train.share().limit(overfit);
            return Ok(Self { train, val: Some(val), test });
        }
        let train = limited(serve("training", splits.train, shuffle)?, config.limit_train_batches);
        if train.is_empty() {
            return Err(Error::invalid(
                "limit_train_batches",
                config.limit_train_batches,
                "at least one batch",
            )
            .into());
        }
        let val = limited(serve("validation", splits.val, Shuffle::No)?, config.limit_val_batches);
        Ok(Self { train, val: present(val), test })
    }
}

impl TrainerConfig {
    /// The floating-point kind of weights and data.
    pub fn kind(&self) -> Kind {
        if self.precision == Precision::Double { Kind::Double } else { Kind::Float }
    }

    /// The device that `--device` names.
    ///
    /// # Errors
    /// When there is no such device: the message says which there are.
    pub fn resolve_device(&self) -> Result<Device> {
        let gpus = Cuda::device_count();
        let index = |text: &str| text.parse::<usize>().ok().filter(|&index| (index as i64) < gpus);
        let device = match self.device.as_str() {
            "cpu" => Some(Device::Cpu),
            "auto" if gpus > 0 => Some(Device::Cuda(0)),
            "auto" if tch::utils::has_mps() && self.kind() == Kind::Float => Some(Device::Mps),
            "auto" => Some(Device::Cpu),
            "mps" => tch::utils::has_mps().then_some(Device::Mps),
            "cuda" => (gpus > 0).then_some(Device::Cuda(0)),
            other => other.strip_prefix("cuda:").and_then(index).map(Device::Cuda),
        };
        device.ok_or_else(|| {
            let mut there = vec!["cpu".to_owned()];
            there.extend((0..gpus).map(|gpu| format!("cuda:{gpu}")));
            there.extend(tch::utils::has_mps().then(|| "mps".to_owned()));
            let expected = format!("auto, or a device of this machine: {}", there.join(", "));
            Error::invalid("--device", &self.device, expected).into()
        })
    }

    /// Epochs at most.
    pub fn epochs(&self) -> u64 {
        if self.fast_dev_run { 1 } else { self.max_epochs }
    }

    /// Optimiser steps in an epoch.
    pub fn steps_per_epoch(&self, loaders: &Loaders) -> u64 {
        (loaders.train.len() as u64).div_ceil(self.accumulate_grad_batches)
    }

    /// Sets the number of threads, for good: small models lose more to the hand-over than they win.
    pub fn set_threads(&self, lit: &dyn LitModel) {
        // Multiplications of one forward pass from which on two threads were seen to be faster than one.
        const LARGE: usize = 16_000_000;
        let small = lit.parameters().count().saturating_mul(self.batch_size) < LARGE;
        let threads = self.threads.or((small || self.deterministic).then_some(1));
        if let Some(threads) = threads {
            tch::set_num_threads(threads.min(i32::MAX as usize) as i32);
        }
        if self.deterministic {
            Cuda::cudnn_set_benchmark(false);
        }
    }

    /// The kind that matrix products are done in, where it is another than the weights'.
    pub fn matmul_kind(&self) -> Option<Kind> {
        (self.precision == Precision::Bf16).then_some(Kind::BFloat16)
    }
}
