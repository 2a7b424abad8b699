//! Settings of the process that speed up training. A program makes them once, at its start.

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
