//! The device of a run, its threads and its arithmetic.

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};
use text_recognizer::{Error, Result};

use crate::flags::default_flags;

/// The arithmetic of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Precision {
    /// Single precision.
    #[value(name = "32")]
    #[serde(rename = "32")]
    Single,
    /// Double precision.
    #[value(name = "64")]
    #[serde(rename = "64")]
    Double,
    /// Matrix products in bfloat16, everything else in single precision.
    #[value(name = "bf16")]
    #[serde(rename = "bf16")]
    Bf16,
}

/// Device, threads and arithmetic.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Device: cpu, cuda, cuda:N, mps, or auto, the best there is.
    #[arg(long = "device", default_value = "auto")]
    pub device: String,
    /// Threads per operation [default: one for small models, else every core].
    #[arg(long = "threads")]
    pub threads: Option<usize>,
    /// Arithmetic: single, double, or bfloat16 matrix products.
    #[arg(long = "precision", value_enum, default_value_t = Precision::Single)]
    pub precision: Precision,
    /// Give the same numbers in every run on this machine: one thread unless --threads asks for more, reproducible CUDA
    /// kernels.
    #[arg(long = "deterministic", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub deterministic: bool,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        default_flags()
    }
}

const MAX_THREADS: usize = 1024;

impl DeviceConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["device", "threads"];

    /// Checks the values.
    ///
    /// # Errors
    /// Names the first impossible value.
    pub fn validate(&self) -> Result<()> {
        // GNU's OpenMP lays out its team on the stack.
        match self.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
            Some(threads) => Err(Error::invalid("threads", threads, format!("1 to {MAX_THREADS}"))),
            None => Ok(()),
        }
    }

    /// Returns the floating-point kind of weights and data.
    pub fn kind(&self) -> Kind {
        if self.precision == Precision::Double { Kind::Double } else { Kind::Float }
    }

    /// Returns the kind of matrix products, if it differs from that of the weights.
    pub fn matmul_kind(&self) -> Option<Kind> {
        (self.precision == Precision::Bf16).then_some(Kind::BFloat16)
    }

    /// Returns the device that `--device` names.
    ///
    /// # Errors
    /// Fails if there is no such device; the message lists those of this machine.
    pub fn resolve(&self) -> Result<Device> {
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
            Error::invalid("--device", &self.device, expected)
        })
    }

    /// Sets the number of threads for a network of `parameters` values and batches of `batch_size` rows: small networks
    /// lose more by handing work over than they win.
    pub fn set_threads(&self, parameters: usize, batch_size: usize) {
        // Multiplications of one forward pass from which on two threads were measured to be faster than one.
        const LARGE: usize = 16_000_000;
        let small = parameters.saturating_mul(batch_size) < LARGE;
        let threads = self.threads.or((small || self.deterministic).then_some(1));
        if let Some(threads) = threads {
            tch::set_num_threads(threads.min(i32::MAX as usize) as i32);
        }
        if self.deterministic {
            Cuda::cudnn_set_benchmark(false);
        }
    }
}
