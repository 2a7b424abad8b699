//! Data sets: rows that are gathered into batches by index.

use std::fmt::Debug;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// Rows of a data set, on the training device.
#[derive(Debug)]
pub struct Batch {
    /// Inputs, `[batch, ...input_dims]`.
    pub x: Tensor,
    /// Targets, `[batch]` of class indices or `[batch, ...output_dims]`.
    pub y: Tensor,
    /// The indices of the rows in the data set, in the order of `x`, or what identifies them instead ([`Dataset::ids`]).
    pub rows: Vec<i64>,
}

impl Batch {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Rows that can be gathered into batches. A data set is in memory, on the device where it is used.
///
/// ```
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Device, Kind, Tensor, kind};
///
/// /// The numbers `0..n` and their squares, which are computed when they are needed.
/// #[derive(Debug)]
/// struct Squares {
///     n: usize,
///     kind: Kind,
/// }
///
/// impl Dataset for Squares {
///     fn len(&self) -> usize {
///         self.n
///     }
///
///     fn gather(&self, indices: &Tensor) -> text_recognizer::Result<(Tensor, Tensor)> {
///         let x = indices.f_to_kind(self.kind)?.f_unsqueeze(1)?; // [n, 1]
///         Ok((x.shallow_clone(), x.f_square()?))
///     }
///
///     fn device(&self) -> Device {
///         Device::Cpu
///     }
///
///     fn to(self: Box<Self>, _: Device, kind: Kind) -> text_recognizer::Result<Box<dyn Dataset>> {
///         Ok(Box::new(Self { kind, ..*self }))
///     }
/// }
///
/// let loader = DataLoader::new(Box::new(Squares { n: 10, kind: Kind::Float }), 4, Shuffle::No)?;
/// let last = loader.epoch(0, 0).last().unwrap()?;
/// assert_eq!(Vec::<f32>::try_from(last.y.flatten(0, -1))?, [64.0, 81.0]);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
pub trait Dataset: Debug + Send {
    /// Returns the number of rows.
    fn len(&self) -> usize;

    /// Returns whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rows `indices` (`[n]`, int64, on the data set's device) as inputs and targets, in that order.
    ///
    /// # Errors
    /// Fails if libtorch does, for example for lack of memory.
    fn gather(&self, indices: &Tensor) -> Result<(Tensor, Tensor)>;

    /// Returns the rows `start..start + length` as inputs and targets; faster than [`Dataset::gather`] for data that is
    /// contiguous in memory.
    ///
    /// # Errors
    /// Fails as [`Dataset::gather`] does.
    fn slice(&self, start: i64, length: i64) -> Result<(Tensor, Tensor)> {
        self.gather(&Tensor::arange_start(start, start + length, (Kind::Int64, self.device())))
    }

    /// Returns what identifies the rows at `positions` in [`Batch::rows`]: by default their positions.
    ///
    /// # Errors
    /// Fails as [`Dataset::gather`] does.
    fn ids(&self, positions: &[i64]) -> Result<Vec<i64>> {
        Ok(positions.to_vec())
    }

    /// Returns the device of the batches.
    fn device(&self) -> Device;

    /// Moves the data to a device, and converts floating-point values to `kind`.
    ///
    /// # Errors
    /// Fails if the data does not fit into the memory of the device.
    fn to(self: Box<Self>, device: Device, kind: Kind) -> Result<Box<dyn Dataset>>;
}

/// A change of a batch's inputs after they are gathered.
///
/// ```
/// use text_recognizer::prelude::*;
/// use text_recognizer::tch::{Kind, Tensor};
///
/// /// Makes white black.
/// #[derive(Debug)]
/// struct Invert;
///
/// impl Transform for Invert {
///     fn apply(&self, x: Tensor, _kind: Kind) -> text_recognizer::Result<Tensor> {
///         Ok(1.0 - x)
///     }
/// }
///
/// let (x, y) = (Tensor::from_slice(&[0u8, 51, 255]), Tensor::from_slice(&[0i64, 1, 2]));
/// let dataset = BaseDataset::new(x, y, vec![Box::new(ToFloat), Box::new(Invert)])?;
/// assert_eq!(Vec::<f32>::try_from(dataset.slice(0, 3)?.0)?, [1.0, 0.8, 0.0]);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
pub trait Transform: Debug + Send + Sync {
    /// Returns the changed inputs; `kind` is the floating-point kind of the model. An implementation must not write to the
    /// memory of `x`, which may be the data set's own.
    ///
    /// # Errors
    /// Fails if `x` has a shape or kind that the transform does not support.
    fn apply(&self, x: Tensor, kind: Kind) -> Result<Tensor>;
}

/// The transform from bytes to floats in 0..=1: `x / 255`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToFloat;

impl Transform for ToFloat {
    fn apply(&self, x: Tensor, kind: Kind) -> Result<Tensor> {
        // Dividing in place would write to the memory of a data set that holds floats already.
        Ok(if x.kind() == kind { x.f_div_scalar(255.0)? } else { x.f_to_kind(kind)?.f_div_scalar_(255.0)? })
    }
}

/// The transform `(x - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalize {
    /// The mean, which is subtracted.
    pub mean: f64,
    /// The std, by which the difference is divided.
    pub std: f64,
}

impl Transform for Normalize {
    fn apply(&self, x: Tensor, _kind: Kind) -> Result<Tensor> {
        Ok(x.f_sub_scalar(self.mean)?.f_div_scalar_(self.std)?)
    }
}

/// A data set of two tensors, with one row per sample in each.
#[derive(Debug)]
pub struct BaseDataset {
    data: Tensor,
    targets: Tensor,
    transforms: Arc<[Box<dyn Transform>]>,
    kind: Kind,
}

