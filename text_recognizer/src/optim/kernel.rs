//! Loops over the memory of CPU tensors, compiled for the vector instructions at hand.

use std::ops::{Add, Div, Mul, Neg, Sub};

use tch::{Device, Kind, Tensor};

/// The floating-point types that kernels are written for.
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
    /// The tensors that hold this type.
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

/// The values of a tensor of the CPU, if it holds `T`s side by side.
pub(crate) fn values<T: Real>(tensor: &Tensor) -> Option<&[T]> {
    fits::<T>(tensor).then(|| {
        // SAFETY: the tensor holds numel() values of T side by side in host memory, and lives as long as the borrow.
        unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel()) }
    })
}

/// As [`values`], to be written.
pub(crate) fn values_mut<T: Real>(tensor: &mut Tensor) -> Option<&mut [T]> {
    fits::<T>(tensor).then(|| {
        // SAFETY: as in `values`; a parameter or a slot shares its memory with handles that nobody reads meanwhile,
        // since libtorch runs nothing on its own.
        unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
    })
}

fn fits<T: Real>(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.kind() == T::KIND && tensor.is_contiguous() && tensor.numel() > 0
}

/// Defines a kernel over slices of `T` that is compiled a second time for AVX2 and, where the processor has it, run so.
/// No operation is reordered or contracted: the results are the same to the bit on every processor.
macro_rules! simd {
    ($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel takes its tensors and coefficients one by one")]
        fn $name<T: $crate::optim::kernel::Real>($($arg: $ty),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn body<T: $crate::optim::kernel::Real>($($arg: $ty),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments, reason = "as above")]
                fn avx2<T: $crate::optim::kernel::Real>($($arg: $ty),*) $(-> $out)? {
                    body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(super) use simd;
