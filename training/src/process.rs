//! How this process waits and allocates: what a program that trains sets once, as it starts.

/// Has threads that wait for each other give up their core after some ten microseconds, not milliseconds. Otherwise two threads
/// are many times slower than one wherever another process has a core; on idle cores it costs a few per cent of a step. GNU's
/// OpenMP reads this as it is loaded, so the process starts itself anew, which takes a tenth of a second; where it cannot, it
/// goes on as it is.
pub fn wait_briefly() {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;

        let set = |name| std::env::var_os(name).is_some();
        let mut args = std::env::args_os();
        if let (false, Ok(program), Some(name)) =
            (set("GOMP_SPINCOUNT") || set("OMP_WAIT_POLICY"), std::env::current_exe(), args.next())
        {
            let mut anew = std::process::Command::new(program);
            let _refused = anew.arg0(name).args(args).env("GOMP_SPINCOUNT", "2000").exec();
        }
    }
}

/// Has the allocator keep the memory that a step frees for the next one. Otherwise glibc gives it back to the system and gets
/// it again page by page, at every step or at none as chance will have it: a third of a step.
///
/// # Safety
/// There must be no second thread: the allocator reads these settings without a lock.
pub unsafe fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets two numbers of the allocator, and there is no second thread by the caller's promise.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}
