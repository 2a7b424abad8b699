//! Fuzz tests of the readers of checkpoints and IDX files. For any bytes they return tensors or an error, without a panic and
//! without large allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use safetensors::Dtype;
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::Tensor;
use text_recognizer::checkpoint::{parse, write};
use text_recognizer::data::parse_idx;
use text_recognizer::rng::Stream;

/// The allocator of the system, which records the largest allocation.
struct Watched;

thread_local! {
    /// The largest allocation of the test in this thread, in bytes.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes unchanged to the allocator of the system.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's guarantee holds for the same call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's guarantee holds for the same call.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

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

/// Makes one to four random edits: flips a bit, sets a byte, cuts the end, removes or repeats a range, changes the header length,
/// enlarges a number, or inserts a character.
fn mutate(bytes: &mut Vec<u8>, random: &mut Stream) {
    for _ in 0..1 + random.below(4) {
        let length = bytes.len() as u64;
        if length == 0 {
            return;
        }
        let at = random.below(length) as usize;
        let end = (at + 1 + random.below(16) as usize).min(bytes.len());
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch);
            }
            // Sets the length of the header, from 1 to 2^63.
            5 if length >= 8 => {
                let header = 1u64 << random.below(64);
                bytes[..8].copy_from_slice(&header.to_le_bytes());
            }
            // Replaces a digit of a shape or an offset by many digits.
            6 => {
                if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                    let digits = "9".repeat(1 + random.below(22) as usize).into_bytes();
                    bytes.splice(at + digit..=at + digit, digits);
                }
            }
            _ => bytes.insert(at, b"{}[]\",:\\-0"[random.below(10) as usize]),
        }
    }
}

#[test]
fn parse_of_damaged_checkpoint_returns_the_same_tensors_or_an_error() {
    const INPUTS: u32 = 30_000;
    let good = good_file();
    let expected = parse(&good).unwrap();
    let mut random = Stream::new(2024);
    let mut read = 0;
    LARGEST.set(0);
    for input in 0..INPUTS {
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
    assert!(read < INPUTS / 10, "{read} of {INPUTS} damaged files were read");
    crate::lab::report(&format!(
        "checkpoint reader: {INPUTS} damaged files, {read} harmless; largest allocation {largest} bytes"
    ));
}

/// The files have a correct digest and impossible or unusual content, like files of a hostile or another program.
#[test]
fn parse_of_correct_digest_with_odd_content_returns_the_shape_or_an_error() {
    const INPUTS: u32 = 5_000;
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
    let mut random = Stream::new(7);
    let mut pick = |count: usize| random.below(count as u64) as usize;
    let mut read = 0;
    for _ in 0..INPUTS {
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
        "checkpoint reader: {INPUTS} files with a correct digest, {read} of them valid"
    ));
}

/// The inputs are damaged copies of three images, raw and gzipped, and headers with impossible shapes.
#[test]
fn parse_idx_of_damaged_file_returns_a_small_tensor_or_an_error() {
    const INPUTS: u32 = 40_000;
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
    let mut random = Stream::new(28);
    let mut read = 0;
    LARGEST.set(0);
    for input in 0..INPUTS {
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
    assert!(read < INPUTS / 2, "{read} of {INPUTS} damaged files were read");
    crate::lab::report(&format!(
        "IDX parser: {INPUTS} damaged files, {read} still well-formed; largest allocation {largest} bytes"
    ));
}
