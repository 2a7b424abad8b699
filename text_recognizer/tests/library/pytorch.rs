//! Parity with PyTorch: `../golden/pytorch.json`, made by `../golden/pytorch.py`.

use serde_json::Value;
use tch::{Kind, Tensor};
use text_recognizer::data::{Batch, DataSpec};
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel};
use text_recognizer::models::{Mlp, MlpConfig};
use text_recognizer::nn::{ForwardContext, LayerNorm, Parameters, Placement, SelfAttention, WeightNormConv};
use text_recognizer::optim::{Optimizer, OptimizerConfig};

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/pytorch.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn tensor(value: &Value) -> Tensor {
    Tensor::from_slice(&floats(value))
}

fn difference(got: &Tensor, expected: &Value) -> f64 {
    (got.detach().to_kind(Kind::Double).view(-1) - tensor(expected).to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

/// Returns the defaults with the values of the golden file, through JSON.
fn config(case: &Value) -> OptimizerConfig {
    let mut json = serde_json::to_value(OptimizerConfig::default()).unwrap();
    json["optimizer"] = case["optimizer"].clone();
    for (flag, value) in case["flags"].as_object().unwrap() {
        json[flag] = value.clone();
    }
    serde_json::from_value(json).unwrap()
}

/// Each optimizer takes five steps with a changing learning rate; it is saved and restored before each step.
#[test]
fn step_each_optimizer_matches_pytorch_in_both_precisions() {
    let golden = &golden()["optimizers"];
    for (name, case) in golden["cases"].as_object().unwrap() {
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::Double, 1e-6)] {
            let config = config(case);
            let placement = Placement { kind, ..Placement::cpu(0) };
            let mut parameters = Parameters::new(placement);
            let _ = parameters.add("p", tensor(&golden["start"])).unwrap();
            let (mut steps, mut saved) = (0, None::<Vec<(String, Tensor)>>);
            let each = golden["grads"].as_array().unwrap().iter().zip(case["steps"].as_array().unwrap());
            for (step, (grad, expected)) in each.enumerate() {
                let mut optimizer = Optimizer::new(&config, &parameters).unwrap();
                if let Some(saved) = &saved {
                    optimizer.load_state(steps, saved).unwrap();
                }
                let lr = config.lr * golden["lr_factors"][step].as_f64().unwrap();
                optimizer.step(&[tensor(grad).to_kind(kind)], lr).unwrap();
                let difference = difference(&parameters.tensors()[0], expected);
                assert!(difference < tolerance, "{name} {kind:?} step {step}: off by {difference}");
                (steps, saved) = (optimizer.steps(), Some(optimizer.state()));
            }
        }
    }
}

/// A gradient that is not contiguous is not supported by the kernels, so operations of libtorch compute the step.
#[test]
fn step_each_optimizer_without_kernel_matches_pytorch() {
    let golden = &golden()["optimizers"];
    for (name, case) in golden["cases"].as_object().unwrap() {
        let config = config(case);
        let mut parameters = Parameters::new(Placement::cpu(0));
        let p = parameters.add("p", tensor(&golden["start"])).unwrap();
        let mut optimizer = Optimizer::new(&config, &parameters).unwrap();
        let each = golden["grads"].as_array().unwrap().iter().zip(case["steps"].as_array().unwrap());
        for (step, (grad, expected)) in each.enumerate() {
            let lr = config.lr * golden["lr_factors"][step].as_f64().unwrap();
            let strided = Tensor::stack(&[tensor(grad), tensor(grad)], 1).select(1, 0);
            assert!(!strided.is_contiguous());
            optimizer.step(&[strided], lr).unwrap();
            let difference = difference(&p, expected);
            assert!(difference < 1e-6, "{name} step {step}: off by {difference}");
        }
    }
}

