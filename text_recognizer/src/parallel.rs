//! Loops over memory on libtorch's own threads.
//!
//! A second pool of threads would compete for the cores with libtorch's threads, which wait in a loop for a while after each
//! operation. On Linux libtorch uses GNU OpenMP, and so does this module; on other systems the loop runs on the calling thread.

use std::marker::PhantomData;
use std::ops::Range;

/// The least elements per thread: with fewer, a second thread takes more time than it saves.
const GRAIN: usize = 65_536;

/// Runs `body` over `0..n`, split into one range for each of libtorch's threads, and waits for all of them. The ranges are
/// disjoint and begin at whole cache lines; the result for an element does not depend on the split.
pub(crate) fn parallel(n: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    let threads = (tch::get_num_threads().max(1) as usize).min(n / GRAIN);
    if threads < 2 {
        body(0..n);
    } else {
        on_threads(threads, &|thread| {
            let cut = |at: usize| (n / 64 * at / threads) * 64;
            let end = if thread + 1 == threads { n } else { cut(thread + 1) };
            body(cut(thread)..end);
        });
    }
}

/// A slice that several threads write to, each to ranges of its own.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    length: usize,
    all: PhantomData<&'a mut [T]>,
}

// SAFETY: threads that share this get `&mut` to disjoint ranges, as `Parts::part` requires, which is as if each of them had
// been sent its range: sound for `T: Send`.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    /// Borrows `all`, so that nothing else uses it meanwhile.
    pub fn of(all: &'a mut [T]) -> Self {
        Self { start: all.as_mut_ptr(), length: all.len(), all: PhantomData }
    }

    /// Returns the elements of `range`.
    ///
    /// # Safety
    /// No two ranges that overlap may be in use at the same time.
    #[allow(clippy::mut_from_ref, reason = "handing out disjoint mutable ranges is the purpose of the type")]
    pub unsafe fn part(&self, range: &Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part {range:?} of {}", self.length);
        // SAFETY: the range is within the borrowed slice, and disjoint from the others in use by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(target_os = "linux")]
fn on_threads(threads: usize, body: &(dyn Fn(usize) + Sync)) {
    use std::ffi::{c_int, c_uint, c_void};

    // SAFETY: these are the entry points that `#pragma omp parallel` compiles to, stable since GCC 4.9.
    unsafe extern "C" {
        fn GOMP_parallel(run: extern "C" fn(*mut c_void), data: *mut c_void, threads: c_uint, flags: c_uint);
        fn omp_get_thread_num() -> c_int;
        fn omp_get_num_threads() -> c_int;
    }

    struct Work<'a> {
        threads: usize,
        body: &'a (dyn Fn(usize) + Sync),
    }

    extern "C" fn run(data: *mut c_void) {
        // SAFETY: `data` points to the `Work` below, which outlives the parallel region and is only read in it.
        let work = unsafe { &*data.cast::<Work<'_>>() };
        // SAFETY: both functions only read the state of the calling thread's team.
        let (own, team) = unsafe { (omp_get_thread_num() as usize, omp_get_num_threads() as usize) };
        // A team may have fewer threads than requested.
        (own..work.threads).step_by(team.max(1)).for_each(|thread| (work.body)(thread));
    }

    let mut work = Work { threads, body };
    // SAFETY: `run` gets a valid `Work`, whose body is `Sync`, and GOMP_parallel returns after all threads have finished. A panic
    // in `run` aborts, since it is `extern "C"`.
    unsafe { GOMP_parallel(run, (&raw mut work).cast(), threads as c_uint, 0) };
}

#[cfg(not(target_os = "linux"))]
fn on_threads(threads: usize, body: &(dyn Fn(usize) + Sync)) {
    (0..threads).for_each(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn parallel_each_element_is_in_one_range() {
        for n in [0, 1, GRAIN - 1, 2 * GRAIN, 3 * GRAIN + 17] {
            let parts = Mutex::new(Vec::new());
            parallel(n, &|part| parts.lock().unwrap().push(part));
            let mut parts = parts.into_inner().unwrap();
            parts.sort_by_key(|part| part.start);
            assert_eq!(parts.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..n).collect::<Vec<_>>());
        }
    }
}
