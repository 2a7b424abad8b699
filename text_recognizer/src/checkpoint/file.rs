//! A safetensors file with metadata and a digest of everything in it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, View, serialize_to_file};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use super::size::{check_size, header_length, load_bytes};
use crate::error::{Error, Result};
use crate::util::files::replace;
use crate::util::hex;

/// The version of the format that [`write()`] writes. It increases when older programs can no longer read a new file.
const FORMAT_VERSION: u32 = 2;

/// The value of `format` in the metadata of every file of [`write()`].
const FORMAT: &str = "text_recognizer";

/// The content of a checkpoint file.
#[derive(Debug)]
pub struct Contents {
    /// Named tensors, on the CPU.
    pub tensors: Vec<(String, Tensor)>,
    /// The metadata, of any form.
    pub metadata: Value,
    /// The version of the format of the file.
    pub format_version: u32,
}

struct Bytes<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Cow<'a, [u8]>,
}

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }
    fn data_len(&self) -> usize {
        self.data.len()
    }
}

const DTYPES: [(Kind, Dtype); 6] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Int64, Dtype::I64),
    (Kind::Uint8, Dtype::U8),
];

const DTYPE_NAMES: &str = "float32, float64, bfloat16, float16, int64 or uint8";

/// The name of a placeholder in a file without tensors, such as the state of an optimizer that has none: the safetensors
/// crate writes invalid JSON for a header of metadata alone.
const NOTHING: &str = ".nothing";

/// Writes `tensors` and `metadata` to `path` atomically: a reader at any time, also after a power cut, finds either the old
/// file or the whole new one.
///
/// # Errors
/// Fails if a tensor has a dtype other than float32, float64, bfloat16, float16, int64 and uint8, or if the folder cannot be
/// written to; the file that was at `path` is still there then.
pub fn write(path: &Path, tensors: &[(String, Tensor)], metadata: &Value) -> Result<()> {
    let on_cpu: Vec<_> =
        tensors.iter().map(|(name, t)| (name, t.detach().to_device(Device::Cpu).contiguous())).collect();
    let mut views = Vec::with_capacity(on_cpu.len());
    for (name, tensor) in &on_cpu {
        let kind = tensor.kind();
        let Some((_, dtype)) = DTYPES.iter().find(|(k, _)| *k == kind) else {
            return Err(Error::invalid(
                format!("the dtype of tensor {name}"),
                format!("{kind:?}"),
                DTYPE_NAMES,
            ));
        };
        let length = tensor.numel() * kind.elt_size_in_bytes();
        let data: &[u8] = match length {
            // An empty tensor has no memory to point to.
            0 => &[],
            // SAFETY: the tensor is contiguous, not empty, in host memory, and lives in `on_cpu` as long as the view.
            _ => unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), length) },
        };
        let shape = tensor.size().iter().map(|&d| d as usize).collect();
        views.push((name.as_str(), Bytes { dtype: *dtype, shape, data: Cow::Borrowed(data) }));
    }
    if views.is_empty() {
        views.push((NOTHING, Bytes { dtype: Dtype::U8, shape: vec![0], data: Cow::Borrowed(&[]) }));
    }
    let metadata = serde_json::to_string(metadata)
        .map_err(|source| Error::Json { what: "cannot write the metadata of a checkpoint".into(), source })?;
    let header = HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("format_version".to_owned(), FORMAT_VERSION.to_string()),
        (
            "sha256".to_owned(),
            digest(views.iter().map(|(name, v)| (*name, v.dtype, &*v.shape, &*v.data)), &metadata),
        ),
        ("metadata".to_owned(), metadata),
    ]);
    replace(path, |file| match serialize_to_file(views, &Some(header), file.path()) {
        Err(SafeTensorError::IoError(error)) => Err(Error::io("cannot write", path)(error)),
        done => {
            done.map_err(|error| {
                Error::malformed(path, format!("cannot write it as safetensors: {error:?}"))
            })?;
            sort_header(file.as_file_mut()).map_err(Error::io("cannot write", path))
        }
    })
}

