//! The engine of the fuzz tests: files of a corpus, random edits, and the largest allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use text_recognizer::rng::Stream;

use crate::lab::{files, report};

/// The allocator of the system, which records the largest allocation.
struct Watched;

thread_local! {
    /// The largest allocation of the test in this thread, in bytes.
    pub static LARGEST: Cell<usize> = const { Cell::new(0) };
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

/// Returns the number of inputs of a test: `usual`, or the variable FUZZ_INPUTS.
pub fn inputs(usual: u32) -> u32 {
    std::env::var("FUZZ_INPUTS").map_or(usual, |inputs| inputs.parse().unwrap())
}

/// Returns the random numbers of a test: the same in every run, or those of the variable FUZZ_SEED.
pub fn random(usual: u64) -> Stream {
    Stream::new(std::env::var("FUZZ_SEED").map_or(usual, |seed| seed.parse().unwrap()))
}

/// Returns the files of a folder of `tests/corpus`.
pub fn corpus(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let corpus: Vec<PathBuf> = files(&folder).into_iter().map(|name| folder.join(name)).collect();
    assert!(!corpus.is_empty(), "there is no corpus in {}", folder.display());
    corpus
}

/// Gives `target` damaged copies of the files of a corpus. `target` returns whether it accepted its input. A panic fails the test
/// with the input. All allocations must stay below `memory` bytes.
pub fn fuzz(folder: &str, usual: u32, memory: usize, target: impl Fn(&[u8]) -> bool) {
    let corpus: Vec<Vec<u8>> = corpus(folder).iter().map(|path| fs::read(path).unwrap()).collect();
    let (count, mut random) = (inputs(usual), random(usual.into()));
    let mut accepted = 0;
    LARGEST.set(0);
    for input in 0..count {
        let mut bytes = corpus[input as usize % corpus.len()].clone();
        // The first inputs are the files themselves.
        if input as usize >= corpus.len() {
            mutate(&mut bytes, &mut random);
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
        let outcome = outcome.unwrap_or_else(|panic| {
            report(&format!("{folder}: panic for the input {:?}", String::from_utf8_lossy(&bytes)));
            resume_unwind(panic)
        });
        accepted += u32::from(outcome);
    }
    let largest = LARGEST.get();
    assert!(largest < memory, "{folder}: an allocation of {largest} bytes, expected less than {memory}");
    assert!(accepted > 0, "{folder}: no input was accepted, also not the corpus");
    report(&format!(
        "{folder}: {count} damaged inputs, {accepted} accepted; largest allocation {largest} bytes"
    ));
}

/// Makes one to four random edits: flips a bit, sets a byte, cuts the end, removes or repeats a range, changes the header length,
/// enlarges a number, or inserts a character.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Stream) {
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
