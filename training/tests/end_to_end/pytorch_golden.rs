//! Compares the forecasting networks of papers with PyTorch: initial weights, outputs and gradients (see
//! `golden/forecasting_networks.py`).

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use text_recognizer::data::DataSpec;
use text_recognizer::nn::{ForwardContext, Placement};
use training::experiment::registry::{self, ModelKind};

use crate::lab::assert_close;

/// The features, the steps ahead and the targets of a case.
type Shape = (i64, i64, i64);

const WINDOW: i64 = 12;
const ONE: Shape = (1, 3, 1);
const COLUMNS: Shape = (2, 3, 2);
const COVARIATES: Shape = (4, 3, 2);

/// Compares the case `case` of the model `name` with the flags `config`.
fn check(name: &str, case: &str, (features, horizon, targets): Shape, config: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/forecasting_networks.safetensors");
    let golden: HashMap<String, Tensor> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
    let tensor = |of: &str| golden[&format!("{case}.{of}")].shallow_clone();
    let data = DataSpec {
        input_dims: vec![WINDOW, features],
        output_dims: vec![horizon, targets],
        ..DataSpec::default()
    };
    let ModelKind::Network(network) = &registry::model(name).unwrap().kind else { panic!("{name}") };
    let model = network.build(config, &data, Placement::cpu(3)).unwrap();
    let parameters = model.parameters();

    let mut known: Vec<&str> =
        golden.keys().filter_map(|key| key.strip_prefix(&format!("{case}.i."))).collect();
    let mut names: Vec<&str> = parameters.names().iter().map(String::as_str).collect();
    known.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, known, "{case}");
    for (parameter, value) in parameters.iter() {
        assert_close(
            &value.detach(),
            &tensor(&format!("i.{parameter}")),
            &format!("{case}: first {parameter}"),
        );
    }

    let weights: Vec<_> =
        parameters.names().iter().map(|name| (name.clone(), tensor(&format!("w.{name}")))).collect();
    parameters.load(&weights).unwrap();
    let mut context = ForwardContext::eval();
    let y = model.forward(&tensor("x"), &mut context).unwrap();
    assert_close(&y.detach(), &tensor("y"), &format!("{case}: output"));
    let grads = context.gradients(&(y * tensor("f")).sum(Kind::Float), parameters.tensors()).unwrap();
    for (parameter, grad) in parameters.names().iter().zip(&grads) {
        assert_close(grad, &tensor(&format!("g.{parameter}")), &format!("{case}: gradient of {parameter}"));
    }
}

#[test]
fn nlinear_equals_pytorch() {
    check("nlinear", "nlinear", ONE, &json!({}));
    check("nlinear", "nlinear_columns", COLUMNS, &json!({"individual": true}));
    check("nlinear", "nlinear_covariates", COVARIATES, &json!({}));
}

#[test]
fn dlinear_equals_pytorch() {
    check("dlinear", "dlinear", ONE, &json!({"kernel_size": 5}));
    check("dlinear", "dlinear_columns", COLUMNS, &json!({"kernel_size": 11, "individual": true}));
    check("dlinear", "dlinear_covariates", COVARIATES, &json!({"kernel_size": 5}));
}

#[test]
fn nbeats_equals_pytorch() {
    check("nbeats", "nbeats", ONE, &json!({"blocks": 2, "layers": 2, "units": 6}));
    let stacks = json!(["trend", "seasonality"]);
    let config = json!({"stack_types": stacks, "blocks": 2, "layers": 1, "units": 6, "degree": 3});
    check("nbeats", "nbeats_columns", (2, 8, 2), &config);
    let config = json!({"stack_types": stacks, "blocks": 1, "layers": 2, "units": 6});
    check("nbeats", "nbeats_covariates", (4, 8, 2), &config);
}

#[test]
fn nhits_equals_pytorch() {
    check("nhits", "nhits", (1, 8, 1), &json!({"units": 6}));
    let config =
        json!({"pool_kernels": [5, 3], "downsampling": [4, 20], "blocks": 2, "layers": 1, "units": 6});
    check("nhits", "nhits_columns", (2, 9, 2), &config);
    check("nhits", "nhits_covariates", (4, 8, 2), &json!({"units": 6}));
}

#[test]
fn tide_equals_pytorch() {
    check("tide", "tide", ONE, &json!({"units": 6, "decoder_outputs": 3, "temporal_units": 4}));
    let config = json!({"units": 6, "encoder_layers": 2, "decoder_layers": 2, "decoder_outputs": 3,
        "temporal_units": 4, "layer_norm": true});
    check("tide", "tide_columns", COLUMNS, &config);
    let config = json!({"units": 6, "decoder_outputs": 3, "temporal_units": 4, "temporal_width": 3,
        "layer_norm": true});
    check("tide", "tide_covariates", COVARIATES, &config);
}

#[test]
fn tcn_equals_pytorch() {
    check("tcn", "tcn", ONE, &json!({"filters": 4, "kernel_size": 3, "layers": 2}));
    check("tcn", "tcn_columns", COLUMNS, &json!({"filters": 2, "kernel_size": 5, "layers": 4}));
    check("tcn", "tcn_covariates", COVARIATES, &json!({"filters": 5, "kernel_size": 2, "layers": 3}));
}

#[test]
fn patchtst_equals_pytorch() {
    let config = json!({"patch_len": 4, "patch_stride": 2, "units": 8, "heads": 2, "feedforward_units": 6});
    check("patchtst", "patchtst", ONE, &config);
    let config = json!({"patch_len": 5, "patch_stride": 5, "units": 6, "heads": 3, "feedforward_units": 7,
        "layers": 1});
    check("patchtst", "patchtst_columns", COLUMNS, &config);
}
