//! Tests of the library through its public interface, in one binary.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(feature = "cli")]
mod config;
mod download;
mod example;
mod mnist;
mod optim;
mod pytorch;
mod recognizer;
mod server;
