//! Tests of the library through its public interface, in one binary.

#[cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod config;
mod download;
mod example;
mod mnist;
mod optim;
mod pytorch;
mod recognizer;
mod server;
