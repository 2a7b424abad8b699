//! Comparison of the kernels with libtorch's operations and with finite differences.

use super::kernel::Float;
use super::*;
use crate::nn::Placement;
use crate::simd::{self, simd};

simd! {
    pub(super) fn both<T: Float; I>(tanh: &mut [T], sigmoid: &mut [T], x: &[T]) {
        for ((tanh, sigmoid), &x) in tanh.iter_mut().zip(sigmoid).zip(x) {
            *tanh = kernel::tanh::<T, I>(x);
            *sigmoid = kernel::sigmoid::<T, I>(x);
        }
    }
}

/// Returns the largest relative errors of tanh and sigmoid over a grid that is dense around 0 and extends beyond saturation.
fn errors<T: Float>(of: fn(f64) -> T) -> [f64; 2] {
    let grid = (1..=40_000).map(|i| (f64::from(i) / 40_000.0).powi(6) * 60.0);
    let x: Vec<T> = grid.flat_map(|x| [of(x), of(-x)]).collect();
    let (mut tanh, mut sigmoid) = (x.clone(), x.clone());
    both(&mut tanh, &mut sigmoid, &x);
    let worst = |got: &[T], exact: fn(f64) -> f64| {
        let relative = |(&got, &x): (&T, &T)| (got.to_f64() / exact(x.to_f64()) - 1.0).abs();
        got.iter().zip(&x).map(relative).fold(0.0, f64::max)
    };
    [worst(&tanh, f64::tanh), worst(&sigmoid, |x| 1.0 / (1.0 + (-x).exp()))]
}

#[test]
fn tanh_and_sigmoid_are_accurate_to_last_places() {
    for (error, bound) in errors(|x| x as f32).into_iter().zip([2.5e-7; 2]) {
        assert!(error < bound, "{error:e}");
    }
    for (error, bound) in errors(|x| x).into_iter().zip([5e-16; 2]) {
        assert!(error < bound, "{error:e}");
    }
}

#[test]
fn tanh_and_sigmoid_saturate_and_keep_nan() {
    let x = [f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 0.0, f32::NAN];
    let (mut tanh, mut sigmoid) = (x, x);
    both(&mut tanh, &mut sigmoid, &x);
    assert_eq!(tanh[..5], [1.0, -1.0, 1.0, -1.0, 0.0]);
    assert!(sigmoid[..5].iter().zip([1.0, 0.0, 1.0, 0.0, 0.5]).all(|(got, x)| (got - x).abs() < 1e-37));
    assert!(tanh[5].is_nan() && sigmoid[5].is_nan());
}

/// An implementation of `c += aᵀ b`: its arguments are `c`, `a`, the strides of `a`, `b` and `[m, n, k]`.
type Product<T> = fn(&mut [T], &[T], [usize; 2], &[T], [usize; 3]);

fn check_product<T: Float + Element>(product: Product<T>, label: &str) {
    for (m, n, k) in [(1, 8, 1), (3, 24, 5), (8, 32, 7), (13, 40, 9), (4, 16, 2), (21, 72, 3), (0, 8, 1)] {
        let random = |rows: usize, columns: usize| {
            Tensor::randn([rows as i64, columns as i64], (<T as Element>::KIND, Device::Cpu))
        };
        let (a, b, mut got) = (random(k, m), random(k, n), random(m, n));
        let expected = &got + a.t_copy().matmul(&b);
        if let (Some(([c], a)), Some(b)) = (disjoint::<T, 1>([&mut got], &a), values(&b)) {
            product(c, a, [1, m], b, [m, n, k]);
        }
        assert!(got.allclose(&expected, 1e-5, 1e-5, false), "{label}: {m} x {n} x {k}");
    }
}

