//! The versions of this program and of libtorch.

use std::fs;
use std::path::Path;

/// The folder of libtorch's libraries when this program was built.
pub const LIBTORCH_LIB: Option<&str> = option_env!("LIBTORCH_LIB");

/// Returns libtorch's version, from the files beside its libraries.
pub fn libtorch() -> String {
    let folder = LIBTORCH_LIB.and_then(|lib| Path::new(lib).parent());
    let read = |name: &str| fs::read_to_string(folder?.join(name)).ok();
    let quoted = read("version.py")
        .and_then(|text| Some(text.split("__version__ = '").nth(1)?.split('\'').next()?.to_owned()));
    quoted
        .or_else(|| Some(read("build-version")?.trim().to_owned()))
        .unwrap_or_else(|| "of unknown version".into())
}