impl BaseDataset {
    /// Pairs `data` (`[n, ...]`) with `targets` (`[n, ...]`); `transforms` are applied to each batch's inputs.
    ///
    /// # Errors
    /// Fails if the numbers of rows differ, or if one of the tensors is a scalar.
    pub fn new(data: Tensor, targets: Tensor, transforms: Vec<Box<dyn Transform>>) -> Result<Self> {
        let (x, y) = (data.size(), targets.size());
        let (Some(n), Some(m)) = (x.first(), y.first()) else {
            return Err(Error::shape(
                "BaseDataset",
                "[n, ...] for data and targets",
                if x.is_empty() { &x } else { &y },
            ));
        };
        if n != m {
            return Err(Error::shape(
                "BaseDataset targets",
                format!("[{n}, ...], one for each of the {n} rows of data"),
                &y,
            ));
        }
        Ok(Self { data, targets, transforms: transforms.into(), kind: Kind::Float })
    }

    /// Returns the raw inputs, before any transform.
    pub fn data(&self) -> &Tensor {
        &self.data
    }

    /// Returns the targets.
    pub fn targets(&self) -> &Tensor {
        &self.targets
    }

    /// Returns the rows `start..start + length`, which share memory with this data set.
    ///
    /// # Errors
    /// Fails if the range exceeds the number of rows.
    pub fn narrow(&self, start: i64, length: i64) -> Result<Self> {
        Ok(self.with(self.data.f_narrow(0, start, length)?, self.targets.f_narrow(0, start, length)?))
    }

    /// Returns a copy of the rows `indices`, in that order.
    ///
    /// # Errors
    /// Fails if an index is out of range.
    pub fn select(&self, indices: &[i64]) -> Result<Self> {
        let indices = Tensor::from_slice(indices);
        Ok(self.with(self.data.f_index_select(0, &indices)?, self.targets.f_index_select(0, &indices)?))
    }

    fn with(&self, data: Tensor, targets: Tensor) -> Self {
        Self { data, targets, transforms: Arc::clone(&self.transforms), kind: self.kind }
    }

    fn transformed(&self, mut x: Tensor) -> Result<Tensor> {
        for transform in &*self.transforms {
            x = transform.apply(x, self.kind)?;
        }
        Ok(x)
    }
}

impl Dataset for BaseDataset {
    fn len(&self) -> usize {
        self.data.size()[0] as usize
    }

    fn gather(&self, indices: &Tensor) -> Result<(Tensor, Tensor)> {
        let x = self.transformed(self.data.f_index_select(0, indices)?)?;
        Ok((x, self.targets.f_index_select(0, indices)?))
    }

    fn slice(&self, start: i64, length: i64) -> Result<(Tensor, Tensor)> {
        let x = self.transformed(self.data.f_narrow(0, start, length)?)?;
        Ok((x, self.targets.f_narrow(0, start, length)?))
    }

    fn device(&self) -> Device {
        self.data.device()
    }

    fn to(mut self: Box<Self>, device: Device, kind: Kind) -> Result<Box<dyn Dataset>> {
        let cast = |t: &Tensor| -> Result<Tensor> {
            let kind = if t.is_floating_point() { kind } else { t.kind() };
            Ok(t.f_to_device(device)?.f_to_kind(kind)?)
        };
        (self.data, self.targets, self.kind) = (cast(&self.data)?, cast(&self.targets)?, kind);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_unequal_lengths_fails_with_both() {
        let error = BaseDataset::new(
            Tensor::zeros([3, 2], tch::kind::FLOAT_CPU),
            Tensor::from_slice(&[1i64, 2]),
            vec![],
        )
        .unwrap_err();
        assert!(error.to_string().contains("[3, ...]") && error.to_string().contains("[2]"), "{error}");
        let scalar = Tensor::from(1i64);
        assert!(BaseDataset::new(Tensor::zeros([3, 2], tch::kind::FLOAT_CPU), scalar, vec![]).is_err());
    }

    #[test]
    fn gather_and_slice_return_same_transformed_rows() {
        let data = Tensor::from_slice(&[0u8, 51, 102, 255]).view([4, 1]);
        let transforms =
            vec![Box::new(ToFloat) as Box<dyn Transform>, Box::new(Normalize { mean: 0.5, std: 0.5 })];
        let dataset = BaseDataset::new(data, Tensor::from_slice(&[0i64, 1, 2, 3]), transforms).unwrap();
        let (x, y) = dataset.gather(&Tensor::from_slice(&[3i64, 0])).unwrap();
        assert_eq!(Vec::<f32>::try_from(x.view(-1)).unwrap(), [1.0, -1.0]);
        assert_eq!(Vec::<i64>::try_from(y).unwrap(), [3, 0]);
        let (a, _) = dataset.gather(&Tensor::from_slice(&[1i64, 2])).unwrap();
        let (b, _) = dataset.slice(1, 2).unwrap();
        assert_eq!(a, b);
    }

    #[test]
    fn to_float_float_data_is_not_changed() {
        let data = Tensor::from_slice(&[1f32, 2.0]).view([2, 1]);
        let transforms: Vec<Box<dyn Transform>> =
            vec![Box::new(ToFloat), Box::new(Normalize { mean: 1.0, std: 2.0 })];
        let dataset = BaseDataset::new(data, Tensor::from_slice(&[0i64, 1]), transforms).unwrap();
        let _ = dataset.slice(0, 2).unwrap();
        assert_eq!(Vec::<f32>::try_from(dataset.data().view(-1)).unwrap(), [1.0, 2.0]);
    }
}