/// Sorts the names in the header of a safetensors file, so that the same content is the same bytes. The crate writes the metadata in
/// the order of a hash map.
fn sort_header(file: &mut File) -> std::io::Result<()> {
    let mut length = [0; 8];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut length)?;
    let mut header = vec![0; u64::from_le_bytes(length) as usize];
    file.read_exact(&mut header)?;
    let parsed: BTreeMap<String, Value> = serde_json::from_slice(&header)?;
    let mut sorted = serde_json::to_vec(&parsed)?;
    // The header ends with spaces, so that the data is aligned.
    sorted.resize(header.len(), b' ');
    file.seek(SeekFrom::Start(length.len() as u64))?;
    file.write_all(&sorted)
}

/// Reads a file of [`write()`] and verifies its digest.
///
/// # Errors
/// Fails if the file is missing, cut off, damaged, not one of [`write()`], or of a later format.
pub fn read(path: &Path) -> Result<Contents> {
    parse(&load_bytes(path)?).map_err(|what| unusable(path, &what))
}

/// Parses the bytes of a file of [`write()`], as [`read`] does.
///
/// # Errors
/// Fails as [`read`] does, with a message that has no path.
pub fn parse(bytes: &[u8]) -> Result<Contents, String> {
    let (file, header) = deserialize(bytes)?;
    let field = |name: &str| {
        header.get(name).ok_or_else(|| {
            format!("it has no {name:?} in its metadata, so it is not a checkpoint of this library")
        })
    };
    let version = field("format_version")?;
    let format_version: u32 =
        version.parse().map_err(|_| format!("its format_version is {version:?}, expected a number"))?;
    if format_version == 0 {
        return Err("its format_version is 0, expected at least 1".into());
    }
    if format_version > FORMAT_VERSION {
        return Err(format!(
            "its format is version {format_version}, written by a newer program; expected at most version {FORMAT_VERSION}"
        ));
    }
    let metadata = field("metadata")?;
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let got = digest(views.iter().map(|(name, v)| (name.as_str(), v.dtype(), v.shape(), v.data())), metadata);
    if got != *field("sha256")? {
        return Err("its content does not match its digest, so it was damaged after it was written".into());
    }
    Ok(Contents {
        tensors: tensors(&views)?,
        metadata: serde_json::from_str(metadata)
            .map_err(|error| format!("its metadata is not JSON: {error}"))?,
        format_version,
    })
}

/// Reads the weights of a checkpoint, or of any other safetensors file, such as a PyTorch `state_dict` that
/// `safetensors.torch.save_file` wrote.
///
/// # Errors
/// Fails if the file is missing, cut off or damaged, or holds a tensor of an unknown dtype.
pub fn read_weights(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let bytes = load_bytes(path)?;
    let read = || -> Result<_, String> {
        let (file, header) = deserialize(&bytes)?;
        if is_own(&header) {
            parse(&bytes).map(|contents| contents.tensors)
        } else {
            tensors(&file.tensors())
        }
    };
    read().map_err(|what| unusable(path, &what))
}

/// Returns whether the file is one of [`write()`]. Two marks are tested, so that damage to one does not turn off the digest.
fn is_own(header: &HashMap<String, String>) -> bool {
    let has = |key| header.contains_key(key);
    header.get("format").is_some_and(|format| format == FORMAT) || has("format_version") && has("sha256")
}

pub(super) fn unusable(path: &Path, what: &str) -> Error {
    Error::malformed(
        path,
        format!("cannot use the checkpoint: {what}; use another checkpoint of the run, or train again"),
    )
}

fn deserialize(bytes: &[u8]) -> Result<(SafeTensors<'_>, HashMap<String, String>), String> {
    let length = header_length(bytes, bytes.len() as u64)?;
    check_size(&bytes[..8 + length], bytes.len() as u64)?;
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|error| format!("it is cut off or not a safetensors file ({error:?})"))?;
    let file =
        SafeTensors::deserialize(bytes).map_err(|error| format!("it is cut off or damaged ({error:?})"))?;
    Ok((file, header.metadata().clone().unwrap_or_default()))
}

