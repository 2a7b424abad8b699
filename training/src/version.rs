//! The versions of this program and of libtorch.

use std::fs;
use std::path::Path;

/// The folder of libtorch's libraries at build time.
pub const LIBTORCH_LIB: Option<&str> = option_env!("LIBTORCH_LIB");

/// Returns the version of libtorch, from the files next to its libraries, or `of unknown version`.
pub fn libtorch() -> String {
    let folder = LIBTORCH_LIB.and_then(|lib| Path::new(lib).parent());
    let read = |name: &str| fs::read_to_string(folder?.join(name)).ok();
    let quoted = read("version.py")
        .and_then(|text| Some(text.split("__version__ = '").nth(1)?.split('\'').next()?.to_owned()));
    quoted
        .or_else(|| Some(read("build-version")?.trim().to_owned()))
        .unwrap_or_else(|| "of unknown version".into())
}
