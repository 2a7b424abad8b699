//! Data modules, models, lit-style wrappers and optimisers: all that it takes to train a small or medium model.
//!
//! An ordered tour:
//!
//! - [`data`]: data sets, data modules that download and split them, and the loader that serves them in batches;
//! - [`models`]: networks with the initial weights that PyTorch and Keras give theirs;
//! - [`lit_models`]: a network with its loss and metrics, as a training loop wants it;
//! - [`optim`]: optimisers with state that can be saved, learning-rate schedules, and clipping;
//! - [`rng`]: randomness that can be replayed;
//! - [`util`]: images, digests, downloads;
//! - [`error`]: what can go wrong.
//!
//! A model is trained in a few lines (`examples/train_mlp.rs` has more of them, with MNIST):
//!
//! ```no_run
//! use text_recognizer::data::{BaseDataset, DataConfig, DataLoader, Shuffle};
//! use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel};
//! use text_recognizer::models::{ForwardContext, Mlp, MlpConfig, Placement};
//! use text_recognizer::optim::Optimizer;
//! use tch::{Tensor, kind};
//!
//! # fn main() -> text_recognizer::Result<()> {
//! let (x, y) = (Tensor::randn([1000, 16], kind::FLOAT_CPU), Tensor::randint(4, [1000], kind::INT64_CPU));
//! let loader = DataLoader::new(Box::new(BaseDataset::new(x, y, vec![])?), 32, Shuffle::Full { seed: 42 })?;
//!
//! let data = DataConfig { input_dims: vec![16], output_dims: vec![4], mapping: vec![] };
//! let model = Mlp::new(&MlpConfig::default(), &data, Placement::cpu(42))?;
//! let lit = BaseLitModel::new(Box::new(model), LitConfig::default())?;
//! let mut optimizer = Optimizer::new(&lit.config().optimizer, lit.parameters())?;
//!
//! for epoch in 0..10 {
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
//! The library does not print, and has no command line; both are the `training` crate's.

pub mod data;
pub mod error;
pub mod lit_models;
pub mod models;
pub mod optim;
pub mod rng;
pub mod util;

pub use error::{Error, Result};
