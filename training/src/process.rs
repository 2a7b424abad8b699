//! Settings of the process, which a program makes once, at its start, and its end by a signal.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;

use crate::terminal;

/// Makes waiting OpenMP threads give up their core after about ten microseconds instead of milliseconds.
///
/// Without this, two threads are many times slower than one if another process uses one of the cores. On idle cores it costs a
/// few percent of a training step. GNU's OpenMP reads the setting only when it is loaded, so that the process restarts itself,
/// which takes 0.1 s. If the restart fails, the process continues without the setting. The variables `GOMP_SPINCOUNT` and
/// `OMP_WAIT_POLICY` of the user have priority.
pub fn wait_briefly() {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;

        let set = |name| std::env::var_os(name).is_some();
        let mut args = std::env::args_os();
        if let (false, Ok(program), Some(name)) =
            (set("GOMP_SPINCOUNT") || set("OMP_WAIT_POLICY"), std::env::current_exe(), args.next())
        {
            let mut restart = std::process::Command::new(program);
            let _error = restart.arg0(name).args(args).env("GOMP_SPINCOUNT", "2000").exec();
        }
    }
}

/// Makes the allocator of glibc keep the memory that a training step frees for the next step.
///
/// Without this, glibc may return the memory to the system after each step and get it back page by page. This can take a third
/// of the time of a step.
///
/// # Safety
/// The process must have only one thread, because the allocator reads these settings without a lock.
pub unsafe fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the calls set two numbers of the allocator, and the caller guarantees that there is only one thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}

/// Returns the memory that is free now to the system, which [`keep_memory`] would keep. Reading a large file frees as much as it needs.
pub fn return_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call only takes a number, and glibc locks what it changes.
    unsafe {
        libc::malloc_trim(0);
    }
}

thread_local! {
    /// Whether panics of this thread are caught, and need no report.
    static CATCHES: Cell<bool> = const { Cell::new(false) };
}

/// Runs code of another crate that may panic. A panic becomes `None`, without a report.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Option<T> {
    CATCHES.set(true);
    let result = std::panic::catch_unwind(AssertUnwindSafe(run));
    CATCHES.set(false);
    result.ok()
}

/// Prints one line about a panic, which is a fault of this program, unless [`catch_panic`] catches it.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if CATCHES.get() {
            return;
        }
        let place = panic
            .location()
            .map_or_else(String::new, |place| format!(" at {}:{}", place.file(), place.line()));
        terminal::note(panic_line(panic.payload(), &place));
        // Only if the variable RUST_BACKTRACE asks for it.
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            terminal::note(trace);
        }
    }));
}

/// Returns the line about a panic with this payload.
fn panic_line(payload: &dyn Any, place: &str) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let cause = text.unwrap_or("unknown cause").split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "internal error: {cause}{place}; report this line and the command line; a run continues from its last checkpoint with \
         --resume"
    )
}

/// Ends the process by a signal, as its default action does. A shell ends a loop of commands only then, not for an exit code.
pub fn end_by_signal(number: i32) -> ! {
    // This returns only for a signal whose default action does not end a process.
    let _ = signal_hook::low_level::emulate_default_handler(number);
    std::process::exit(128 + number)
}

/// Returns whether the process ignores a signal.
#[cfg(unix)]
pub fn is_ignored(number: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer as the new action only reads the current one into `action`, which zeros initialize.
    unsafe {
        libc::sigaction(number, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_line_of_any_payload_is_one_line() {
        let payloads: [(Box<dyn Any>, &str); 3] = [
            (Box::new("left\n  right"), "error: left right at a.rs:1;"),
            (Box::new("text".to_owned()), "error: text at a.rs:1;"),
            (Box::new(3), "error: unknown cause at a.rs:1;"),
        ];
        for (payload, expected) in payloads {
            let line = panic_line(&*payload, " at a.rs:1");
            assert!(line.contains(expected) && line.contains("--resume") && !line.contains('\n'), "{line}");
        }
    }
}
