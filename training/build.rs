//! Passes the link arguments for libtorch, which the build script of `text_recognizer` found, to this package.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(arg) = env::var("DEP_TEXT_RECOGNIZER_LINK_ARG") {
        println!("cargo::rustc-link-arg={arg}");
    }
    if let Ok(lib) = env::var("DEP_TEXT_RECOGNIZER_LIBTORCH_LIB") {
        println!("cargo::rustc-env=LIBTORCH_LIB={lib}");
    }
}
