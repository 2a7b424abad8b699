//! A readable description of a data module.

use std::fmt;
use std::io::Write;

use tch::{Kind, Tensor};

use crate::data::{DataModule, DataSpec, DataSplits};
use crate::error::{Error, Result};

/// The number of rows that the description reads.
const ROWS: usize = 128;

/// The contents of a data module; it displays as a few lines.
#[derive(Debug, Clone, PartialEq)]
pub struct DataInfo {
    /// The dimensions and classes.
    pub config: DataSpec,
    /// Rows of the training split.
    pub train: usize,
    /// Rows of the validation split.
    pub val: usize,
    /// Rows of the test split, if there is one.
    pub test: Option<usize>,
    /// The inputs of the first rows of the training split (at most 128), after the transforms.
    pub x: TensorInfo,
    /// Their targets.
    pub y: TensorInfo,
}

/// The shape, kind and range of a tensor; the statistics of an empty tensor are NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// The shape.
    pub shape: Vec<i64>,
    /// The kind of its elements.
    pub kind: Kind,
    /// The smallest element.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The std, divided by n (not by n - 1).
    pub std: f64,
    /// The largest element.
    pub max: f64,
}

/// Downloads missing files, reads the data, and writes a description of it to `out`.
///
/// ```
/// use text_recognizer::data::load_and_print_info;
/// use text_recognizer::prelude::*;
///
/// let mnist = Mnist::new(MnistDataset::Mnist, MnistConfig::default())?;
/// let info = load_and_print_info(&mnist, &mut std::io::stdout())?;
/// assert_eq!((info.train, info.val, info.test), (55_000, 5_000, Some(10_000)));
/// # Ok::<(), text_recognizer::Error>(())
/// ```
///
/// # Errors
/// Fails as [`DataModule::prepare_data`] and [`DataModule::setup`] do, or if `out` cannot be written to.
pub fn load_and_print_info(module: &dyn DataModule, out: &mut dyn Write) -> Result<DataInfo> {
    module.prepare_data()?;
    let info = DataInfo::new(module.spec(), &module.setup()?)?;
    write!(out, "{info}").map_err(Error::io("cannot write", "the description of the data"))?;
    Ok(info)
}

impl DataInfo {
    /// Describes data that is already read.
    ///
    /// # Errors
    /// Fails if the first rows cannot be gathered.
    pub fn new(config: DataSpec, splits: &DataSplits) -> Result<Self> {
        let (x, y) = splits.train.slice(0, splits.train.len().min(ROWS) as i64)?;
        Ok(Self {
            config,
            train: splits.train.len(),
            val: splits.val.len(),
            test: splits.test.as_ref().map(|test| test.len()),
            x: TensorInfo::new(&x)?,
            y: TensorInfo::new(&y)?,
        })
    }
}

impl TensorInfo {
    fn new(tensor: &Tensor) -> Result<Self> {
        let values = tensor.f_to_kind(Kind::Double)?;
        let of = |figure: fn(&Tensor) -> Result<Tensor, tch::TchError>| -> Result<f64> {
            if tensor.numel() == 0 {
                return Ok(f64::NAN);
            }
            Ok(f64::try_from(figure(&values)?)?)
        };
        Ok(Self {
            shape: tensor.size(),
            kind: tensor.kind(),
            min: of(Tensor::f_min)?,
            mean: of(|t| t.f_mean(Kind::Double))?,
            std: of(|t| t.f_std(false))?,
            max: of(Tensor::f_max)?,
        })
    }
}

impl fmt::Display for DataInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DataSpec { input_dims, output_dims, mapping, .. } = &self.config;
        writeln!(f, "Dims: {input_dims:?} -> {output_dims:?}")?;
        if !mapping.is_empty() {
            writeln!(f, "Classes: {}", mapping.join(" "))?;
        }
        write!(f, "Train/val/test rows: {}, {}, ", self.train, self.val)?;
        match self.test {
            Some(rows) => writeln!(f, "{rows}")?,
            None => writeln!(f, "none")?,
        }
        writeln!(f, "Batch x: {}", self.x)?;
        writeln!(f, "Batch y: {}", self.y)
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, kind, min, mean, std, max } = self;
        write!(f, "{shape:?} {kind:?}, min {min:.2}, mean {mean:.2}, std {std:.2}, max {max:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BaseDataset;

    struct Two;

    impl DataModule for Two {
        fn spec(&self) -> DataSpec {
            DataSpec {
                input_dims: vec![2],
                output_dims: vec![3],
                mapping: ["a", "b", "c"].map(String::from).to_vec(),
                image: None,
            }
        }

        fn prepare_data(&self) -> Result<()> {
            Ok(())
        }

        fn setup(&self) -> Result<DataSplits> {
            let rows = |n: i64| {
                let data = Tensor::arange(2 * n, tch::kind::FLOAT_CPU).view([n, 2]);
                BaseDataset::new(data, Tensor::arange(n, tch::kind::INT64_CPU), vec![]).map(Box::new)
            };
            Ok(DataSplits { train: rows(2)?, val: rows(1)?, test: None })
        }
    }

    #[test]
    fn load_and_print_info_writes_sizes_classes_and_ranges() {
        let expected = "Dims: [2] -> [3]\n\
                        Classes: a b c\n\
                        Train/val/test rows: 2, 1, none\n\
                        Batch x: [2, 2] Float, min 0.00, mean 1.50, std 1.12, max 3.00\n\
                        Batch y: [2] Int64, min 0.00, mean 0.50, std 0.50, max 1.00\n";
        let mut out = Vec::new();
        let info = load_and_print_info(&Two, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!((info.train, info.val, info.test), (2, 1, None));
        let full: &mut [u8] = &mut [0; 9];
        let error = load_and_print_info(&Two, &mut { full }).unwrap_err().to_string();
        assert!(error.starts_with("cannot write the description of the data"), "{error}");
    }

    #[test]
    fn new_empty_training_split_has_nan_statistics() {
        let empty = BaseDataset::new(
            Tensor::zeros([0, 2], tch::kind::FLOAT_CPU),
            Tensor::zeros([0], tch::kind::INT64_CPU),
            vec![],
        );
        let splits = DataSplits { train: Box::new(empty.unwrap()), ..Two.setup().unwrap() };
        let info = DataInfo::new(Two.spec(), &splits).unwrap();
        assert!(info.train == 0 && info.x.max.is_nan());
    }
}
