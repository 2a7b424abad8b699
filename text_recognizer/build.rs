//! Lets what a crate links find libtorch when it starts, without `LD_LIBRARY_PATH`, and know where that is.
//!
//! Link arguments reach the targets of one package only. Those of a package that depends on this one get them from its own
//! build script, which finds them in `DEP_TEXT_RECOGNIZER_LINK_ARGS` (see `training/build.rs`).

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
    let mut args = vec![format!("-Wl,-rpath,{}", lib.display())];
    // Nothing calls into libtorch_cuda by name, so a linker drops it, and CUDA is then silently absent.
    if lib.join("libtorch_cuda.so").exists() {
        args.extend(["-Wl,--no-as-needed", "-ltorch_cuda", "-Wl,--as-needed"].map(String::from));
    }
    for arg in &args {
        println!("cargo::rustc-link-arg={arg}");
    }
    println!("cargo::metadata=LINK_ARGS={}", args.join(";"));
    println!("cargo::metadata=LIBTORCH_LIB={}", lib.display());
}
