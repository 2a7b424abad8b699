//! The size of a safetensors file, which is checked before memory is taken for its tensors.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::file::unusable;
use crate::error::{Error, Result};

/// The most bytes of a header, as in the safetensors crate.
const MAX_HEADER: u64 = 100_000_000;

/// Reads a file after the comparison of its size with the size that its header declares, and with the free memory.
pub(super) fn load_bytes(path: &Path) -> Result<Vec<u8>> {
    let failed = || Error::io("cannot read checkpoint", path);
    let other = |what: &str| Err(failed()(std::io::Error::other(what)));
    let metadata = fs::metadata(path).map_err(failed())?;
    // Opening a pipe can block forever.
    if !metadata.is_file() {
        return other(if metadata.is_dir() {
            "found a folder, expected a file"
        } else {
            "expected a regular file"
        });
    }
    let mut file = File::open(path).map_err(failed())?.take(metadata.len());
    let mut bytes = Vec::new();
    let mut read =
        |bytes: &mut Vec<u8>, count: u64| file.by_ref().take(count).read_to_end(bytes).map_err(failed());
    read(&mut bytes, 8)?;
    let header = header_length(&bytes, metadata.len()).map_err(|what| unusable(path, &what))?;
    read(&mut bytes, header as u64)?;
    check_size(&bytes, metadata.len()).map_err(|what| unusable(path, &what))?;
    if available_memory().is_some_and(|memory| metadata.len() > memory) {
        return other(&format!("it has {} bytes, and the machine has less free memory", metadata.len()));
    }
    bytes
        .try_reserve_exact(metadata.len() as usize - bytes.len())
        .map_err(|_| failed()(ErrorKind::OutOfMemory.into()))?;
    read(&mut bytes, u64::MAX)?;
    Ok(bytes)
}

/// Returns the length of the header of a safetensors file of `stored` bytes. `start` has its first bytes.
pub(super) fn header_length(start: &[u8], stored: u64) -> Result<usize, String> {
    let length = start.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let fits = |length: &u64| length.checked_add(8).is_some_and(|end| end <= stored) && *length <= MAX_HEADER;
    length.filter(fits).map(|length| length as usize).ok_or_else(|| {
        let length =
            length.map_or("no length of a header".into(), |length| format!("a header of {length} bytes"));
        format!("it is cut off or not a safetensors file: found {length} in {stored} bytes")
    })
}

/// Checks that a safetensors file of `stored` bytes has the size that its header declares. `start` has the header. The rest of
/// the header is left to the safetensors crate, which does not expect sums above 2^64.
pub(super) fn check_size(start: &[u8], stored: u64) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Entry {
        data_offsets: Option<Value>,
    }
    let header = &start[8..];
    let Ok(entries) = serde_json::from_slice::<HashMap<String, Entry>>(header) else { return Ok(()) };
    let ends = entries.values().filter_map(|entry| entry.data_offsets.as_ref()?.get(1)?.as_u64());
    let end = ends.max().unwrap_or(0);
    match end.checked_add(start.len() as u64) {
        Some(declared) if declared == stored => Ok(()),
        _ => Err(format!(
            "it is cut off or damaged: its header declares {end} bytes of tensors, found {}",
            stored - start.len() as u64
        )),
    }
}

/// Returns the bytes of memory that programs can still take, if the operating system reports it.
fn available_memory() -> Option<u64> {
    let report = fs::read_to_string("/proc/meminfo").ok()?;
    let line = report.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::file::{parse, read, read_weights};
    use super::*;

    /// Returns a file with this header and 8 bytes of tensors.
    fn file(header: &str) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 8]].concat()
    }

    #[test]
    fn read_file_of_another_size_than_declared_fails_before_it_takes_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let entry = |shape: &str, end: u64| {
            format!(r#"{{"a":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,{end}]}}}}"#)
        };
        let max = u64::MAX.to_string();
        for (bytes, expected) in [
            (vec![], "found no length of a header in 0 bytes"),
            (vec![1, 2, 3], "found no length of a header in 3 bytes"),
            (u64::MAX.to_le_bytes().to_vec(), "found a header of 18446744073709551615 bytes in 8 bytes"),
            ([1u64 << 40, 7].map(u64::to_le_bytes).concat(), "found a header of 1099511627776 bytes in 16"),
            (file(&entry("9408000016", 9_408_000_016)), "declares 9408000016 bytes of tensors, found 8"),
            (file(&entry("7", 7)), "declares 7 bytes of tensors, found 8"),
            (file(&entry(&max, u64::MAX)), "declares 18446744073709551615 bytes of tensors, found 8"),
            (file(&entry(&max, u64::MAX - 8)), "bytes of tensors, found 8"),
        ] {
            fs::write(&path, &bytes).unwrap();
            let errors = [read(&path).map(|_| ()), read_weights(&path).map(|_| ())];
            for error in errors.map(|read| read.unwrap_err().to_string()) {
                assert!(error.contains("a.safetensors: cannot use") && error.contains(expected), "{error}");
            }
            assert!(parse(&bytes).unwrap_err().contains(expected));
        }
        fs::write(&path, file(&entry("8", 8))).unwrap();
        assert_eq!(read_weights(&path).unwrap().len(), 1);
    }

    /// A sparse file takes no space on the disk.
    #[test]
    fn read_file_larger_than_the_memory_fails() {
        let Some(memory) = available_memory() else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let tensors = memory + (1 << 40);
        let header = format!(r#"{{"a":{{"dtype":"U8","shape":[{tensors}],"data_offsets":[0,{tensors}]}}}}"#);
        let bytes = file(&header);
        fs::write(&path, &bytes).unwrap();
        let sparse = File::options().write(true).open(&path).unwrap();
        // Some file systems have no files of this size.
        if sparse.set_len(bytes.len() as u64 - 8 + tensors).is_ok() {
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("less free memory"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn read_path_that_is_no_regular_file_fails_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, expected) in [
            (folder.path(), "found a folder"),
            (&pipe, "expected a regular file"),
            (Path::new("/dev/zero"), "expected a regular file"),
        ] {
            let error = read_weights(path).unwrap_err().to_string();
            assert!(error.starts_with("cannot read checkpoint ") && error.contains(expected), "{error}");
        }
    }
}