/// Each set of instructions has its own tiles. The functions run without these instructions too, only slower.
#[test]
fn product_each_tile_is_correct() {
    check_product::<f32>(kernel::add_product, "best");
    check_product::<f64>(kernel::add_product, "best");
    check_product::<f32>(kernel::add_tiles::<f32, simd::Baseline>, "baseline");
    check_product::<f64>(kernel::add_tiles::<f64, simd::Baseline>, "baseline");
    #[cfg(target_arch = "x86_64")]
    {
        check_product::<f32>(kernel::add_tiles::<f32, simd::Avx2>, "AVX2");
        check_product::<f64>(kernel::add_tiles::<f64, simd::Avx2>, "AVX2");
        check_product::<f32>(kernel::add_tiles::<f32, simd::Avx512>, "AVX-512");
        check_product::<f64>(kernel::add_tiles::<f64, simd::Avx512>, "AVX-512");
    }
}

#[test]
fn product_sizes_that_wrap_around_panic() {
    let (values, half) = ([1f32; 32], 1usize << 63);
    let panics = |a_strides: [usize; 2], shape: [usize; 3]| {
        let run = || kernel::add_product(&mut [0f32; 32], &values, a_strides, &values, shape);
        std::panic::catch_unwind(run).is_err()
    };
    assert!(!panics([1, 1], [2, 8, 2]));
    for (what, a_strides, shape) in [
        ("rows of c", [0, 0], [1 << 61, 8, 1]),
        ("rows of b", [0, 0], [1, 8, 1 << 61]),
        ("columns", [1, 1], [2, half, 2]),
        ("row stride", [half, 1], [3, 8, 1]),
        ("column stride", [1, half], [1, 8, 3]),
        ("sum of both strides", [usize::MAX, 1], [2, 8, 2]),
        ("c too short", [1, 1], [5, 8, 1]),
        ("b too short", [1, 1], [1, 8, 5]),
        ("a too short", [31, 1], [2, 8, 2]),
        ("columns not padded", [1, 1], [2, 7, 2]),
    ] {
        assert!(panics(a_strides, shape), "{what}");
    }
}

#[test]
fn tanh_and_sigmoid_without_fma_are_accurate() {
    for at in -200..=200 {
        let x = f64::from(at) / 20.0;
        let (tanh, sigmoid) =
            (kernel::tanh::<f32, simd::Baseline>(x as f32), kernel::sigmoid::<f64, simd::Baseline>(x));
        assert!((f64::from(tanh) - f64::from(x as f32).tanh()).abs() < 2e-7, "{x}");
        assert!((sigmoid * (1.0 + (-x).exp()) - 1.0).abs() < 1e-15, "{x}");
    }
}

#[test]
fn buffer_dropped_is_used_again_by_thread() {
    let first = super::buffer::Buffer::<f32>::new(12_345);
    let address = first.as_ptr();
    drop(first);
    assert!(super::buffer::Buffer::<f32>::new(12_000).as_ptr() == address);
    assert!(super::buffer::Buffer::<f32>::zeros(12_345).iter().all(|&x| x == 0.0));
}

struct Case {
    cell: Cell,
    bidirectional: bool,
    output: Output,
    /// batch, steps, inputs, units
    sizes: [i64; 4],
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru] {
        for bidirectional in [false, true] {
            for output in [Output::Last, Output::Sequence] {
                for sizes in [[1, 3, 1, 2], [5, 4, 3, 7], [13, 2, 9, 40], [8, 1, 2, 8]] {
                    cases.push(Case { cell, bidirectional, output, sizes });
                }
            }
        }
    }
    cases
}

/// Returns a layer with random weights and biases, and an input.
fn layer(case: &Case, kind: Kind) -> (Parameters, Recurrent, Tensor) {
    let [batch, steps, inputs, units] = case.sizes;
    let mut parameters = Parameters::new(Placement { kind, ..Placement::cpu(1) });
    let layer =
        Recurrent::new(&mut parameters, "layer", case.cell, inputs, units, case.bidirectional).unwrap();
    tch::no_grad(|| {
        for tensor in parameters.tensors() {
            let _ = tensor.shallow_clone().normal_(0.0, 0.5);
        }
    });
    let x = Tensor::randn([batch, steps, inputs], (kind, Device::Cpu)).set_requires_grad(true);
    (parameters, layer, x)
}

