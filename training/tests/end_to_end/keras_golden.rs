//! Compares the time-series models with Keras: outputs, and weights after one step of SGD (see `golden/keras_models.py`).

use std::collections::HashMap;
use std::path::Path;

use tch::{Reduction, Tensor};
use text_recognizer::Result;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::{Optimizer, OptimizerConfig, OptimizerName, SgdForm};
use training::time_series::models::{
    ConvLstm, ConvLstmConfig, Dnn, DnnConfig, GatedConfig, Gru, Linear, LinearConfig, Lstm, Rnn, RnnConfig,
};

use crate::lab::assert_close;

type Tensors = HashMap<String, Tensor>;

fn golden() -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/keras_models.safetensors");
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// Returns the tensor `label` of Keras in the layout of the parameter `parameter`. Only dense kernels differ: they are transposed.
fn from_keras(golden: &Tensors, label: &str, parameter: &str) -> Tensor {
    let tensor = &golden[label];
    if parameter.ends_with(".weight") { tensor.transpose(0, 1) } else { tensor.shallow_clone() }
}

fn weights(golden: &Tensors, name: &str, prefix: &str, model: &dyn Model) -> Vec<(String, Tensor)> {
    let each = model.parameters().names().iter().enumerate();
    each.map(|(at, parameter)| {
        (parameter.clone(), from_keras(golden, &format!("{name}.{prefix}.{at}"), parameter))
    })
    .collect()
}

fn check<M: Model>(
    name: &str,
    build: impl Fn(&DataSpec, Placement) -> Result<M>,
    loss: fn(&Tensor, &Tensor) -> Tensor,
) {
    let golden = golden();
    let tensor = |suffix: &str| golden[&format!("{name}.{suffix}")].shallow_clone();
    let output_dims = match tensor("y").size()[..] {
        [_, steps, targets] => vec![steps, targets],
        _ => vec![3, 2], // Keras has flattened it.
    };
    let data = DataSpec { input_dims: vec![7, 2], output_dims, mapping: Vec::new(), image: None };
    let model = build(&data, Placement::cpu(0)).unwrap();
    let before = weights(&golden, name, "w", &model);
    model.parameters().load(&before).unwrap();

    let mut context = ForwardContext::train(0, 0);
    let out = model.forward(&tensor("x"), &mut context).unwrap();
    assert_close(&out, &tensor("out").view_as(&out), &format!("the output of {name}"));

    let loss = loss(&out, &tensor("y").view_as(&out));
    let grads = context.gradients(&loss, model.parameters().tensors()).unwrap();
    let lr = tensor("lr").double_value(&[0]);
    let config = OptimizerConfig {
        optimizer: OptimizerName::Sgd,
        sgd_form: SgdForm::Keras,
        momentum: 0.9,
        lr,
        ..OptimizerConfig::default()
    };
    Optimizer::new(&config, model.parameters()).unwrap().step(&grads, lr).unwrap();
    let after = weights(&golden, name, "s", &model);
    for (((parameter, got), (_, before)), (_, after)) in model.parameters().iter().zip(before).zip(after) {
        let label = format!("{parameter} of {name} after a step");
        assert_close(&got.detach(), &after, &label);
        let step = (&after - &before).abs().max().double_value(&[]);
        assert!(step > 5e-3, "the step of {label} is only {step:e}, too small for a comparison");
    }
}

fn mse(out: &Tensor, y: &Tensor) -> Tensor {
    out.mse_loss(y, Reduction::Mean)
}

/// Returns the Huber loss with the default delta of Keras, 1.
fn huber(out: &Tensor, y: &Tensor) -> Tensor {
    out.huber_loss(y, Reduction::Mean, 1.0)
}

#[test]
fn linear_step_equals_keras() {
    check("linear", |data, placement| Linear::new(&LinearConfig::default(), data, placement), mse);
}

#[test]
fn dnn_step_equals_keras() {
    check("dnn", |data, placement| Dnn::new(&DnnConfig::default(), data, placement), mse);
}

#[test]
fn rnn_step_equals_keras() {
    let config = RnnConfig { units: 9, ..Default::default() };
    check("rnn", |data, placement| Rnn::new(&config, data, placement), huber);
}

#[test]
fn lstm_step_equals_keras() {
    let config = GatedConfig { units: 6, ..Default::default() };
    check("lstm", |data, placement| Lstm::new(&config, data, placement), mse);
}

#[test]
fn bidirectional_lstm_step_equals_keras() {
    let config = GatedConfig { units: 6, layers: 2, bidirectional: true, ..Default::default() };
    check("lstm_bidirectional", |data, placement| Lstm::new(&config, data, placement), mse);
}

#[test]
fn gru_step_equals_keras() {
    let config = GatedConfig { units: 6, ..Default::default() };
    check("gru", |data, placement| Gru::new(&config, data, placement), mse);
}

#[test]
fn bidirectional_gru_step_equals_keras() {
    let config = GatedConfig { units: 6, bidirectional: true, ..Default::default() };
    check("gru_bidirectional", |data, placement| Gru::new(&config, data, placement), mse);
}

#[test]
fn conv_lstm_step_equals_keras() {
    let config = ConvLstmConfig { filters: 4, units: 6, ..Default::default() };
    check("conv_lstm", |data, placement| ConvLstm::new(&config, data, placement), huber);
}

#[test]
fn conv_lstm_with_sequence_loss_step_equals_keras() {
    let config = ConvLstmConfig { filters: 4, units: 6, sequence_loss: true, ..Default::default() };
    check("conv_lstm_sequence", |data, placement| ConvLstm::new(&config, data, placement), huber);
}
