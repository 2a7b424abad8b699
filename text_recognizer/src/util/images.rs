//! Images as tensors.

use std::io::{Cursor, ErrorKind};
use std::path::Path;

use image::error::{LimitError, LimitErrorKind};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageError, ImageReader, Limits, Luma};
use tch::Tensor;

use crate::error::{Error, Result};
use crate::util::files::read_limited;

/// The longest side of an image that is decoded, in pixels.
const MAX_SIDE: u32 = 32_768;
/// The most bytes of a file that is read: as many as a decoded image may have.
const MAX_BYTES: u64 = 512 << 20;
/// The most pixels of an image that is decoded; as RGB they take 384 MiB.
const MAX_PIXELS: u64 = 1 << 27;

/// Reads a PNG or JPEG file as bytes: `[3, height, width]`, or `[height, width]` if `grayscale`.
///
/// [`decode_image`] describes the conversion to gray and the limits.
///
/// ```
/// use text_recognizer::util::read_image;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("digit.png");
/// # image::RgbImage::new(20, 28).save(&path)?;
/// assert_eq!(read_image(&path, false)?.size(), [3, 28, 20]);
/// assert_eq!(read_image(&path, true)?.size(), [28, 20]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Fails if the file cannot be read, is not a whole PNG or JPEG image, or is larger than the limits.
pub fn read_image(path: impl AsRef<Path>, grayscale: bool) -> Result<Tensor> {
    let image = read_dynamic(path.as_ref())?;
    if grayscale { gray_tensor(&into_gray(image)) } else { rgb_tensor(image) }
}

/// Decodes a PNG or JPEG image: `[3, height, width]`, or `[height, width]` if `grayscale`, of kind uint8.
///
/// Transparency is dropped. Gray is ITU-R 601-2 luma in 16-bit fixed point, as in Pillow's `convert("L")`, so that
/// networks trained on images that Pillow read see the same numbers.
///
/// # Errors
/// Fails if `bytes` is not a whole PNG or JPEG image, or if the image has a side of more than 32,768 pixels, more than
/// 2^27 pixels, or needs more than 512 MiB to decode. The size is checked before any memory is allocated.
pub fn decode_image(bytes: &[u8], grayscale: bool) -> Result<Tensor> {
    let image = decode_dynamic(bytes, Path::new("image"))?;
    if grayscale { gray_tensor(&into_gray(image)) } else { rgb_tensor(image) }
}

/// Reads and decodes a PNG or JPEG file.
pub(crate) fn read_dynamic(path: &Path) -> Result<DynamicImage> {
    let bytes = match read_limited(path, MAX_BYTES) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::FileTooLarge => Vec::new(),
        read => read?,
    };
    if bytes.is_empty() {
        let what = format!("expected an image of 1 to {MAX_BYTES} bytes; try a smaller image");
        return Err(Error::malformed(path, what));
    }
    decode_dynamic(&bytes, path)
}

/// Decodes a PNG or JPEG image; errors name `path`.
pub(crate) fn decode_dynamic(bytes: &[u8], path: &Path) -> Result<DynamicImage> {
    let unusable = |e: ImageError| Error::malformed(path, format!("expected a PNG or JPEG image: {e}"));
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(Error::io("cannot read", path))?;
    let decoder = reader.into_decoder().map_err(unusable)?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        let what = format!(
            "the image has {width} x {height} pixels, expected sides of at most {MAX_SIDE} and at most {MAX_PIXELS} \
             pixels; try a smaller image"
        );
        return Err(Error::malformed(path, what));
    }
    if decoder.total_bytes() > Limits::default().max_alloc.unwrap_or(u64::MAX) {
        return Err(unusable(ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))));
    }
    DynamicImage::from_decoder(decoder).map_err(unusable)
}

fn rgb_tensor(image: DynamicImage) -> Result<Tensor> {
    let size = [image.height(), image.width()].map(i64::from);
    let pixels = Tensor::f_from_slice(image.into_rgb8().as_raw())?.f_view([size[0], size[1], 3])?;
    Ok(pixels.f_permute([2, 0, 1])?.f_contiguous()?)
}

fn gray_tensor(image: &GrayImage) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(image.as_raw())?.f_view([image.height(), image.width()].map(i64::from))?)
}

