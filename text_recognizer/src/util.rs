//! Small helpers: one-hot targets, pictures as tensors, digests, downloads, defaults of configurations.

mod http;

use std::fs::File;
use std::io::{Cursor, Write};
use std::path::Path;

use image::{DynamicImage, ImageReader};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

pub(crate) use http::Fetch;
pub use http::{Progress, download_url};

use crate::error::{Error, Result};

/// One-hot rows of class indices: `y: [n]`, any integer kind, to `[n, num_classes]` of float zeros and ones.
///
/// # Errors
/// When `y` is not a vector of integers, or holds a value outside of `0..num_classes`.
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

/// Reads a PNG or JPEG file as bytes: `[3, height, width]`, or `[height, width]` where `grayscale`.
///
/// See [`decode_image`] for how colours become grey.
///
/// # Errors
/// When the file cannot be read, or is not a whole PNG or JPEG picture.
pub fn read_image(path: impl AsRef<Path>, grayscale: bool) -> Result<Tensor> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(Error::io("reading", path))?;
    picture(&bytes, grayscale).map_err(|what| Error::malformed(path, what))
}

/// Decodes a PNG or JPEG picture: `[3, height, width]`, or `[height, width]` where `grayscale`, of kind uint8.
///
/// Transparency is dropped. Grey is ITU-R 601-2 luma in 16-bit fixed point, as Pillow's `convert("L")`, so that
/// networks trained on pictures that Pillow read see the same numbers.
///
/// # Errors
/// When `bytes` is not a whole PNG or JPEG picture, or decoding needs more than 512 MiB.
pub fn decode_image(bytes: &[u8], grayscale: bool) -> Result<Tensor> {
    picture(bytes, grayscale).map_err(|what| Error::malformed("picture", what))
}

fn picture(bytes: &[u8], grayscale: bool) -> Result<Tensor, String> {
    let image = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| e.to_string())?
        .decode()
        .map_err(|e| format!("expected a PNG or JPEG picture: {e}"))?;
    let (height, width) = (i64::from(image.height()), i64::from(image.width()));
    let tensor =
        |pixels: &[u8], shape: &[i64]| Tensor::from_slice(pixels).f_view(shape).map_err(|e| e.to_string());
    if grayscale {
        return tensor(&grey(image), &[height, width]);
    }
    tensor(image.to_rgb8().as_raw(), &[height, width, 3])?
        .f_permute([2, 0, 1])
        .and_then(|t| t.f_contiguous())
        .map_err(|e| e.to_string())
}

fn grey(image: DynamicImage) -> Vec<u8> {
    if !image.color().has_color() {
        return image.into_luma8().into_raw();
    }
    let luma = |rgb: &[u8]| {
        let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
        // Pillow's L24: the weights 0.299, 0.587 and 0.114 times 2^16, rounded half up.
        ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
    };
    image.into_rgb8().as_raw().chunks_exact(3).map(luma).collect()
}

/// The SHA-256 of a file's bytes, as 64 lower-case hexadecimal digits.
///
/// # Errors
/// When the file cannot be read.
pub fn compute_sha256(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut hasher = Hasher(Sha256::new());
    let mut file = File::open(path).map_err(Error::io("opening", path))?;
    std::io::copy(&mut file, &mut hasher).map_err(Error::io("reading", path))?;
    Ok(hex(hasher.0))
}

/// A configuration as it is where no flag is given: so its defaults stand once, at its flags.
///
/// # Panics
/// When a flag of `C` has no default and is not optional.
pub fn default_flags<C: clap::Args>() -> C {
    let command = C::augment_args(clap::Command::new("")).no_binary_name(true);
    let matches = command.try_get_matches_from([""; 0]).and_then(|m| C::from_arg_matches(&m));
    matches.unwrap_or_else(|e| panic!("a configuration with a default has no flag that must be given: {e}"))
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The digest as hexadecimal digits.
pub(crate) fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, ImageFormat, RgbImage, RgbaImage};

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn bytes(t: &Tensor) -> Vec<u8> {
        Vec::try_from(t.contiguous().view(-1)).unwrap()
    }

    #[test]
    fn categories_become_unit_rows() {
        for kind in [Kind::Uint8, Kind::Int, Kind::Int64] {
            let rows = to_categorical(&Tensor::from_slice(&[2i64, 0]).to_kind(kind), 3).unwrap();
            assert_eq!((rows.size(), rows.kind()), (vec![2, 3], Kind::Float));
            assert_eq!(Vec::<f32>::try_from(rows.view(-1)).unwrap(), [0., 0., 1., 1., 0., 0.]);
        }
        assert_eq!(to_categorical(&Tensor::zeros([0], tch::kind::INT64_CPU), 4).unwrap().size(), [0, 4]);
    }

    #[test]
    fn impossible_categories_are_refused() {
        let says = |y: &Tensor, classes| to_categorical(y, classes).unwrap_err().to_string();
        assert_eq!(says(&Tensor::from_slice(&[1i64, 3]), 3), "y[1] is 3: expected a class in 0..3");
        assert_eq!(says(&Tensor::from_slice(&[-1i64]), 3), "y[0] is -1: expected a class in 0..3");
        assert!(says(&Tensor::from_slice(&[1f32]), 3).contains("Float"));
        assert!(says(&Tensor::zeros([2, 2], tch::kind::INT64_CPU), 3).contains("[2, 2]"));
        assert!(says(&Tensor::from_slice(&[0i64]), 0).contains("num_classes is 0"));
    }

    #[test]
    fn colour_pictures_are_channels_first() {
        // One row of two pixels.
        let picture = png(RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap());
        let t = decode_image(&picture, false).unwrap();
        assert_eq!((t.size(), t.kind()), (vec![3, 1, 2], Kind::Uint8));
        assert_eq!(bytes(&t), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn grey_is_what_pillow_computes() {
        // Image.fromarray(np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 200, 99]]])).convert("L"): with
        // Pillow, [[76, 150, 29, 132]].
        let colours = [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 99];
        let grey = decode_image(&png(RgbImage::from_raw(2, 2, colours.to_vec()).unwrap()), true).unwrap();
        assert_eq!(grey.size(), [2, 2]);
        assert_eq!(bytes(&grey), [76, 150, 29, 132]);
        let transparent = RgbaImage::from_raw(1, 1, vec![255, 0, 0, 7]).unwrap();
        assert_eq!(bytes(&decode_image(&png(transparent), true).unwrap()), [76]);
        let already_grey = GrayAlphaImage::from_raw(2, 1, vec![9, 0, 250, 255]).unwrap();
        assert_eq!(bytes(&decode_image(&png(already_grey), true).unwrap()), [9, 250]);
    }

    #[test]
    fn files_are_read_and_what_is_no_picture_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let picture = png(RgbImage::from_raw(1, 1, vec![7, 8, 9]).unwrap());
        std::fs::write(&path, &picture).unwrap();
        assert_eq!(bytes(&read_image(&path, false).unwrap()), [7, 8, 9]);

        std::fs::write(&path, &picture[..picture.len() / 2]).unwrap();
        assert!(read_image(&path, false).unwrap_err().to_string().contains("a.png: expected a PNG or JPEG"));
        assert!(decode_image(b"hello", true).unwrap_err().to_string().contains("PNG or JPEG"));
        let missing = read_image(dir.path().join("b.png"), false).unwrap_err().to_string();
        assert!(missing.starts_with("reading ") && missing.contains("b.png"), "{missing}");
    }

    #[test]
    fn digests_are_the_published_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(compute_sha256(&path).unwrap(), expected);
        assert!(compute_sha256(dir.path().join("none")).is_err());
    }
}
