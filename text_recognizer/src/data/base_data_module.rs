//! What every data module offers, and the description of its data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Normalize, Shuffle, ToFloat, Transform};
use crate::error::Result;

/// The shapes, classes and preprocessing of a data set: all that a model and a checkpoint need of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSpec {
    /// Dimensions of one input, without the batch: `[1, 28, 28]` for MNIST.
    pub input_dims: Vec<i64>,
    /// Dimensions of one prediction: `[10]` for ten classes.
    pub output_dims: Vec<i64>,
    /// What each class stands for; empty where there are no classes.
    pub mapping: Vec<String>,
    /// How an image becomes an input; `None` where the inputs are not images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
}

/// How a grayscale image becomes the input of a model: `(byte / 255 - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Height in pixels.
    pub height: i64,
    /// Width in pixels.
    pub width: i64,
    /// Mean of the training images, for bytes scaled to 0..1.
    pub mean: f64,
    /// Std of the training images, for bytes scaled to 0..1.
    pub std: f64,
}

impl ImageSpec {
    /// MNIST's images: the rounded constants in use since PyTorch's first MNIST example.
    pub const MNIST: Self = Self { height: 28, width: 28, mean: 0.1307, std: 0.3081 };
    /// Fashion-MNIST's images.
    pub const FASHION_MNIST: Self = Self { height: 28, width: 28, mean: 0.2860, std: 0.3530 };

    /// Returns the transforms from bytes to inputs.
    pub fn transforms(self) -> Vec<Box<dyn Transform>> {
        vec![Box::new(ToFloat), Box::new(Normalize { mean: self.mean, std: self.std })]
    }
}

/// Train, validation and test part, ready for a loader.
#[derive(Debug)]
pub struct DataSplits {
    /// What the optimiser sees.
    pub train: Box<dyn Dataset>,
    /// What early stopping and the best checkpoint are chosen by.
    pub val: Box<dyn Dataset>,
    /// What is measured once, at the end; `None` where the data has no such part.
    pub test: Option<Box<dyn Dataset>>,
}

/// A source of data: knows how to get it, describe it and split it.
///
/// ```
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Tensor, kind};
///
/// /// Points in a square, labeled by the side of the diagonal that they are on.
/// struct Diagonal;
///
/// impl DataModule for Diagonal {
///     fn config(&self) -> DataSpec {
///         let mapping = ["below", "above"].map(String::from).to_vec();
///         DataSpec { input_dims: vec![2], output_dims: vec![2], mapping, image: None }
///     }
///
///     fn prepare_data(&self) -> text_recognizer::Result<()> {
///         Ok(())
///     }
///
///     fn setup(&self) -> text_recognizer::Result<DataSplits> {
///         let points = |n: i64| {
///             let x = Tensor::rand([n, 2], kind::FLOAT_CPU);
///             let y = x.select(1, 1).gt_tensor(&x.select(1, 0)).to_kind(text_recognizer::tch::Kind::Int64);
///             BaseDataset::new(x, y, vec![]).map(Box::new)
///         };
///         Ok(DataSplits { train: points(80)?, val: points(10)?, test: Some(points(10)?) })
///     }
/// }
///
/// let loader = DataLoader::new(Diagonal.setup()?.train, 32, Diagonal.shuffle(42))?;
/// assert_eq!(loader.epoch(0, 0).next().unwrap()?.x.size(), [32, 2]);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
pub trait DataModule {
    /// The data's dimensions and classes.
    fn config(&self) -> DataSpec;

    /// Makes sure that the raw data is on disk, downloading it where it is not. Touches nothing but the disk.
    ///
    /// # Errors
    /// When the data is neither there nor to be had.
    fn prepare_data(&self) -> Result<()>;

    /// Reads, checks and splits the data.
    ///
    /// # Errors
    /// When a file is missing, damaged or malformed.
    fn setup(&self) -> Result<DataSplits>;

    /// The folder that the raw data is in, or would be downloaded to; `None` where it is made and not read.
    ///
    /// # Errors
    /// When there is no such folder and no place for one.
    fn folder(&self) -> Result<Option<PathBuf>> {
        Ok(None)
    }

    /// Whether [`DataModule::prepare_data`] has nothing to do. Looks at names, not into the files.
    ///
    /// # Errors
    /// As [`DataModule::folder`].
    fn is_prepared(&self) -> Result<bool> {
        Ok(true)
    }

    /// The order in which the training part is served.
    fn shuffle(&self, seed: u64) -> Shuffle {
        Shuffle::Full { seed }
    }
}
