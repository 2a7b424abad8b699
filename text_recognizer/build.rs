//! Lets what a crate of the workspace links find libtorch when it starts, without `LD_LIBRARY_PATH`, and know where that is.

use std::{env, path::Path};

fn main() {
    // Absent only when torch-sys is built for its documentation alone.
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    let lib = Path::new(&lib);
    println!("cargo::rerun-if-changed={}", lib.display());
    assert!(
        lib.is_dir(),
        "libtorch was at {} and is there no more: run `cargo clean -p torch-sys` and build again, which finds or \
         fetches it anew",
        lib.display()
    );
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo::rustc-env=LIBTORCH_LIB={}", lib.display());
    // Nothing calls into libtorch_cuda by name, so a linker drops it, and CUDA is then silently absent.
    if lib.join("libtorch_cuda.so").exists() {
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo::rustc-link-arg=-ltorch_cuda");
        println!("cargo::rustc-link-arg=-Wl,--as-needed");
    }
}
