//! Memory that outlives one step of training: fresh from the system it costs a page fault every 4 KiB, which for the
//! states of a small layer is more than computing them.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::kernel::Float;

/// How many buffers a thread keeps, and of how many elements at most.
const KEPT: usize = 16;
const KEPT_SIZE: usize = 1 << 22;

/// The buffers that a thread keeps.
pub(super) type Pool<T> = RefCell<Vec<Vec<T>>>;

/// A slice on the heap that goes back to its thread's pool.
#[derive(Debug)]
pub(super) struct Buffer<T: Float>(Vec<T>);

impl<T: Float> Buffer<T> {
    /// `size` elements of any value.
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

    /// `size` zeros.
    pub fn zeros(size: usize) -> Self {
        let mut buffer = Self::new(size);
        buffer.fill(T::of(0.0));
        buffer
    }
}

impl<T: Float> Drop for Buffer<T> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        if buffer.capacity() == 0 || buffer.capacity() > KEPT_SIZE {
            return;
        }
        // While a thread ends, its pool may be gone already: then the memory is just freed.
        let _ = T::pool().try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}

impl<T: Float> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Float> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
