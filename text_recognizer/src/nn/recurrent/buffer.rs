//! Memory that is used again in the next training step. Fresh memory of the system has a page fault every 4 KiB, which for a
//! small layer takes longer than the computation.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

use crate::tensor::Real;

/// The most buffers that a thread keeps.
const KEPT: usize = 16;
/// The most elements of a buffer that a thread keeps.
const KEPT_SIZE: usize = 1 << 22;

/// The buffers that a thread keeps.
pub(super) type Pool<T> = RefCell<Vec<Vec<T>>>;

/// An element of a buffer.
pub(super) trait Pooled: Real + 'static {
    /// Returns the pool of buffers of this thread.
    fn pool() -> &'static LocalKey<Pool<Self>>;
}

impl Pooled for f32 {
    fn pool() -> &'static LocalKey<Pool<Self>> {
        thread_local!(static POOL: Pool<f32> = Pool::default());
        &POOL
    }
}

impl Pooled for f64 {
    fn pool() -> &'static LocalKey<Pool<Self>> {
        thread_local!(static POOL: Pool<f64> = Pool::default());
        &POOL
    }
}

/// A slice on the heap, which returns to the pool of its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer<T: Pooled>(Vec<T>);

impl<T: Pooled> Buffer<T> {
    /// Creates a buffer of `size` elements with unspecified values.
    pub fn new(size: usize) -> Self {
        if size == 0 {
            return Self(Vec::new());
        }
        let kept = T::pool().with_borrow_mut(|pool| {
            let fits = pool.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= size);
            let best = fits.min_by_key(|(_, buffer)| buffer.capacity()).map(|(at, _)| at);
            best.map(|at| pool.swap_remove(at))
        });
        let mut buffer = kept.unwrap_or_default();
        buffer.resize(size, T::of(0.0));
        Self(buffer)
    }

    /// Creates a buffer of `size` zeros.
    pub fn zeros(size: usize) -> Self {
        let mut buffer = Self::new(size);
        buffer.fill(T::of(0.0));
        buffer
    }
}

impl<T: Pooled> Drop for Buffer<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.capacity() == 0 || buffer.capacity() > KEPT_SIZE {
            return;
        }
        // At the end of a thread its pool may be dropped before its buffers: then the memory is freed.
        let _ = T::pool().try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}

impl<T: Pooled> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Pooled> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