fn tensors(views: &[(String, TensorView<'_>)]) -> Result<Vec<(String, Tensor)>, String> {
    let tensors = views.iter().filter(|(name, _)| name != NOTHING).map(|(name, view)| {
        let Some((kind, _)) = DTYPES.iter().find(|(_, dtype)| *dtype == view.dtype()) else {
            return Err(format!("tensor {name} has dtype {:?}, expected {DTYPE_NAMES}", view.dtype()));
        };
        let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, *kind);
        Ok((name.clone(), tensor.map_err(|error| format!("tensor {name}: {error}"))?))
    });
    tensors.collect()
}

/// Returns the digest of the names, dtypes, shapes and values of the tensors, in any order, and of the metadata.
fn digest<'a>(
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>,
    metadata: &str,
) -> String {
    let mut sorted: Vec<_> = tensors.collect();
    sorted.sort_by_key(|(name, ..)| *name);
    let mut hash = Sha256::new();
    for (name, dtype, shape, data) in sorted {
        hash.update(format!("{name} {dtype:?} {shape:?}\n"));
        hash.update(data);
    }
    hash.update(metadata);
    hex(hash)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;

    fn tensors() -> Vec<(String, Tensor)> {
        vec![
            ("b.weight".into(), Tensor::from_slice(&[1f32, -2.0, 3.5]).view([3, 1])),
            ("a".into(), Tensor::from_slice(&[1i64, 2])),
            ("c".into(), Tensor::from_slice(&[0.1f64])),
            ("empty".into(), Tensor::zeros([0, 3], tch::kind::FLOAT_CPU)),
        ]
    }

    #[test]
    fn read_written_file_returns_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &tensors(), &json!({"epoch": 3})).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read.metadata, json!({"epoch": 3}));
        for (name, tensor) in tensors() {
            let (_, got) = read.tensors.iter().find(|(n, _)| *n == name).unwrap();
            assert_eq!((got, got.kind(), got.size()), (&tensor, tensor.kind(), tensor.size()));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn read_file_without_tensors_returns_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &[], &json!({"epoch": 3})).unwrap();
        let read = read(&path).unwrap();
        assert_eq!((read.tensors, read.metadata), (vec![], json!({"epoch": 3})));
    }

    fn expected_copy(tensors: &[(String, Tensor)]) -> Vec<(String, Tensor)> {
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.copy())).collect()
    }

    #[test]
    fn read_weights_of_another_program_ignores_its_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        for key in ["sha256", "format_version", "metadata"] {
            let data = Cow::Borrowed(&[0, 0, 128, 63][..]);
            let view = Bytes { dtype: Dtype::F32, shape: vec![1], data };
            let header =
                [("format", "pt"), (key, "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            serialize_to_file([("weight", view)], &Some(header.into()), &path).unwrap();
            let weights = read_weights(&path).unwrap();
            assert_eq!(weights, [("weight".to_owned(), Tensor::from_slice(&[1f32]))], "{key}");
        }
    }

    #[test]
    fn read_weights_of_own_file_with_a_damaged_mark_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        for mark in ["format", "format_version", "sha256"] {
            write(&path, &tensors(), &json!({})).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let needle = format!("\"{mark}\"");
            let at = bytes.windows(needle.len()).position(|w| w == needle.as_bytes()).unwrap();
            bytes[at + 1] = b'X';
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(read_weights(&path).is_err(), "{mark}");
        }
    }

    #[test]
    fn parse_flipped_bit_or_cut_file_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &tensors(), &json!({"epoch": 3})).unwrap();
        let good = fs::read(&path).unwrap();
        let expected = parse(&good).unwrap().tensors;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            // A change that is not an error, such as other white space in the header's padding, has no effect.
            if let Ok(read) = parse(&bad) {
                assert_eq!(
                    (read.tensors, read.metadata),
                    (expected_copy(&expected), json!({"epoch": 3})),
                    "byte {at}"
                );
            }
        }
        for length in 0..good.len() {
            assert!(parse(&good[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn parse_later_format_fails_with_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &tensors(), &json!({})).unwrap();
        let text = fs::read(&path).unwrap();
        let needle = br#""format_version":"2""#;
        let at = text.windows(needle.len()).position(|w| w == needle).unwrap();
        let mut newer = text.clone();
        newer[at + needle.len() - 2] = b'9';
        let error = parse(&newer).unwrap_err();
        assert!(error.contains("version 9") && error.contains("newer"), "{error}");
    }

    #[test]
    fn written_file_of_the_same_content_is_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            write(&path, &tensors(), &json!({"b": 1, "a": {"d": "\u{e9}\n\"", "c": null}})).unwrap();
            assert!(read(&path).is_ok());
            fs::read(path).unwrap()
        };
        let first = write("0");
        (1..8).for_each(|name| assert!(write(&name.to_string()) == first));
    }
}
