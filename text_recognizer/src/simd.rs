//! A macro that compiles a function for several sets of vector instructions.

/// A set of vector instructions.
pub(crate) trait Isa {
    /// Whether a product and a sum are one instruction.
    const FMA: bool;
    /// The rows, and the bytes per row, of the tile of a matrix product that fits into the registers.
    const TILE: [usize; 2];
}

/// AVX-512.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512;
/// AVX2 with FMA.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;
/// The instructions that every processor of the target has.
pub(crate) struct Baseline;

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512 {
    const FMA: bool = true;
    const TILE: [usize; 2] = [8, 128];
}

#[cfg(target_arch = "x86_64")]
impl Isa for Avx2 {
    const FMA: bool = true;
    const TILE: [usize; 2] = [4, 64];
}

impl Isa for Baseline {
    const FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));
    const TILE: [usize; 2] = [4, 32];
}

/// Defines a function that is compiled for each set of instructions and runs with the best set of the processor. In its body, `I`
/// is that set. The syntax is `fn name<T: Bound; I>(...)`, or `fn name<; I>(...)` for a function that is not generic.
///
/// The compiler does not reorder or fuse floating-point operations, so a body that does not use `I` gives the same bits on every
/// processor.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$($T:ident: $bound:path)?; $I:ident>($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel takes its tensors and coefficients one by one")]
        $vis fn $name<$($T: $bound)?>($($arg: $ty),*) $(-> $out)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "a kernel takes its tensors and coefficients one by one")]
            fn body<$($T: $bound,)? $I: $crate::simd::Isa>($($arg: $ty),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "a kernel takes its tensors and coefficients one by one")]
                fn avx512<$($T: $bound)?>($($arg: $ty),*) $(-> $out)? {
                    body::<$($T,)? $crate::simd::Avx512>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments, reason = "a kernel takes its tensors and coefficients one by one")]
                fn avx2<$($T: $bound)?>($($arg: $ty),*) $(-> $out)? {
                    body::<$($T,)? $crate::simd::Avx2>($($arg),*)
                }
                use std::arch::is_x86_feature_detected as has;
                if has!("avx2") && has!("fma") {
                    if has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw") {
                        // SAFETY: the processor has all instructions that the function is compiled for.
                        return unsafe { avx512($($arg),*) };
                    }
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body::<$($T,)? $crate::simd::Baseline>($($arg),*)
        }
    };
}
pub(crate) use simd;
