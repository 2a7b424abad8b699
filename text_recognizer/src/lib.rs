//! Data modules, models, lit-style wrappers and optimizers: everything to train a small or medium model, and to use it.
//!
//! An ordered tour:
//!
//! - [`data`]: data sets, data modules that download and split them, and the loader that serves them in batches;
//! - [`nn`]: layers, parameters, and the initial weights of PyTorch and Keras;
//! - [`models`]: whole networks;
//! - [`lit_models`]: a network with its loss, its metrics and the settings of its optimizer, ready for a training loop;
//! - [`optim`]: optimizers whose state can be saved, learning-rate schedules, and gradient clipping;
//! - [`checkpoint`]: trained models in files;
//! - [`Recognizer`]: from a checkpoint and an image to a class;
//! - [`rng`]: random numbers as pure functions of a seed and a step;
//! - [`util`]: images, digests, downloads;
//! - [`error`]: the errors.
//!
//! `use text_recognizer::prelude::*;` brings the names that most programs need. A model is trained in a few lines
//! (`examples/train_mlp.rs` does it with MNIST):
//!
//! ```
//! use text_recognizer::prelude::*;
//! use text_recognizer::tch::{Tensor, kind};
//!
//! # fn main() -> text_recognizer::Result<()> {
//! let (x, y) = (Tensor::randn([100, 16], kind::FLOAT_CPU), Tensor::randint(4, [100], kind::INT64_CPU));
//! let loader = DataLoader::new(Box::new(BaseDataset::new(x, y, vec![])?), 32, Shuffle::Full { seed: 42 })?;
//!
//! let data = DataSpec { input_dims: vec![16], output_dims: vec![4], ..DataSpec::default() };
//! let model = Mlp::new(&MlpConfig::default(), &data, Placement::cpu(42))?;
//! let lit = BaseLitModel::new(Box::new(model), LitConfig::default())?;
//! let mut optimizer = Optimizer::new(&lit.config().optimizer, lit.parameters())?;
//!
//! for epoch in 0..2 {
//!     for batch in loader.epoch(epoch, 0) {
//!         let mut context = ForwardContext::train(42, optimizer.steps());
//!         let output = lit.step(&batch?, &mut context)?;
//!         let gradients = context.gradients(&output.loss, lit.parameters().tensors())?;
//!         optimizer.step(&gradients, 1e-3)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`checkpoint::save`] writes a trained model to a file. [`Recognizer::load`] reads it and recognizes images; it has an
//! example.
//!
//! The library does not print and has no command line; the `training` crate has both. The feature `cli` makes the
//! configurations usable as [clap](https://docs.rs/clap) arguments.

#![warn(clippy::undocumented_unsafe_blocks)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod checkpoint;
pub mod data;
pub mod error;
pub mod lit_models;
pub mod models;
pub mod nn;
pub mod optim;
mod parallel;
pub mod prelude;
mod recognizer;
pub mod rng;
mod simd;
mod tensor;
pub mod util;

pub use error::{Error, Result};
pub use recognizer::{Prediction, Recognizer};
pub use tch;