/// Converts an image to gray as Pillow's `convert("L")` does.
pub(crate) fn into_gray(image: DynamicImage) -> GrayImage {
    if !image.color().has_color() {
        return image.into_luma8();
    }
    let image = image.into_rgb8();
    GrayImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b] = image.get_pixel(x, y).0.map(u32::from);
        // Pillow's L24: the weights 0.299, 0.587 and 0.114 times 2^16, rounded half up.
        Luma([((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8])
    })
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
    fn decode_image_color_is_channels_first() {
        // One row of two pixels.
        let image = png(RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap());
        let t = decode_image(&image, false).unwrap();
        assert_eq!((t.size(), t.kind()), (vec![3, 1, 2], Kind::Uint8));
        assert_eq!(bytes(&t), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn decode_image_gray_matches_pillow() {
        // Pillow's Image.fromarray(np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 200, 99]]])).convert("L") gives
        // [[76, 150, 29, 132]].
        let colors = [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 99];
        let gray = decode_image(&png(RgbImage::from_raw(2, 2, colors.to_vec()).unwrap()), true).unwrap();
        assert_eq!(gray.size(), [2, 2]);
        assert_eq!(bytes(&gray), [76, 150, 29, 132]);
        let transparent = RgbaImage::from_raw(1, 1, vec![255, 0, 0, 7]).unwrap();
        assert_eq!(bytes(&decode_image(&png(transparent), true).unwrap()), [76]);
        let already_gray = GrayAlphaImage::from_raw(2, 1, vec![9, 0, 250, 255]).unwrap();
        assert_eq!(bytes(&decode_image(&png(already_gray), true).unwrap()), [9, 250]);
    }

    /// The first bytes of a PNG with that bit depth and color type: its header is whole, its pixels are absent.
    fn png_header(width: u32, height: u32, depth_and_color: [u8; 2]) -> Vec<u8> {
        let mut chunk = b"IHDR".to_vec();
        chunk.extend([width, height].iter().flat_map(|side| side.to_be_bytes()));
        chunk.extend(depth_and_color);
        chunk.extend([0, 0, 0]);
        let mut crc = flate2::Crc::new();
        crc.update(&chunk);
        let mut bytes = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d".to_vec();
        bytes.extend(chunk);
        bytes.extend(crc.sum().to_be_bytes());
        bytes.extend(b"\x00\x00\x00\x01IDAT");
        bytes
    }

    #[test]
    fn decode_image_above_limits_fails_before_decoding() {
        const GRAY8: [u8; 2] = [8, 0];
        const RGBA16: [u8; 2] = [16, 6];
        let error =
            |width, height| decode_image(&png_header(width, height, GRAY8), true).unwrap_err().to_string();
        for (width, height) in [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (16_384, 8_193)] {
            let expected =
                format!("the image has {width} x {height} pixels, expected sides of at most 32768");
            assert!(error(width, height).contains(&expected), "{}", error(width, height));
        }
        assert!(error(1, 1).contains("expected a PNG or JPEG image"), "{}", error(1, 1));
        for (width, height, color) in [(u32::MAX >> 1, 1, GRAY8), (8_192, 8_193, RGBA16)] {
            let error = decode_image(&png_header(width, height, color), true).unwrap_err().to_string();
            assert!(error.contains("Memory limit exceeded"), "{error}");
        }
        for (width, height) in [(MAX_SIDE, 1), (1, MAX_SIDE)] {
            let longest = png(GrayImage::new(width, height));
            assert_eq!(decode_image(&longest, true).unwrap().size(), [i64::from(height), i64::from(width)]);
        }
    }

    #[test]
    fn read_image_other_file_fails_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let image = png(RgbImage::from_raw(1, 1, vec![7, 8, 9]).unwrap());
        std::fs::write(&path, &image).unwrap();
        assert_eq!(bytes(&read_image(&path, false).unwrap()), [7, 8, 9]);

        std::fs::write(&path, &image[..image.len() / 2]).unwrap();
        let error = |path: &Path| read_image(path, false).unwrap_err().to_string();
        assert!(error(&path).contains("a.png: expected a PNG or JPEG"));
        std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(error(&path).contains("a.png: expected an image of 1 to 536870912 bytes"));
        assert!(decode_image(b"hello", true).unwrap_err().to_string().contains("PNG or JPEG"));
        assert!(!cfg!(unix) || error(Path::new("/dev/zero")).contains("found a device"));
        let missing = error(&dir.path().join("b.png"));
        assert!(missing.starts_with("cannot read ") && missing.contains("b.png"), "{missing}");
    }
}
