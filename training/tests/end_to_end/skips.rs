//! Counts the tests that this machine cannot run, and prints them after the results of all tests.

use std::io::Write;
use std::sync::Mutex;

static SKIPPED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Counts the current test as skipped because of `reason`, something that cannot be installed.
pub fn skip(reason: &str) {
    // The harness names each thread after its test.
    let thread = std::thread::current();
    let mut skipped = SKIPPED.lock().unwrap();
    if skipped.is_empty() {
        // SAFETY: `print_skipped` is a function without arguments that does not unwind, and it stays loaded until the process
        // ends.
        unsafe { libc::atexit(print_skipped) };
    }
    skipped.push(format!("{}: {reason}", thread.name().unwrap_or("a test")));
}

/// Counts the current test as skipped because a package is missing. The test fails instead if the variable REQUIRE_ALL_TESTS is
/// set, as in CI.
pub fn skip_without_package(reason: &str) {
    assert!(std::env::var_os("REQUIRE_ALL_TESTS").is_none(), "REQUIRE_ALL_TESTS is set, and {reason}");
    skip(reason);
}

extern "C" fn print_skipped() {
    // A panic must not leave this function.
    let Ok(skipped) = SKIPPED.lock() else { return };
    let tests = if skipped.len() == 1 { "test" } else { "tests" };
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "{} {tests} skipped:", skipped.len());
    for line in skipped.iter() {
        let _ = writeln!(stderr, "  {line}");
    }
}
