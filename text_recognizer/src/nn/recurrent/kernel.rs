//! The arithmetic of the recurrent layers, compiled for several sets of vector instructions.

use super::buffer::Pooled;
use crate::simd::{Isa, simd};

/// The columns of every matrix are padded to a multiple of this number.
pub(super) const LANES: usize = 8;

/// 1/1!, 1/2!, ... 1/13!
const INVERSE_FACTORIALS: [f64; 13] = {
    let mut values = [1.0; 13];
    let mut k = 1;
    while k < values.len() {
        values[k] = values[k - 1] / (k + 1) as f64;
        k += 1;
    }
    values
};

/// A floating-point type of the functions below.
pub(super) trait Float: Pooled + PartialOrd {
    /// 1.5 times 2 to the number of bits of the significand: adding and subtracting it rounds to the nearest integer.
    const ROUND: f64;
    /// ln 2 as a sum of two numbers, the first with so few digits that its product with an exponent is exact.
    const LN_2: [f64; 2];
    /// The largest argument of `exp`; larger ones are clamped, since the result would overflow or lose digits.
    const LIMIT: f64;
    /// The number of terms of the series of exp that gives the precision of the type for arguments of at most ln 2 / 2.
    const TERMS: usize;
    /// Returns `self * factor + term`, rounded once.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// Returns 2 to the power of `n` for `self = ROUND + n`.
    fn exp2_of_rounded(self) -> Self;
}

impl Float for f32 {
    const ROUND: f64 = 12_582_912.0;
    const LN_2: [f64; 2] = [0.693_359_375, -2.121_944_400_546_905_6e-4];
    const LIMIT: f64 = 87.0;
    const TERMS: usize = 7;
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.mul_add(factor, term)
    }
    #[inline(always)]
    fn exp2_of_rounded(self) -> Self {
        Self::from_bits((self.to_bits() << 23).wrapping_add(1f32.to_bits()))
    }
}

impl Float for f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    const LIMIT: f64 = 708.0;
    const TERMS: usize = 13;
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.mul_add(factor, term)
    }
    #[inline(always)]
    fn exp2_of_rounded(self) -> Self {
        Self::from_bits((self.to_bits() << 52).wrapping_add(1f64.to_bits()))
    }
}

/// Returns `a * b + c`, with a fused instruction if the set of instructions has one. (Without this choice, `mul_add` calls a
/// slow function on processors that have none.)
#[inline(always)]
pub(super) fn fma<T: Float, I: Isa>(a: T, b: T, c: T) -> T {
    if I::FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Returns exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1) with x = n ln 2 + r, and exp(r) - 1 by its series. Keeps NaN.
#[inline(always)]
fn expm1<T: Float, I: Isa>(x: T) -> T {
    let limit = T::of(T::LIMIT);
    let x = if x > limit { limit } else { x };
    let x = if x < -limit { -limit } else { x };
    let rounded = fma::<T, I>(x, T::of(std::f64::consts::LOG2_E), T::of(T::ROUND));
    let n = rounded - T::of(T::ROUND);
    let [high, low] = T::LN_2;
    let r = fma::<T, I>(n, T::of(-low), fma::<T, I>(n, T::of(-high), x));
    let mut series = T::of(INVERSE_FACTORIALS[T::TERMS - 1]);
    for k in (0..T::TERMS - 1).rev() {
        series = fma::<T, I>(series, r, T::of(INVERSE_FACTORIALS[k]));
    }
    let scale = rounded.exp2_of_rounded();
    fma::<T, I>(scale, series * r, scale - T::of(1.0))
}

/// Returns the hyperbolic tangent, to a few units in the last place.
#[inline(always)]
pub(super) fn tanh<T: Float, I: Isa>(x: T) -> T {
    let e = expm1::<T, I>(x + x);
    e / (e + T::of(2.0))
}

/// Returns the logistic function 1 / (1 + exp(-x)), to a few units in the last place.
#[inline(always)]
pub(super) fn sigmoid<T: Float, I: Isa>(x: T) -> T {
    T::of(1.0) / (expm1::<T, I>(-x) + T::of(2.0))
}

simd! {
    /// Computes `c += a b` for `c: [m, n]`, `a: [m, k]` with the strides `a_strides`, `b: [k, n]`; `shape` is `[m, n, k]`, and
    /// `n` is a multiple of [`LANES`]. Panics if a slice is too short for these sizes.
    pub(super) fn add_product<T: Float; I>(c: &mut [T], a: &[T], a_strides: [usize; 2], b: &[T], shape: [usize; 3]) {
        add_tiles::<T, I>(c, a, a_strides, b, shape);
    }
}