fn by_operations(layer: &Recurrent, x: &Tensor, output: Output) -> Tensor {
    let run = |direction| operations::forward(layer.cell, direction, x, output).unwrap();
    Tensor::cat(&layer.directions.iter().map(run).collect::<Vec<_>>(), -1)
}

#[test]
fn kernels_and_operations_have_same_outputs_and_gradients() {
    for (kind, tolerance) in [(Kind::Double, 1e-13), (Kind::Float, 2e-5)] {
        for case in cases() {
            let (parameters, layer, x) = layer(&case, kind);
            let mut leaves: Vec<Tensor> = parameters.tensors().iter().map(Tensor::shallow_clone).collect();
            leaves.push(x.shallow_clone());
            let mut context = ForwardContext::eval();
            let got = layer.forward(&x, case.output, &mut context).unwrap();
            assert!(case.bidirectional || got.is_leaf(), "the kernel did not run");
            let expected = by_operations(&layer, &x, case.output);
            let label =
                format!("{:?} {} {:?} {:?} {kind:?}", case.cell, case.bidirectional, case.output, case.sizes);
            assert_eq!(got.size(), expected.size(), "{label}");
            assert!(got.allclose(&expected, tolerance, tolerance, false), "{label}");
            let weights = expected.randn_like();
            let got = context.gradients(&(got * &weights).sum(kind), &leaves).unwrap();
            let expected = Tensor::run_backward(&[(expected * weights).sum(kind)], &leaves, false, false);
            for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert!(got.allclose(expected, tolerance, tolerance, false), "{label}: gradient {at}");
            }
        }
    }
}

/// The buffers of a thread keep the values of the layer that used them before.
#[test]
fn layer_with_buffers_of_nan_gives_same_output_and_gradients() {
    for case in cases() {
        let (parameters, layer, x) = layer(&case, Kind::Float);
        let run = || {
            let mut context = ForwardContext::eval();
            let y = layer.forward(&x, case.output, &mut context).unwrap();
            let mut all = context.gradients(&y.square().sum(Kind::Float), parameters.tensors()).unwrap();
            all.push(y.detach());
            all
        };
        let expected = run();
        let poison = || {
            let mut buffer = super::buffer::Buffer::<f32>::new(1 << 16);
            buffer.fill(f32::NAN);
            buffer
        };
        drop((0..16).map(|_| poison()).collect::<Vec<_>>());
        assert_eq!(run(), expected, "{:?} {:?} {:?}", case.cell, case.output, case.sizes);
    }
}

#[test]
fn layer_empty_batch_has_empty_output_and_zero_gradients() {
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru] {
        for (output, size) in [(Output::Last, vec![0, 8]), (Output::Sequence, vec![0, 3, 8])] {
            let case = Case { cell, bidirectional: true, output, sizes: [0, 3, 2, 4] };
            let (parameters, layer, x) = layer(&case, Kind::Float);
            let mut context = ForwardContext::eval();
            let y = layer.forward(&x, output, &mut context).unwrap();
            assert_eq!(y.size(), size);
            for gradient in context.gradients(&y.sum(Kind::Float), parameters.tensors()).unwrap() {
                assert_eq!(gradient.abs().sum(Kind::Float).double_value(&[]), 0.0);
            }
        }
    }
}

/// Central differences of the output of the kernel, which would show a mistake that both implementations have.
#[test]
fn gradients_match_finite_differences() {
    for case in cases().into_iter().filter(|case| case.sizes == [5, 4, 3, 7]) {
        let (parameters, layer, x) = layer(&case, Kind::Double);
        let mut leaves: Vec<Tensor> = parameters.tensors().iter().map(Tensor::shallow_clone).collect();
        leaves.push(x.shallow_clone());
        let mut context = ForwardContext::eval();
        let y = layer.forward(&x, case.output, &mut context).unwrap();
        let weights = y.randn_like();
        let grads = context.gradients(&(y * &weights).sum(Kind::Double), &leaves).unwrap();
        let loss = || {
            let y = layer.forward(&x, case.output, &mut ForwardContext::eval()).unwrap();
            (y * &weights).sum(Kind::Double).double_value(&[])
        };
        for (leaf, grad) in leaves.iter().zip(&grads) {
            let direction = leaf.randn_like();
            let expected = (grad * &direction).sum(Kind::Double).double_value(&[]);
            let shift = |by: f64| tch::no_grad(|| _ = leaf.shallow_clone().g_add_(&(&direction * by)));
            shift(1e-5);
            let above = loss();
            shift(-2e-5);
            let below = loss();
            shift(1e-5);
            let got = (above - below) / 2e-5;
            assert!(
                (got - expected).abs() < 1e-7 * expected.abs().max(1.0),
                "{:?}: {got} {expected}",
                case.cell
            );
        }
    }
}

