//! Tests of the library through its public interface, in one binary.

#[cfg(feature = "cli")]
mod config;
mod download;
mod example;
mod mnist;
mod optim;
mod pytorch;
mod recognizer;
mod server;
