//! Adds libtorch's folder to the run path of this package's binaries, so that they start without `LD_LIBRARY_PATH`.
//!
//! Link arguments apply to one package only. A package that depends on this one passes them on in its own build script, from
//! `DEP_TEXT_RECOGNIZER_LINK_ARGS` (see `training/build.rs`).

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
        "cannot find libtorch, which was at {} before; try `cargo clean -p torch-sys` and build again, which finds or \
         downloads it",
        lib.display()
    );
    let mut args = vec![format!("-Wl,-rpath,{}", lib.display())];
    // No code refers to libtorch_cuda by name, so a linker drops it, and CUDA is then silently absent.
    if lib.join("libtorch_cuda.so").exists() {
        args.extend(["-Wl,--no-as-needed", "-ltorch_cuda", "-Wl,--as-needed"].map(String::from));
    }
    for arg in &args {
        println!("cargo::rustc-link-arg={arg}");
    }
    println!("cargo::metadata=LINK_ARGS={}", args.join(";"));
    println!("cargo::metadata=LIBTORCH_LIB={}", lib.display());
}
