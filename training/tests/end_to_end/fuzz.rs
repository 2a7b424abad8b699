//! Fuzz tests of all readers. For any bytes they return a value or an error, without a panic and without large allocations.
//!
//! The inputs are damaged files, the same in every run. The variable FUZZ_INPUTS sets their number per reader, and FUZZ_SEED others:
//! `FUZZ_INPUTS=1000000 FUZZ_SEED=5 cargo test -p training --test end_to_end fuzz`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use safetensors::Dtype;
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::Tensor;
use text_recognizer::checkpoint::{parse, write};
use text_recognizer::data::parse_idx;

mod engine;
mod files;
mod texts;

use engine::{LARGEST, inputs, mutate, random};

fn good_file() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let tensors = vec![
        ("fc1.weight".to_owned(), Tensor::from_slice(&[1f32, -2.0, 3.5, 0.0]).view([2, 2])),
        ("fc1.bias".to_owned(), Tensor::from_slice(&[0.5f64])),
        ("steps".to_owned(), Tensor::from_slice(&[7i64, 8])),
    ];
    write(&path, &tensors, &json!({"epoch": 3, "config": {"model": "mlp", "lr": 0.001}})).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn parse_of_damaged_checkpoint_returns_the_same_tensors_or_an_error() {
    let count = inputs(30_000);
    let good = good_file();
    let expected = parse(&good).unwrap();
    let mut random = random(2024);
    let mut read = 0;
    LARGEST.set(0);
    for input in 0..count {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut random);
        // Some edits are harmless, such as white space in the header. The content must then be the same.
        if let Ok(contents) = parse(&bytes) {
            assert_eq!(
                (&contents.tensors, &contents.metadata),
                (&expected.tensors, &expected.metadata),
                "{input}"
            );
            read += 1;
        }
    }
    let largest = LARGEST.get();
    assert!(largest < 64 * 1024, "an allocation of {largest} bytes for a file of {}", good.len());
    assert!(read < count / 10, "{read} of {count} damaged files were read");
    crate::lab::report(&format!(
        "checkpoint reader: {count} damaged files, {read} harmless; largest allocation {largest} bytes"
    ));
}

/// The files have a correct digest and impossible or unusual content, like files of a hostile or another program.
#[test]
fn parse_of_correct_digest_with_odd_content_returns_the_shape_or_an_error() {
    let count = inputs(5_000);
    let kinds = [
        Dtype::BOOL,
        Dtype::U8,
        Dtype::I8,
        Dtype::I16,
        Dtype::U16,
        Dtype::F16,
        Dtype::BF16,
        Dtype::I32,
        Dtype::U32,
        Dtype::F32,
        Dtype::F64,
        Dtype::I64,
        Dtype::U64,
    ];
    let sizes = [0, 1, 2, 3, 1 << 31, 1 << 62, 1 << 63, usize::MAX];
    let metadata = ["null", "{}", "[1]", "", "{", "\"x\"", "1e999", "{\"a\":{\"a\":{}}}"];
    let mut random = random(7);
    let mut pick = |count: usize| random.below(count as u64) as usize;
    let mut read = 0;
    for _ in 0..count {
        let (kind, metadata) = (kinds[pick(kinds.len())], metadata[pick(metadata.len())]);
        let shape: Vec<usize> = (0..pick(5)).map(|_| sizes[pick(sizes.len())]).collect();
        let count = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let data = vec![7; count.unwrap_or(0).min(64) * kind.size()];
        let mut hash = Sha256::new();
        hash.update(format!("a {kind:?} {shape:?}\n"));
        hash.update(&data);
        hash.update(metadata);
        let header = json!({
            "__metadata__": {
                "format_version": "1",
                "metadata": metadata,
                "sha256": format!("{:x}", hash.finalize()),
            },
            "a": {"dtype": format!("{kind:?}"), "shape": shape, "data_offsets": [0, data.len()]},
        });
        let header = header.to_string();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
        if let Ok(contents) = parse(&bytes) {
            let got: Vec<usize> = contents.tensors[0].1.size().iter().map(|&size| size as usize).collect();
            assert_eq!(got, shape);
            read += 1;
        }
    }
    assert!(read > 0, "no file was read: this test and the reader compute different digests");
    crate::lab::report(&format!(
        "checkpoint reader: {count} files with a correct digest, {read} of them valid"
    ));
}

/// The inputs are damaged copies of three images, raw and gzipped, and headers with impossible shapes.
#[test]
fn parse_idx_of_damaged_file_returns_a_small_tensor_or_an_error() {
    let count = inputs(40_000);
    let header = |dims: &[u32]| -> Vec<u8> {
        let dims_bytes = dims.iter().flat_map(|dim| dim.to_be_bytes());
        [0, 0, 8, dims.len() as u8].into_iter().chain(dims_bytes).collect()
    };
    let raw: Vec<u8> =
        header(&[3, 28, 28]).into_iter().chain((0..3 * 28 * 28).map(|i| (i % 251) as u8)).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&raw).unwrap();
    let gzipped = encoder.finish().unwrap();
    let good = parse_idx(&raw, "raw").unwrap();
    assert_eq!(good, parse_idx(&gzipped, "gzipped").unwrap());
    let mut random = random(28);
    let mut read = 0;
    LARGEST.set(0);
    for input in 0..count {
        let bytes = match input % 3 {
            0 | 1 => {
                let mut bytes = [&raw, &gzipped][input as usize % 3].clone();
                mutate(&mut bytes, &mut random);
                bytes
            }
            _ => {
                let sizes = [0, 1, 3, 28, 1 << 16, 1 << 31, u32::MAX];
                let dims: Vec<u32> = (0..random.below(9)).map(|_| sizes[random.below(7) as usize]).collect();
                let rest = raw[16..16 + random.below(1024) as usize].iter().copied();
                header(&dims).into_iter().chain(rest).collect()
            }
        };
        // Another pixel value is valid. A tensor larger than the file is an error of the reader.
        if let Ok(tensor) = parse_idx(&bytes, "damaged") {
            assert!(tensor.numel() <= 2 * raw.len(), "{input}: {:?} of {} bytes", tensor.size(), bytes.len());
            read += 1;
        }
    }
    let largest = LARGEST.get();
    assert!(largest < 256 * 1024, "an allocation of {largest} bytes for a file of {}", raw.len());
    assert!(read < count / 2, "{read} of {count} damaged files were read");
    crate::lab::report(&format!(
        "IDX parser: {count} damaged files, {read} still well-formed; largest allocation {largest} bytes"
    ));
}
