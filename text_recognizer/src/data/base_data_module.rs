//! The interface of data modules, and the description of their data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{Dataset, Normalize, Shuffle, ToFloat, Transform};
use crate::error::{Error, Result};
use crate::util::hex;

/// The shapes, classes and preprocessing of a data set: all that a model and a checkpoint need of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSpec {
    /// Dimensions of one input, without the batch: `[1, 28, 28]` for MNIST.
    pub input_dims: Vec<i64>,
    /// Dimensions of one prediction, without the batch: `[10]` for ten classes.
    pub output_dims: Vec<i64>,
    /// The name of each class, in the order of the class indices; empty for data without classes.
    pub mapping: Vec<String>,
    /// The preprocessing of images; `None` for inputs that are not images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
}

impl DataSpec {
    /// Returns the number of values of one input, the product of its dimensions.
    ///
    /// # Errors
    /// Fails if a dimension is less than 1, or the product is too large for an i64.
    pub fn inputs(&self) -> Result<i64> {
        product("input_dims", &self.input_dims)
    }

    /// Returns the number of values of one prediction, the product of its dimensions.
    ///
    /// # Errors
    /// Fails as [`DataSpec::inputs`] does.
    pub fn outputs(&self) -> Result<i64> {
        product("output_dims", &self.output_dims)
    }
}

fn product(name: &str, dims: &[i64]) -> Result<i64> {
    let product = dims.iter().try_fold(1i64, |product, &dim| product.checked_mul(dim).filter(|_| dim > 0));
    product.ok_or_else(|| Error::shape(name, "dimensions of at least 1 whose product fits in an i64", dims))
}

/// The size of the images of a data set, and the constants that turn their gray levels into inputs:
/// `(byte / 255 - mean) / std`.
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
    /// MNIST's images: the mean and std of PyTorch's MNIST example, rounded to four digits.
    pub const MNIST: Self = Self { height: 28, width: 28, mean: 0.1307, std: 0.3081 };
    /// Fashion-MNIST's images: the mean and std of the training images, rounded to four digits.
    pub const FASHION_MNIST: Self = Self { height: 28, width: 28, mean: 0.2860, std: 0.3530 };

    /// Returns the transforms from bytes to inputs.
    pub fn transforms(self) -> Vec<Box<dyn Transform>> {
        vec![Box::new(ToFloat), Box::new(Normalize { mean: self.mean, std: self.std })]
    }
}

/// The identity of data: two data sets with the same identity have the same content, wherever they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataIdentity {
    /// The number of rows of all splits.
    pub rows: u64,
    /// The names of the columns; empty for data without columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    /// The way in which the content is hashed. Digests of two ways cannot be compared.
    #[serde(default, skip_serializing_if = "is_first")]
    pub digest: u32,
}

fn is_first(digest: &u32) -> bool {
    *digest == 0
}

impl DataIdentity {
    /// Returns the identity of data whose content is that of `parts` in their order.
    ///
    /// # Errors
    /// Fails with the first error of `parts`.
    pub fn of<P: AsRef<[u8]>>(
        rows: u64,
        columns: &[String],
        parts: impl IntoIterator<Item = Result<P>>,
    ) -> Result<Self> {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part?);
        }
        Ok(Self { rows, columns: columns.to_vec(), sha256: hex(hasher), digest: 0 })
    }

    /// Sets the way in which the content is hashed, after a change of it.
    #[must_use]
    pub fn with_digest(self, digest: u32) -> Self {
        Self { digest, ..self }
    }

    /// Returns whether the contents can be compared: both are hashed in the same way.
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Returns the differences to `other` as text, or `None` if there are none.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut differences = Vec::new();
        if self.rows != other.rows {
            differences.push(format!("{} rows instead of {}", other.rows, self.rows));
        }
        if self.columns != other.columns {
            differences.push(format!(
                "the columns {} instead of {}",
                other.columns.join(", "),
                self.columns.join(", ")
            ));
        }
        if differences.is_empty() && self.is_comparable(other) && self.sha256 != other.sha256 {
            differences.push("other values".into());
        }
        (!differences.is_empty()).then(|| differences.join(", and "))
    }
}

