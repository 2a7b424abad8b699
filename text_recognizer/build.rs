//! Lets the programs of this package, and of packages that depend on it, find libtorch when they start.
//!
//! - `cargo run` and `cargo test` of any package find it through the library path that Cargo sets: it has the search paths of all
//!   build scripts that lie in the target folder, so there is a link to libtorch's folder.
//! - A program that is started without Cargo needs a link argument, and link arguments reach the targets of one package only. A
//!   package that depends on this one takes it from `DEP_TEXT_RECOGNIZER_LINK_ARG` in a build script of one line (see
//!   `training/build.rs` and docs/library.md).

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    // Absent only if torch-sys is built for its documentation alone.
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    println!("cargo::rerun-if-changed={}", Path::new(&lib).display());
    // The folder behind a link, which may be changed later.
    let Ok(lib) = Path::new(&lib).canonicalize() else {
        panic!(
            "cannot find libtorch, which was at {} before; try `cargo clean -p torch-sys` and build again, which finds or \
             downloads it",
            Path::new(&lib).display()
        )
    };
    let lib = lib.as_path();
    link_for_cargo(lib);
    let mut arg = format!("-Wl,-rpath,{}", lib.display());
    // No code refers to libtorch_cuda by name, so a linker drops it, and CUDA is then silently absent.
    if lib.join("libtorch_cuda.so").exists() {
        arg += ",--no-as-needed,-ltorch_cuda,--as-needed";
    }
    println!("cargo::rustc-link-arg={arg}");
    println!("cargo::metadata=LINK_ARG={arg}");
    println!("cargo::metadata=LIBTORCH_LIB={}", lib.display());
}

/// Puts libtorch's folder into the library path of `cargo run` and `cargo test`.
#[cfg(unix)]
fn link_for_cargo(lib: &Path) {
    let Some(out) = env::var_os("OUT_DIR") else { return };
    let link = PathBuf::from(out).join("libtorch");
    let _ = fs::remove_file(&link);
    match std::os::unix::fs::symlink(lib, &link) {
        Ok(()) => println!("cargo::rustc-link-search=native={}", link.display()),
        Err(error) => println!("cargo::warning=cannot link {} to {}: {error}", link.display(), lib.display()),
    }
}

#[cfg(not(unix))]
fn link_for_cargo(_lib: &Path) {}
