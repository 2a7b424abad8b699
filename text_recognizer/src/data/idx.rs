//! IDX, the format of MNIST's files: a big-endian header (two zero bytes, the type of the values, the number of
//! dimensions, each dimension in four bytes), then the values, last dimension fastest.
//! Source: <http://yann.lecun.com/exdb/mnist/>.

use std::io::Cursor;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::data::raw::{CHUNK, Content, RawFile};
use crate::error::{Error, Result};

/// The most dimensions that are accepted: MNIST's images have three, color images four; libtorch's limit is 64.
const MAX_DIMS: u8 = 8;

/// Parses IDX data of unsigned bytes, gzipped or not, into a uint8 tensor with the shape in its header.
///
/// Errors name `path`. A header with a false shape allocates no memory for it: the memory grows with the values that are there.
///
/// # Errors
/// Fails if the data is malformed: the message has the fault, the byte of the uncompressed content, and the expected value.
pub fn parse_idx(bytes: &[u8], path: impl AsRef<Path>) -> Result<Tensor> {
    let stored = bytes.len() as u64;
    read(&mut Content::new(Cursor::new(bytes.to_vec()), stored, path.as_ref())?, None)
}

/// Reads a published IDX file and verifies its digest in the same pass.
pub(crate) fn read_idx(file: &RawFile, path: &Path) -> Result<Tensor> {
    let mut content = Content::open(path)?;
    let tensor = read(&mut content, Some(file.content_bytes))?;
    file.check(content)?;
    Ok(tensor)
}

/// Reads the whole content, which has `published` bytes if that is known.
fn read(content: &mut Content, published: Option<u64>) -> Result<Tensor> {
    let (shape, values) = header(content, published)?;
    let declared = content.position + values as u64;
    let fill = |content: &mut Content, buffer: &mut [u8]| {
        for chunk in buffer.chunks_mut(CHUNK) {
            if content.fill(chunk)? < chunk.len() {
                let at = content.position;
                return Err(content.malformed(format_args!(
                    "the content ends at byte {at}, expected {declared} bytes for its shape {shape:?}"
                )));
            }
        }
        Ok(())
    };
    let tensor = if published.is_some() || !content.is_compressed {
        // Zeros, since a reader must not get uninitialized memory.
        let mut tensor = Tensor::f_zeros(&shape, (Kind::Uint8, Device::Cpu))?;
        fill(content, bytes_of(&mut tensor))?;
        tensor
    } else {
        // A small compressed file can promise a thousand times its size.
        let mut bytes = Vec::new();
        while bytes.len() < values {
            let start = bytes.len();
            bytes.resize(values.min(start + CHUNK), 0);
            fill(content, &mut bytes[start..])?;
        }
        Tensor::f_from_data_size(&bytes, &shape, Kind::Uint8)?
    };
    if content.fill(&mut [0])? > 0 {
        return Err(content.malformed(format_args!(
            "the content continues after byte {declared}, expected its end there for its shape {shape:?}"
        )));
    }
    Ok(tensor)
}

/// Reads the header and returns the dimensions and their product, if the file is large enough for them.
fn header(content: &mut Content, published: Option<u64>) -> Result<(Vec<i64>, usize)> {
    let [zero0, zero1, kind, dims] = word(content, "the magic number")?;
    if (zero0, zero1) != (0, 0) {
        return Err(content.malformed(format_args!(
            "not an IDX file: bytes 0 and 1 are {zero0:#04x} {zero1:#04x}, expected 0x00 0x00"
        )));
    }
    if kind != 0x08 {
        let known = match kind {
            0x09 => " (signed byte)",
            0x0b => " (short)",
            0x0c => " (int)",
            0x0d => " (float)",
            0x0e => " (double)",
            _ => "",
        };
        return Err(content.malformed(format_args!(
            "the type of the values, at byte 2, is {kind:#04x}{known}, expected 0x08 (unsigned byte)"
        )));
    }
    if !(1..=MAX_DIMS).contains(&dims) {
        return Err(content.malformed(format_args!(
            "the number of dimensions, at byte 3, is {dims}, expected 1 to {MAX_DIMS}"
        )));
    }
    let mut shape = Vec::with_capacity(dims.into());
    for dim in 0..dims {
        shape.push(u32::from_be_bytes(word(content, &format!("dimension {dim}"))?));
    }
    // With a dimension of zero there is nothing to read, but libtorch still multiplies the others.
    let product = |at_least: u32| {
        let mut dims = shape.iter().map(|&d| u64::from(d.max(at_least)));
        dims.try_fold(1, u64::checked_mul).filter(|&n| n <= i64::MAX as u64)
    };
    let can_follow = content.most.saturating_sub(content.position);
    match (product(0), product(1)) {
        (Some(values), Some(_)) if published.is_some_and(|bytes| content.position + values != bytes) => {
            let (declared, published) = (content.position + values, published.unwrap_or_default());
            Err(content.malformed(format_args!(
                "the header declares {declared} bytes for the shape {shape:?}, expected {published}, the published size"
            )))
        }
        (Some(values), Some(_)) if values <= can_follow => {
            Ok((shape.into_iter().map(i64::from).collect(), values as usize))
        }
        _ => Err(content.malformed(format_args!(
            "the dimensions, from byte 4 on, are {shape:?}, expected at most {can_follow} values, which is the size of \
             the file"
        ))),
    }
}