/// The train, validation and test splits of a data set.
#[derive(Debug)]
pub struct DataSplits {
    /// The rows that the model is trained on.
    pub train: Box<dyn Dataset>,
    /// The rows that early stopping and the choice of the best checkpoint are based on.
    pub val: Box<dyn Dataset>,
    /// The rows that the trained model is evaluated on, once; `None` for data without a test split.
    pub test: Option<Box<dyn Dataset>>,
}

/// A source of data, which downloads, describes and splits it.
///
/// ```
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Tensor, kind};
///
/// /// Points in a square, labeled by the side of the diagonal that they are on.
/// struct Diagonal;
///
/// impl DataModule for Diagonal {
///     fn spec(&self) -> DataSpec {
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
    /// Returns the dimensions, classes and preprocessing of the data.
    fn spec(&self) -> DataSpec;

    /// Downloads the raw data if it is not on disk.
    ///
    /// # Errors
    /// Fails if the data is absent and cannot be downloaded.
    fn prepare_data(&self) -> Result<()>;

    /// Reads, verifies and splits the data.
    ///
    /// # Errors
    /// Fails if a file is missing, damaged or malformed.
    fn setup(&self) -> Result<DataSplits>;

    /// Returns the folder that the raw data is in or would be downloaded to; `None` for data that is generated.
    ///
    /// # Errors
    /// Fails if there is no such folder and no place to create one.
    fn folder(&self) -> Result<Option<PathBuf>> {
        Ok(None)
    }

    /// Returns whether [`DataModule::prepare_data`] has nothing to do. Checks that the files exist, not their content.
    ///
    /// # Errors
    /// Fails as [`DataModule::folder`].
    fn is_prepared(&self) -> Result<bool> {
        Ok(true)
    }

    /// Returns the identity of the data, by which a resumed run recognizes that the data has changed; `None` if it is unknown.
    ///
    /// # Errors
    /// Fails if the data cannot be read.
    fn identity(&self) -> Result<Option<DataIdentity>> {
        Ok(None)
    }

    /// Returns the order in which the training split is served; by default all rows are shuffled.
    fn shuffle(&self, seed: u64) -> Shuffle {
        Shuffle::Full { seed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_spec_products_that_are_impossible_are_errors() {
        let spec = |input_dims: &[i64]| DataSpec { input_dims: input_dims.to_vec(), ..DataSpec::default() };
        assert_eq!(spec(&[1, 28, 28]).inputs().unwrap(), 784);
        for dims in [&[0, 3][..], &[-28, -28], &[1 << 62, 4]] {
            let error = spec(dims).inputs().unwrap_err().to_string();
            assert!(error.contains("input_dims") && error.contains(&format!("{dims:?}")), "{error}");
        }
    }

    #[test]
    fn data_identity_difference_names_what_changed() {
        let of = |rows, columns: &[&str], part: &[u8]| {
            DataIdentity::of(rows, &columns.iter().map(ToString::to_string).collect::<Vec<_>>(), [Ok(part)])
                .unwrap()
        };
        let data = of(3, &["v", "w"], b"abc");
        assert_eq!(data.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for (other, expected) in [
            (of(3, &["v", "w"], b"abc"), None),
            (of(3, &["v", "w"], b"abd"), Some("other values")),
            (of(2, &["v", "w"], b"ab"), Some("2 rows instead of 3")),
            (of(2, &["w", "v"], b"ab"), Some("2 rows instead of 3, and the columns w, v instead of v, w")),
        ] {
            assert_eq!(data.difference(&other).as_deref(), expected);
        }
        let later = of(3, &["v", "w"], b"abd").with_digest(1);
        assert!(!data.is_comparable(&later) && data.difference(&later).is_none());
        // Files of earlier versions do not have the digest.
        let json = serde_json::to_string(&data).unwrap();
        assert!(!json.contains("digest"), "{json}");
        assert_eq!(serde_json::from_str::<DataIdentity>(&json).unwrap(), data);
    }
}
