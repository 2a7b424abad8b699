//! Slices of the memory of CPU tensors.

use std::ops::{Add, Div, Mul, Neg, Sub};

use tch::{Device, Kind, Tensor};

/// The floating-point types of the kernels.
pub(crate) trait Real:
    Copy
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The kind of tensor that holds this type.
    const KIND: Kind;
    fn of(value: f64) -> Self;
    fn sqrt(self) -> Self;
    fn to_f64(self) -> f64;
    fn is_finite(self) -> bool;
}

impl Real for f32 {
    const KIND: Kind = Kind::Float;
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.to_bits() & 0x7f80_0000 != 0x7f80_0000
    }
}

impl Real for f64 {
    const KIND: Kind = Kind::Double;
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.to_bits() & 0x7ff0_0000_0000_0000 != 0x7ff0_0000_0000_0000
    }
}

/// Returns the values of a contiguous, non-empty CPU tensor of `T`, and `None` for any other tensor.
pub(crate) fn values<T: Real>(tensor: &Tensor) -> Option<&[T]> {
    let Span { start, length } = span::<T>(tensor)?;
    // SAFETY: a span has `length` contiguous values of T in host memory, which lives as long as the borrow. No kernel of this
    // crate writes to a tensor while such a slice of it is in use, see `disjoint`.
    Some(unsafe { std::slice::from_raw_parts(start, length) })
}

/// Returns slices over `written` and `read`, or `None` if one of them is not a contiguous, non-empty CPU tensor of `T`
/// or if one of `written` shares memory with another tensor.
///
/// Two tensors may share memory (`shallow_clone`, views), which the compiler cannot check, so this function does.
pub(crate) fn disjoint<'a, T: Real, const N: usize>(
    written: [&'a mut Tensor; N],
    read: &'a Tensor,
) -> Option<([&'a mut [T]; N], &'a [T])> {
    let last = span::<T>(read)?;
    // Overwritten below; an array without a heap allocation, since this runs for each parameter in each step.
    let mut spans = [last; N];
    for (at, tensor) in written.iter().enumerate() {
        let own = span::<T>(tensor)?;
        if own.overlaps(last) || spans[..at].iter().any(|other| own.overlaps(*other)) {
            return None;
        }
        spans[at] = own;
    }
    // SAFETY: as in `values`. No other slice of this call overlaps this one, and a kernel gets these slices only, so it
    // cannot use another tensor with the same memory meanwhile.
    let written = spans.map(|span| unsafe { std::slice::from_raw_parts_mut(span.start, span.length) });
    // SAFETY: as in `values`.
    Some((written, unsafe { std::slice::from_raw_parts(last.start, last.length) }))
}

/// The memory of a contiguous tensor.
#[derive(Clone, Copy)]
struct Span<T: Copy> {
    start: *mut T,
    length: usize,
}

impl<T: Copy> Span<T> {
    fn overlaps(self, other: Self) -> bool {
        let end = |span: Self| span.start.addr() + span.length * size_of::<T>();
        self.start.addr() < end(other) && other.start.addr() < end(self)
    }
}

/// Returns the memory of a tensor that is contiguous, not empty, on the CPU and of `T`, and `None` for any other tensor.
fn span<T: Real>(tensor: &Tensor) -> Option<Span<T>> {
    let length = tensor.numel();
    let fits =
        length > 0 && tensor.kind() == T::KIND && tensor.device() == Device::Cpu && tensor.is_contiguous();
    fits.then(|| Span { start: tensor.data_ptr().cast(), length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disjoint_tensors_that_share_memory_returns_none() {
        let whole = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]);
        let (mut first, second) = (whole.narrow(0, 0, 2), whole.narrow(0, 2, 2));
        assert!(disjoint::<f32, 1>([&mut first], &second).is_some());
        assert!(disjoint::<f32, 1>([&mut first], &whole).is_none());
        let (mut one, mut other) = (whole.shallow_clone(), whole.shallow_clone());
        assert!(disjoint::<f32, 2>([&mut one, &mut other], &Tensor::from_slice(&[1f32])).is_none());
    }

    #[test]
    fn values_empty_or_strided_or_other_tensor_returns_none() {
        let square = Tensor::zeros([2, 2], tch::kind::FLOAT_CPU);
        assert!(values::<f32>(&square).is_some() && values::<f64>(&square).is_none());
        assert!(values::<f32>(&square.select(1, 0)).is_none());
        assert!(values::<f32>(&Tensor::zeros([0, 2], tch::kind::FLOAT_CPU)).is_none());
    }
}
