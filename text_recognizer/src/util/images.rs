//! Pictures as tensors.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageReader};
use tch::Tensor;

use crate::error::{Error, Result};

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

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, ImageFormat, RgbImage, RgbaImage};
    use tch::Kind;

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(vec![]);
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn bytes(t: &Tensor) -> Vec<u8> {
        Vec::try_from(t.contiguous().view(-1)).unwrap()
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
}
