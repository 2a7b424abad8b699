//! Data modules, data sets and the loader that serves them in batches.

mod base_data_module;
mod dataset;
mod folders;
mod idx;
mod info;
mod loader;
mod mnist;
mod raw;
mod sampler;
mod util;

pub use base_data_module::{DataIdentity, DataModule, DataSpec, DataSplits, ImageSpec};
pub use dataset::{BaseDataset, Batch, Dataset, Normalize, ToFloat, Transform};
pub use idx::parse_idx;
pub use info::{DataInfo, TensorInfo, load_and_print_info};
pub use loader::{DataLoader, EpochBatches};
pub use mnist::{Mnist, MnistConfig, MnistDataset};
pub use raw::{RawDataset, RawFile, download_raw_dataset};
pub use sampler::Shuffle;
pub use util::{convert_strings_to_labels, split_dataset};
