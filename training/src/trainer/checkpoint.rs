//! Checkpoints: safetensors files that are whole or absent, and that say when they are damaged.
//!
//! A checkpoint holds the weights under the names that a PyTorch `state_dict` of the same model has, and in its
//! metadata the run's configuration. What only a resumed run needs (the optimiser's tensors, the loop's position) lies
//! in a second file that the metadata names: so the weights load elsewhere as they are. The second file is written
//! first, under a name that no other step uses; the rename of the first is the moment the checkpoint exists.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View, serialize_to_file};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};
use tempfile::NamedTempFile;

/// Raised when a file of this version can no longer be read by an older program.
pub const FORMAT_VERSION: u32 = 1;

/// What is in a checkpoint file.
#[derive(Debug)]
pub struct Contents {
    /// Named tensors, on the CPU.
    pub tensors: Vec<(String, Tensor)>,
    /// Free-form metadata of the writer.
    pub metadata: Value,
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

/// Stands for a file without tensors, such as the state of an optimiser that has none: the crate writes a header of
/// metadata alone as broken JSON.
const NOTHING: &str = ".nothing";

/// Writes `tensors` and `metadata` to `path`, so that a reader at any moment, also after a power cut, finds either
/// what was there before or all of this.
///
/// # Errors
/// When the folder cannot be written to; what was at `path` is still there then.
pub fn write(path: &Path, tensors: &[(String, Tensor)], metadata: &Value) -> Result<()> {
    let on_cpu: Vec<_> =
        tensors.iter().map(|(name, t)| (name, t.detach().to_device(Device::Cpu).contiguous())).collect();
    let mut views = Vec::with_capacity(on_cpu.len());
    for (name, tensor) in &on_cpu {
        let kind = tensor.kind();
        let Some((_, dtype)) = DTYPES.iter().find(|(k, _)| *k == kind) else {
            bail!("tensor {name} of kind {kind:?} has no place in a safetensors file");
        };
        let length = tensor.numel() * kind.elt_size_in_bytes();
        let data: &[u8] = match length {
            // An empty tensor has no memory to point to.
            0 => &[],
            // SAFETY: a contiguous tensor in host memory, which outlives the view.
            _ => unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), length) },
        };
        let shape = tensor.size().iter().map(|&d| d as usize).collect();
        views.push((name.as_str(), Bytes { dtype: *dtype, shape, data: Cow::Borrowed(data) }));
    }
    if views.is_empty() {
        views.push((NOTHING, Bytes { dtype: Dtype::U8, shape: vec![0], data: Cow::Borrowed(&[]) }));
    }
    let metadata = serde_json::to_string(metadata)?;
    let header = HashMap::from([
        ("format".to_owned(), "text_recognizer".to_owned()),
        ("format_version".to_owned(), FORMAT_VERSION.to_string()),
        (
            "sha256".to_owned(),
            digest(views.iter().map(|(name, v)| (*name, v.dtype, &*v.shape, &*v.data)), &metadata),
        ),
        ("metadata".to_owned(), metadata),
    ]);
    replace(path, |file| match serialize_to_file(views, &Some(header), file.path()) {
        Err(SafeTensorError::IoError(error)) => Err(error.into()),
        done => done.context("serialising the checkpoint"),
    })
}

/// Writes `bytes` to `path` by way of a temporary file beside it, synced before it takes the name.
///
/// # Errors
/// When the folder cannot be written to; what was at `path` is still there then.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |file| Ok(file.write_all(bytes)?))
}

