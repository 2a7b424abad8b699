//! Optimizer steps with gradients that the kernels do not take.

use tch::{Kind, Tensor};
use text_recognizer::nn::{Parameters, Placement};
use text_recognizer::optim::{Optimizer, OptimizerConfig, OptimizerName};

fn configs() -> Vec<OptimizerConfig> {
    let of = |optimizer, momentum| OptimizerConfig { optimizer, momentum, ..OptimizerConfig::default() };
    let nesterov = OptimizerConfig { nesterov: true, ..of(OptimizerName::Sgd, 0.9) };
    let decayed = OptimizerConfig { weight_decay: Some(0.1), ..of(OptimizerName::Adam, 0.0) };
    vec![
        of(OptimizerName::Sgd, 0.0),
        of(OptimizerName::Sgd, 0.9),
        nesterov,
        of(OptimizerName::Adam, 0.0),
        decayed,
        of(OptimizerName::AdamW, 0.0),
        of(OptimizerName::RmsProp, 0.0),
        of(OptimizerName::RmsProp, 0.9),
    ]
}

/// Takes three steps from the parameters `values` and returns the final values.
fn train(
    config: &OptimizerConfig,
    values: &Tensor,
    kind: Kind,
    gradients: impl Fn(&Parameters) -> Vec<Tensor>,
) -> Tensor {
    let mut parameters = Parameters::new(Placement { kind, ..Placement::cpu(0) });
    let p = parameters.add("p", values.copy()).unwrap();
    let mut optimizer = Optimizer::new(config, &parameters).unwrap();
    for _ in 0..3 {
        optimizer.step(&gradients(&parameters), 0.1).unwrap();
    }
    p.detach()
}

fn copies(parameters: &Parameters) -> Vec<Tensor> {
    parameters.tensors().iter().map(|p| p.detach().copy()).collect()
}

/// Copies whose values do not lie side by side in memory, which take the path through libtorch's operations.
fn strided(parameters: &Parameters) -> Vec<Tensor> {
    let spread = |p: &Tensor| Tensor::stack(&[p.detach(), p.detach()], -1).select(-1, 0);
    parameters.tensors().iter().map(spread).collect()
}

fn close(got: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let (got, expected) = (got.to_kind(Kind::Double), expected.to_kind(Kind::Double));
    assert!(got.allclose(&expected, tolerance, tolerance, false), "{what}: {got} is not {expected}");
}

#[test]
fn step_gradients_that_are_parameters_match_copies() {
    let values = Tensor::randn([37], tch::kind::DOUBLE_CPU);
    for config in configs() {
        for kind in [Kind::Float, Kind::Double] {
            let aliases = |parameters: &Parameters| {
                let handles = parameters.tensors().iter().map(Tensor::shallow_clone).collect::<Vec<_>>();
                assert!(handles[0].data_ptr() == parameters.tensors()[0].data_ptr());
                handles
            };
            let got = train(&config, &values, kind, aliases);
            close(&got, &train(&config, &values, kind, strided), 1e-6, &format!("{config:?} {kind:?}"));
            close(&got, &train(&config, &values, kind, copies), 1e-6, &format!("{config:?} {kind:?}"));
        }
    }
}

#[test]
fn step_gradient_that_overlaps_parameter_matches_copy() {
    for config in configs() {
        let end = |copy: bool| {
            let whole = Tensor::arange(38, tch::kind::FLOAT_CPU);
            let mut parameters = Parameters::new(Placement::cpu(0));
            // The parameter shares the memory of the tensor that it is made from.
            let p = parameters.add("p", whole.narrow(0, 1, 37)).unwrap();
            // Element i of the gradient is element i - 1 of the parameter, which a loop over both has changed already.
            let gradient = whole.narrow(0, 0, 37);
            assert_eq!(gradient.data_ptr() as usize + 4, p.data_ptr() as usize);
            let mut optimizer = Optimizer::new(&config, &parameters).unwrap();
            for _ in 0..3 {
                let gradient = if copy { gradient.copy() } else { gradient.shallow_clone() };
                optimizer.step(&[gradient], 0.1).unwrap();
            }
            p.detach()
        };
        close(&end(false), &end(true), 1e-6, &format!("{config:?}"));
    }
}

#[test]
fn step_gradient_of_other_layout_or_kind_matches_kernel() {
    let values = Tensor::randn([6, 5], tch::kind::DOUBLE_CPU);
    for config in configs() {
        let expected = train(&config, &values, Kind::Float, copies);
        let transposed = |parameters: &Parameters| {
            let copy = |p: Tensor| p.transpose(0, 1).contiguous().transpose(0, 1);
            copies(parameters).into_iter().map(copy).collect::<Vec<_>>()
        };
        assert!(!transposed(&parameters_of(&values))[0].is_contiguous());
        close(&train(&config, &values, Kind::Float, transposed), &expected, 1e-6, &format!("{config:?}"));
        let doubles = |parameters: &Parameters| {
            copies(parameters).iter().map(|gradient| gradient.to_kind(Kind::Double)).collect::<Vec<_>>()
        };
        close(&train(&config, &values, Kind::Float, doubles), &expected, 1e-6, &format!("{config:?}"));
        let rounded = train(&config, &values, Kind::BFloat16, copies);
        assert_eq!(rounded.kind(), Kind::BFloat16);
        close(&rounded, &expected, 0.05, &format!("{config:?}"));
    }
}

fn parameters_of(values: &Tensor) -> Parameters {
    let mut parameters = Parameters::new(Placement::cpu(0));
    let _ = parameters.add("p", values.copy()).unwrap();
    parameters
}

/// 0 gradients and a parameter of 0 elements have no memory to point to.
#[test]
fn step_empty_parameter_is_left_alone() {
    for config in configs() {
        let end = train(&config, &Tensor::zeros([0, 3], tch::kind::FLOAT_CPU), Kind::Float, copies);
        assert_eq!(end.size(), [0, 3]);
    }
}