#[test]
fn gradients_without_gradient_of_input_are_the_same() {
    let case = Case { cell: Cell::Lstm, bidirectional: false, output: Output::Last, sizes: [5, 4, 3, 7] };
    let (parameters, layer, x) = layer(&case, Kind::Float);
    let grads = |x: &Tensor| {
        let mut context = ForwardContext::eval();
        let y = layer.forward(x, Output::Last, &mut context).unwrap();
        context.gradients(&y.sum(Kind::Float), parameters.tensors()).unwrap()
    };
    assert_eq!(grads(&x), grads(&x.detach()));
}

#[test]
fn new_initial_weights_are_those_of_keras() {
    let mut parameters = Parameters::new(Placement::cpu(0));
    Recurrent::new(&mut parameters, "lstm", Cell::Lstm, 3, 32, true).unwrap();
    Recurrent::new(&mut parameters, "gru", Cell::Gru, 3, 32, false).unwrap();
    let sizes: Vec<_> = parameters.iter().map(|(name, tensor)| (name, tensor.size())).collect();
    assert_eq!(
        sizes,
        [
            ("lstm.kernel", vec![3, 128]),
            ("lstm.recurrent_kernel", vec![32, 128]),
            ("lstm.bias", vec![128]),
            ("lstm.backward.kernel", vec![3, 128]),
            ("lstm.backward.recurrent_kernel", vec![32, 128]),
            ("lstm.backward.bias", vec![128]),
            ("gru.kernel", vec![3, 96]),
            ("gru.recurrent_kernel", vec![32, 96]),
            ("gru.bias", vec![2, 96]),
        ]
    );
    let bias = Vec::<f32>::try_from(&parameters.tensors()[2]).unwrap();
    assert!(bias.iter().enumerate().all(|(at, &b)| b == if (32..64).contains(&at) { 1.0 } else { 0.0 }));
    assert_eq!(parameters.tensors()[8].abs().sum(Kind::Float).double_value(&[]), 0.0);
    let bound = (6.0f64 / (3.0 + 128.0)).sqrt();
    let largest = parameters.tensors()[0].abs().max().double_value(&[]);
    assert!((0.97 * bound..=bound).contains(&largest));
    let u = parameters.tensors()[1].detach();
    let identity = Tensor::eye(32, tch::kind::FLOAT_CPU);
    assert!(u.matmul(&u.t_copy()).allclose(&identity, 1e-5, 1e-5, false));
}

#[test]
fn forward_wrong_shape_fails_and_empty_batch_does_not() {
    let mut parameters = Parameters::new(Placement::cpu(0));
    let layer = Recurrent::new(&mut parameters, "gru.0", Cell::Gru, 3, 4, false).unwrap();
    let run = |size: &[i64]| {
        let x = Tensor::zeros(size, tch::kind::FLOAT_CPU);
        layer.forward(&x, Output::Last, &mut ForwardContext::eval())
    };
    for size in [&[2, 5, 2][..], &[2, 3], &[2, 0, 3]] {
        let error = run(size).unwrap_err().to_string();
        assert!(error.contains("gru.0: expected shape [batch, at least 1 step, 3]"), "{error}");
    }
    assert_eq!(run(&[0, 5, 3]).unwrap().size(), [0, 4]);
    let error = Recurrent::new(&mut parameters, "gru.1", Cell::Gru, 3, 0, false).unwrap_err().to_string();
    assert_eq!(error, "units of gru.1 is 0: expected at least 1");
}
