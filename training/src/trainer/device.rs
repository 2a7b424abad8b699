//! The device of a run, its threads and its precision.

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};
use text_recognizer::{Error, Result};

use crate::flags::default_flags;

/// The precision of the network's arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Precision {
    /// Single precision, float32.
    #[value(name = "32")]
    #[serde(rename = "32")]
    Single,
    /// Double precision, float64.
    #[value(name = "64")]
    #[serde(rename = "64")]
    Double,
    /// Matrix products in bfloat16, everything else in float32.
    #[value(name = "bf16")]
    #[serde(rename = "bf16")]
    Bf16,
}

/// The flags for device, threads and precision.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Run on this device: cpu, cuda, cuda:N, mps, or auto (a GPU if available, else the CPU).
    #[arg(long = "device", default_value = "auto")]
    pub device: String,
    /// Use this many threads per operation, 1 to 1024 [default: 1 for small models, else all cores].
    #[arg(long = "threads")]
    pub threads: Option<usize>,
    /// Set the precision: float32, float64, or float32 with bfloat16 matrix products.
    #[arg(long = "precision", value_enum, default_value_t = Precision::Single)]
    pub precision: Precision,
    /// Make runs on this machine reproducible: one thread (unless --threads is set) and no cuDNN benchmark mode.
    #[arg(long = "deterministic", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub deterministic: bool,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        default_flags()
    }
}

/// The most threads per operation.
const MAX_THREADS: usize = 1024;

impl DeviceConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["device", "threads"];

    /// Checks the values.
    ///
    /// # Errors
    /// Fails if a value is impossible; the error names the first one.
    pub fn validate(&self) -> Result<()> {
        // GNU OpenMP keeps a record per thread on the stack: too many threads overflow it.
        match self.threads.filter(|threads| !(1..=MAX_THREADS).contains(threads)) {
            Some(threads) => Err(Error::invalid("threads", threads, format!("1 to {MAX_THREADS}"))),
            None => Ok(()),
        }
    }

    /// Returns the dtype of weights and data: `Double` for `--precision 64`, else `Float`.
    pub fn kind(&self) -> Kind {
        if self.precision == Precision::Double { Kind::Double } else { Kind::Float }
    }

    /// Returns the dtype of matrix products, or `None` if it is the dtype of the weights.
    pub fn matmul_kind(&self) -> Option<Kind> {
        (self.precision == Precision::Bf16).then_some(Kind::BFloat16)
    }

    /// Returns the device that `--device` names.
    ///
    /// # Errors
    /// Fails if this machine has no such device; the error lists the devices that it has.
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
            let mut available = vec!["cpu".to_owned()];
            available.extend((0..gpus).map(|gpu| format!("cuda:{gpu}")));
            available.extend(tch::utils::has_mps().then(|| "mps".to_owned()));
            let expected = format!("auto, or a device of this machine: {}", available.join(", "));
            Error::invalid("--device", &self.device, expected)
        })
    }

    /// Sets libtorch's number of threads to `--threads`. Without that flag, sets one thread for `--deterministic` and
    /// for small networks, and else keeps libtorch's default. The size is `parameters` values times `batch_size` rows.
    /// On a small network, the communication of threads takes more time than they save.
    pub fn set_threads(&self, parameters: usize, batch_size: usize) {
        // Multiplications per forward pass. Measured: above this number, two threads are faster than one.
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
