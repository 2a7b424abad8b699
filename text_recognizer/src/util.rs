//! Helpers: one-hot targets, images as tensors, digests, downloads, files.

pub mod any_float;
mod digest;
mod download;
pub mod files;
mod images;

use tch::{Kind, Tensor};

pub use digest::compute_sha256;
pub(crate) use digest::hex;
pub(crate) use download::Fetch;
pub use download::{Progress, download_url};
pub(crate) use images::{decode_dynamic, into_gray, read_dynamic};
pub use images::{decode_image, read_image};

use crate::error::{Error, Result};

/// Converts class indices to one-hot rows: `y: [n]` of any integer kind to `[n, num_classes]` of float zeros and ones.
///
/// ```
/// use text_recognizer::{tch::Tensor, util::to_categorical};
///
/// let rows = to_categorical(&Tensor::from_slice(&[2i64, 0]), 3)?;
/// assert_eq!(Vec::<Vec<f32>>::try_from(rows)?, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
///
/// # Errors
/// Fails if `y` is not a vector of integers, or has a value outside of `0..num_classes`.
pub fn to_categorical(y: &Tensor, num_classes: i64) -> Result<Tensor> {
    if num_classes < 1 {
        return Err(Error::invalid("num_classes", num_classes, "at least 1"));
    }
    if y.dim() != 1 {
        return Err(Error::shape("to_categorical", "[n]", &y.size()));
    }
    if !matches!(y.kind(), Kind::Uint8 | Kind::Int8 | Kind::Int16 | Kind::Int | Kind::Int64) {
        return Err(Error::invalid("the kind of y", format!("{:?}", y.kind()), "an integer kind"));
    }
    let y = y.f_to_kind(Kind::Int64)?;
    let values = Vec::<i64>::try_from(&y.f_to_device(tch::Device::Cpu)?)?;
    if let Some((row, value)) = values.iter().enumerate().find(|(_, v)| !(0..num_classes).contains(*v)) {
        return Err(Error::invalid(format!("y[{row}]"), value, format!("a class in 0..{num_classes}")));
    }
    Ok(y.f_one_hot(num_classes)?.f_to_kind(Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_categorical_indices_become_one_hot_rows() {
        for kind in [Kind::Uint8, Kind::Int, Kind::Int64] {
            let rows = to_categorical(&Tensor::from_slice(&[2i64, 0]).to_kind(kind), 3).unwrap();
            assert_eq!((rows.size(), rows.kind()), (vec![2, 3], Kind::Float));
            assert_eq!(Vec::<f32>::try_from(rows.view(-1)).unwrap(), [0., 0., 1., 1., 0., 0.]);
        }
        assert_eq!(to_categorical(&Tensor::zeros([0], tch::kind::INT64_CPU), 4).unwrap().size(), [0, 4]);
    }

    #[test]
    fn to_categorical_index_outside_of_classes_fails() {
        let error = |y: &Tensor, classes| to_categorical(y, classes).unwrap_err().to_string();
        assert_eq!(error(&Tensor::from_slice(&[1i64, 3]), 3), "y[1] is 3: expected a class in 0..3");
        assert_eq!(error(&Tensor::from_slice(&[-1i64]), 3), "y[0] is -1: expected a class in 0..3");
        assert!(error(&Tensor::from_slice(&[1f32]), 3).contains("Float"));
        assert!(error(&Tensor::zeros([2, 2], tch::kind::INT64_CPU), 3).contains("[2, 2]"));
        assert!(error(&Tensor::from_slice(&[0i64]), 0).contains("num_classes is 0"));
    }
}