fn replace(path: &Path, fill: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> Result<()> {
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
        fill(&mut file)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.as_file().sync_all()?;
        // The file that a refusal carries would live as long as the error.
        file.persist(path).map_err(|refused| refused.error)?;
        // The rename itself is on disk only once the folder is.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// What a killed process may leave behind begins with this.
pub const TEMPORARY: &str = ".tmp-";

/// Reads a checkpoint file and checks that nothing in it was changed.
///
/// # Errors
/// When the file is missing, cut off, damaged, not one of ours, or of a later format.
pub fn read(path: &Path) -> Result<Contents> {
    let bytes = fs::read(path).with_context(|| format!("reading checkpoint {}", path.display()))?;
    parse(&bytes).with_context(|| {
        format!("{} cannot be used; use another checkpoint of the run, or train again", path.display())
    })
}

/// As [`read`], from memory.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8]) -> Result<Contents> {
    let (_, header) = SafeTensors::read_metadata(bytes)
        .map_err(|e| anyhow::anyhow!("it is cut off or not a safetensors file ({e:?})"))?;
    let file =
        SafeTensors::deserialize(bytes).map_err(|e| anyhow::anyhow!("it is cut off or damaged ({e:?})"))?;
    let header = header.metadata().clone().unwrap_or_default();
    let field =
        |name: &str| header.get(name).with_context(|| format!("it has no {name:?}: it is not one of ours"));
    let version: u32 = field("format_version")?.parse().context("its format_version is not a number")?;
    ensure!(
        version <= FORMAT_VERSION,
        "its format is version {version}, this program reads up to {FORMAT_VERSION}: it was written by a newer one"
    );
    let metadata = field("metadata")?;
    let mut views = file.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let got = digest(views.iter().map(|(name, v)| (name.as_str(), v.dtype(), v.shape(), v.data())), metadata);
    ensure!(
        got == *field("sha256")?,
        "its content does not match its digest: it was damaged after it was written"
    );
    let tensors = views.iter().filter(|(name, _)| name != NOTHING).map(|(name, view)| {
        let Some((kind, _)) = DTYPES.iter().find(|(_, dtype)| *dtype == view.dtype()) else {
            bail!("tensor {name} is of kind {:?}, which is not read", view.dtype());
        };
        let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        Ok((name.clone(), Tensor::f_from_data_size(view.data(), &shape, *kind)?))
    });
    Ok(Contents {
        tensors: tensors.collect::<Result<_>>()?,
        metadata: serde_json::from_str(metadata).context("its metadata cannot be parsed")?,
    })
}

/// The digest of everything that matters: names, kinds, shapes, values and metadata. The order of tensors does not.
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
    format!("{:x}", hash.finalize())
}

/// Writes a checkpoint that a run can continue from: `weights` at `path`, and `state` (with `state_tensors`) in a file
/// beside it whose name ends in `moment`, a number that no other moment of the run has.
///
/// # Errors
/// When the folder cannot be written to; the checkpoint before is whole then.
pub fn write_with_state(
    path: &Path,
    weights: &[(String, Tensor)],
    mut metadata: Value,
    state_tensors: &[(String, Tensor)],
    state: &Value,
    moment: u64,
) -> Result<()> {
    let folder = path.parent().context("a checkpoint lies in a folder")?;
    let name = format!("{STATE}{moment}.safetensors");
    write(&path.with_file_name(&name), state_tensors, state)?;
    metadata["state"] = name.clone().into();
    write(path, weights, &metadata)?;
    // Only now is the state before of no use to anybody.
    for entry in fs::read_dir(folder)?.flatten() {
        let other = entry.file_name();
        if other.to_string_lossy().starts_with(STATE) && other.to_string_lossy() != name {
            fs::remove_file(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

const STATE: &str = "last.state-";

/// Reads what [`write_with_state`] wrote: the weights, and the state.
///
/// # Errors
/// As [`read`], and when the checkpoint holds weights alone.
pub fn read_with_state(path: &Path) -> Result<(Contents, Contents)> {
    let contents = read(path)?;
    let name = contents.metadata["state"].as_str().filter(|name| !name.contains(['/', '\\'])).with_context(|| {
        format!("{} holds weights alone: --resume wants a run's last checkpoint, --load_checkpoint starts a new run from it", path.display())
    })?;
    let state = read(&path.with_file_name(name))?;
    Ok((contents, state))
}

#[cfg(test)]
mod tests {
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
    fn what_is_written_is_read() {
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
    fn a_file_without_tensors_is_read() {
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
    fn every_flipped_bit_and_every_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &tensors(), &json!({"epoch": 3})).unwrap();
        let good = fs::read(&path).unwrap();
        let expected = parse(&good).unwrap().tensors;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            // What still reads, such as another kind of white space in the header's padding, reads the same.
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
    fn a_later_format_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &tensors(), &json!({})).unwrap();
        let text = fs::read(&path).unwrap();
        let needle = br#""format_version":"1""#;
        let at = text.windows(needle.len()).position(|w| w == needle).unwrap();
        let mut newer = text.clone();
        newer[at + needle.len() - 2] = b'9';
        let error = format!("{:#}", parse(&newer).unwrap_err());
        assert!(error.contains("version 9") && error.contains("newer"), "{error}");
    }
}