/// Reads four bytes of the header.
fn word(content: &mut Content, what: &str) -> Result<[u8; 4]> {
    let (mut word, at) = ([0; 4], content.position);
    match content.fill(&mut word)? {
        4 => Ok(word),
        n => Err(content.malformed(format_args!(
            "the content ends at byte {}, inside of {what} (bytes {at} to {})",
            at + n as u64,
            at + 3
        ))),
    }
}

/// Returns the memory of a fresh tensor of bytes.
fn bytes_of(tensor: &mut Tensor) -> &mut [u8] {
    match tensor.numel() {
        0 => &mut [],
        // SAFETY: the tensor is fresh, contiguous, initialized and of n bytes, and no other handle to it exists.
        n => unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), n) },
    }
}

/// Checks that `images` (`[n, height, width]`) and `labels` (`[n]`) have the same number of rows and that the labels are below
/// `num_classes`; returns `[n, 1, height, width]` of uint8 and `[n]` of int64.
pub(crate) fn pair(
    (images, images_path): (&Tensor, &Path),
    (labels, labels_path): (&Tensor, &Path),
    num_classes: u8,
) -> Result<(Tensor, Tensor)> {
    let expected =
        |path, expected: String, got: &[i64]| Error::shape(format!("{}", Path::display(path)), expected, got);
    let &[n, height, width] = images.size().as_slice() else {
        return Err(expected(images_path, "[images, height, width]".into(), &images.size()));
    };
    if labels.size() != [n] {
        let wanted = format!("[{n}], one label for each image of {}", images_path.display());
        return Err(expected(labels_path, wanted, &labels.size()));
    }
    let values = Vec::<u8>::try_from(labels)?;
    if let Some((row, label)) = values.iter().enumerate().find(|(_, label)| **label >= num_classes) {
        // The header of a vector has eight bytes.
        let what = format!("label {row}, at byte {}, is {label}, expected 0 to {}", row + 8, num_classes - 1);
        return Err(Error::malformed(labels_path, what));
    }
    Ok((images.f_view([n, 1, height, width])?, labels.f_to_kind(Kind::Int64)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn error(bytes: &[u8]) -> String {
        parse_idx(bytes, "dir/x.gz").unwrap_err().to_string()
    }

    #[test]
    fn parse_well_formed_data_compressed_or_not_returns_values() {
        let bytes = idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        // Two consecutive gzip members are one file (RFC 1952, section 2.2).
        let members = [gz(&bytes[..9]), gz(&bytes[9..])].concat();
        for bytes in [bytes.clone(), gz(&bytes), members] {
            let t = parse_idx(&bytes, "x").unwrap();
            assert_eq!((t.size(), t.kind()), (vec![2, 1, 3], Kind::Uint8));
            assert_eq!(Vec::<u8>::try_from(t.view(-1)).unwrap(), [1, 2, 3, 4, 5, 6]);
        }
        for empty in [idx(&[0, 28, 28], &[]), gz(&idx(&[0, 28, 28], &[]))] {
            assert_eq!(parse_idx(&empty, "x").unwrap().size(), [0, 28, 28]);
        }
        let long: Vec<u8> = (0..3 * CHUNK + 7).map(|i| (i % 251) as u8).collect();
        let t = parse_idx(&gz(&idx(&[long.len() as u32], &long)), "x").unwrap();
        assert!(Vec::<u8>::try_from(t).unwrap() == long);
    }

    #[test]
    fn parse_each_malformation_fails_with_its_place() {
        let good = idx(&[2, 2], &[1, 2, 3, 4]);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        let table = [
            (vec![], "ends at byte 0, inside of the magic number (bytes 0 to 3)"),
            (good[..3].to_vec(), "ends at byte 3, inside of the magic number"),
            (with(0, 7), "bytes 0 and 1 are 0x07 0x00, expected 0x00 0x00"),
            (with(2, 0x0d), "at byte 2, is 0x0d (float), expected 0x08"),
            (with(2, 0x77), "at byte 2, is 0x77, expected 0x08"),
            (with(3, 0), "at byte 3, is 0, expected 1 to 8"),
            (with(3, 255), "at byte 3, is 255, expected 1 to 8"),
            (good[..9].to_vec(), "ends at byte 9, inside of dimension 1 (bytes 8 to 11)"),
            (good[..14].to_vec(), "are [2, 2], expected at most 2 values"),
            (
                [&good[..], &[9]].concat(),
                "continues after byte 16, expected its end there for its shape [2, 2]",
            ),
            (gz(&good[..14]), "ends at byte 14, expected 16 bytes for its shape [2, 2]"),
            (gz(&[&good[..], &[9]].concat()), "continues after byte 16"),
            (idx(&[u32::MAX; 3], &[1]), "expected at most 1 values"),
            (idx(&[u32::MAX, u32::MAX, u32::MAX, 0], &[]), "expected at most 0 values"),
            (gz(&idx(&[u32::MAX, 9], &[1])), "the dimensions, from byte 4 on, are [4294967295, 9]"),
        ];
        for (bytes, expected) in table {
            let error = error(&bytes);
            assert!(error.starts_with("dir/x.gz: ") && error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn parse_damaged_gzip_fails_or_returns_same_values() {
        let values: Vec<u8> = (0..200u32).map(|i| (i * i % 7) as u8).collect();
        let whole = gz(&idx(&[200], &values));
        for at in 0..whole.len() {
            assert!(parse_idx(&whole[..at], "x").is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                // Some bits, such as those of the header's time, do not affect the content.
                if let Ok(t) = parse_idx(&bytes, "x") {
                    assert!(Vec::<u8>::try_from(t).unwrap() == values, "bit {bit} of byte {at}");
                }
            }
        }
        assert!(error(&whole[..whole.len() - 3]).contains("cannot gunzip after 208 bytes of content"));
        assert!(error(&[&whole[..], b"more"].concat()).contains("cannot gunzip after 208 bytes of content"));
    }

    #[test]
    fn parse_gzip_bomb_stops_at_end_of_shape() {
        let mut bytes = idx(&[10], &[1; 10]);
        bytes.resize(64 << 20, 0);
        assert!(error(&gz(&bytes)).contains("continues after byte 18"));
    }

    #[test]
    fn pair_images_and_labels_that_differ_fails() {
        let images = Tensor::zeros([3, 2, 2], (Kind::Uint8, Device::Cpu));
        let labels = |values: &[u8]| Tensor::from_slice(values);
        let check = |images: &Tensor, labels: &Tensor| {
            pair((images, Path::new("images")), (labels, Path::new("labels")), 10)
        };
        let (x, y) = check(&images, &labels(&[0, 9, 5])).unwrap();
        assert_eq!((x.size(), y.size(), y.kind()), (vec![3, 1, 2, 2], vec![3], Kind::Int64));
        for (outcome, expected) in [
            (
                check(&images, &labels(&[0, 1])),
                "labels: expected shape [3], one label for each image of images, got [2]",
            ),
            (check(&images, &labels(&[0, 1, 10])), "labels: label 2, at byte 10, is 10, expected 0 to 9"),
            (check(&labels(&[0]), &labels(&[0])), "images: expected shape [images, height, width], got [1]"),
        ] {
            assert_eq!(outcome.unwrap_err().to_string(), expected);
        }
    }
}