#[test]
fn mlp_initial_weights_match_pytorch_to_the_bit_and_gradients_match() {
    let golden = &golden()["mlp"];
    let data = DataSpec { input_dims: vec![1, 3, 4], output_dims: vec![3], mapping: vec![], image: None };
    let config = MlpConfig { fc1: 7, fc2: 5, dropout: 0.0 };
    let mlp = Mlp::new(&config, &data, Placement::cpu(42)).unwrap();
    let lit = BaseLitModel::new(Box::new(mlp), LitConfig::default()).unwrap();
    assert_eq!(
        lit.parameters().names(),
        ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"]
    );
    for (name, parameter) in lit.parameters().iter() {
        let values = Vec::<f32>::try_from(parameter.detach().view(-1)).unwrap();
        assert_eq!(values, floats(&golden["weights"][name]), "{name}");
    }
    let x = tensor(&golden["x"]).view([4, 1, 3, 4]);
    let y: Vec<i64> = golden["y"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect();
    assert!(difference(&lit.predict(&x).unwrap(), &golden["logits"]) < 1e-6);
    let batch = Batch { x, y: Tensor::from_slice(&y), rows: vec![0, 1, 2, 3] };
    let mut context = ForwardContext::train(0, 0);
    let output = lit.step(&batch, &mut context).unwrap();
    assert!((output.loss.double_value(&[]) - golden["loss"].as_f64().unwrap()).abs() < 1e-6);
    let grads = context.gradients(&output.loss, lit.parameters().tensors()).unwrap();
    for (name, grad) in lit.parameters().names().iter().zip(&grads) {
        assert!(difference(grad, &golden["grads"][name]) < 1e-6, "{name}");
    }
}

/// Checks a layer `l`: its first weights, its output, and the gradients of its input and its weights. `run` gets the input and
/// returns the output.
fn check_layer(name: &str, parameters: &Parameters, run: impl Fn(&Tensor, &ForwardContext) -> Tensor) {
    let case = &golden()["layers"][name];
    for (parameter, value) in parameters.iter() {
        let parameter = parameter.trim_start_matches("l.");
        let difference = difference(value, &case["first"][parameter]);
        assert!(difference < 1e-7, "{name}: the first {parameter} is off by {difference}");
        tch::no_grad(|| {
            value.shallow_clone().copy_(&tensor(&case["weights"][parameter]).view_as(value));
        });
    }
    let shape: Vec<i64> =
        case["shape"].as_array().unwrap().iter().map(|size| size.as_i64().unwrap()).collect();
    let x = tensor(&case["x"]).view(&shape[..]).set_requires_grad(true);
    let context = ForwardContext::train(0, 0);
    let y = run(&x, &context);
    assert!(difference(&y, &case["y"]) < 1e-5, "{name}");
    let loss = (&y * tensor(&case["factors"]).view_as(&y)).sum(Kind::Float);
    let mut leaves = vec![x];
    leaves.extend(parameters.tensors().iter().map(Tensor::shallow_clone));
    let grads = context.gradients(&loss, &leaves).unwrap();
    assert!(difference(&grads[0], &case["x_grad"]) < 1e-5, "{name}: the gradient of the input");
    for (parameter, grad) in parameters.names().iter().zip(&grads[1..]) {
        let difference = difference(grad, &case["grads"][parameter.trim_start_matches("l.")]);
        assert!(difference < 1e-5, "{name}: the gradient of {parameter} is off by {difference}");
    }
}

#[test]
fn layer_norm_matches_pytorch() {
    let mut parameters = Parameters::new(Placement::cpu(7));
    let layer = LayerNorm::new(&mut parameters, "l", 6).unwrap();
    check_layer("layer_norm", &parameters, |x, _| layer.forward(x).unwrap());
}

#[test]
fn self_attention_matches_pytorch() {
    let mut parameters = Parameters::new(Placement::cpu(7));
    let layer = SelfAttention::new(&mut parameters, "l", 6, 3).unwrap();
    check_layer("self_attention", &parameters, |x, context| layer.forward(x, context).unwrap());
}

#[test]
fn weight_norm_conv_matches_pytorch() {
    let mut parameters = Parameters::new(Placement::cpu(7));
    let layer = WeightNormConv::new(&mut parameters, "l", [3, 2, 4]).unwrap();
    check_layer("weight_norm_conv", &parameters, |x, _| layer.forward(x, 1).unwrap());
}