/// Computes [`add_product`] for one set of instructions.
#[inline(always)]
pub(super) fn add_tiles<T: Float, I: Isa>(
    c: &mut [T],
    a: &[T],
    a_strides: [usize; 2],
    b: &[T],
    [m, n, k]: [usize; 3],
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    // Checked, since with a product that wraps around the tiles below would exceed their slices.
    let fits = |rows: usize, values: &[T]| rows.checked_mul(n).is_some_and(|needed| needed <= values.len());
    assert!(n.is_multiple_of(LANES) && fits(m, c) && fits(k, b));
    let last = (m - 1).checked_mul(a_strides[0]).zip((k - 1).checked_mul(a_strides[1]));
    assert!(last.and_then(|(row, column)| row.checked_add(column)).is_some_and(|last| last < a.len()));
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let tile = [I::TILE[0], (I::TILE[1] / size_of::<T>()).max(LANES)];
    let mut i = 0;
    while i < m {
        let rows = if i + tile[0] <= m { tile[0] } else { 1 };
        let mut j = 0;
        while j < n {
            let columns = if j + tile[1] <= n { tile[1] } else { LANES };
            // SAFETY: each match arm has exactly `rows` rows and `columns` columns. The tile starts at row i and column j, and
            // i + rows <= m and j + columns <= n: `rows` is 1 or was checked, and `columns` was checked or is LANES, of which
            // n is a multiple. The assertions above show that rows below m and columns below n of c, rows below k of b, and
            // the elements of a at the strides of rows below m and columns below k are inside of the slices.
            unsafe {
                let (a, b, c) = (a.add(i * a_strides[0]), b.add(j), c.add(i * n + j));
                match [rows, columns] {
                    [8, 32] => add_tile::<T, I, 8, 32>(c, a, a_strides, b, n, k),
                    [8, 16] => add_tile::<T, I, 8, 16>(c, a, a_strides, b, n, k),
                    [8, LANES] => add_tile::<T, I, 8, LANES>(c, a, a_strides, b, n, k),
                    [4, 16] => add_tile::<T, I, 4, 16>(c, a, a_strides, b, n, k),
                    [4, LANES] => add_tile::<T, I, 4, LANES>(c, a, a_strides, b, n, k),
                    [1, 32] => add_tile::<T, I, 1, 32>(c, a, a_strides, b, n, k),
                    [1, 16] => add_tile::<T, I, 1, 16>(c, a, a_strides, b, n, k),
                    [1, LANES] => add_tile::<T, I, 1, LANES>(c, a, a_strides, b, n, k),
                    other => unreachable!("there is no tile of {other:?}"),
                }
            }
            j += columns;
        }
        i += rows;
    }
}

/// Computes [`add_product`] for the R rows and C columns that start at the pointers.
///
/// # Safety
/// `c` must be valid for writes of C elements at `i * n` for each `i < R`, `a` for reads at `i * a_strides[0] + p * a_strides[1]`
/// for each `p < k`, and `b` for reads of C elements at `p * n`. No reference to the elements of `c` may be in use.
#[inline(always)]
unsafe fn add_tile<T: Float, I: Isa, const R: usize, const C: usize>(
    c: *mut T,
    a: *const T,
    a_strides: [usize; 2],
    b: *const T,
    n: usize,
    k: usize,
) {
    let mut sums = [[T::of(0.0); C]; R];
    for p in 0..k {
        // SAFETY: by the caller's promise, row p < k of b has C elements here, and a has the R elements of column p.
        unsafe {
            let b = &*b.add(p * n).cast::<[T; C]>();
            for (i, sums) in sums.iter_mut().enumerate() {
                let a = *a.add(i * a_strides[0] + p * a_strides[1]);
                for (sum, &b) in sums.iter_mut().zip(b) {
                    *sum = fma::<T, I>(a, b, *sum);
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        // SAFETY: by the caller's promise, row i < R of c has C elements here, which nothing else refers to.
        let c = unsafe { &mut *c.add(i * n).cast::<[T; C]>() };
        for (c, &sum) in c.iter_mut().zip(sums) {
            *c = *c + sum;
        }
    }
}
