use clap::{Args, Command, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Kind;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Placement};

use super::*;

fn data(input: [i64; 2], output: [i64; 2]) -> DataSpec {
    DataSpec { input_dims: input.to_vec(), output_dims: output.to_vec(), mapping: Vec::new(), image: None }
}

/// Returns the shapes of two targets with quantiles.
fn shapes(quantiles: i64) -> DataSpec {
    DataSpec { output_dims: vec![3, 2, quantiles], ..data([7, 2], [3, 2]) }
}

fn interpretable() -> NbeatsConfig {
    NbeatsConfig { stack_types: vec![StackType::Trend, StackType::Seasonality], ..Default::default() }
}

fn all(data: &DataSpec, sequence_loss: bool) -> Vec<Box<dyn Model>> {
    let placement = Placement::cpu(3);
    vec![
        Box::new(Linear::new(&LinearConfig::default(), data, placement).unwrap()),
        Box::new(Dnn::new(&DnnConfig::default(), data, placement).unwrap()),
        Box::new(Rnn::new(&RnnConfig { sequence_loss, ..Default::default() }, data, placement).unwrap()),
        Box::new(Lstm::new(&GatedConfig { sequence_loss, ..Default::default() }, data, placement).unwrap()),
        Box::new(
            Lstm::new(&GatedConfig { bidirectional: true, layers: 2, ..Default::default() }, data, placement)
                .unwrap(),
        ),
        Box::new(Gru::new(&GatedConfig { sequence_loss, ..Default::default() }, data, placement).unwrap()),
        Box::new(Nlinear::new(&NlinearConfig::default(), data, placement).unwrap()),
        Box::new(Nlinear::new(&NlinearConfig { individual: true }, data, placement).unwrap()),
        Box::new(Dlinear::new(&DlinearConfig::default(), data, placement).unwrap()),
        Box::new(Nbeats::new(&NbeatsConfig::default(), data, placement).unwrap()),
        Box::new(Nbeats::new(&interpretable(), data, placement).unwrap()),
        Box::new(Nhits::new(&NhitsConfig::default(), data, placement).unwrap()),
        Box::new(Tide::new(&TideConfig::default(), data, placement).unwrap()),
        Box::new(Tide::new(&TideConfig { layer_norm: true, ..Default::default() }, data, placement).unwrap()),
        Box::new(Tcn::new(&TcnConfig::default(), data, placement).unwrap()),
        Box::new(PatchTst::new(&PatchTstConfig::default(), data, placement).unwrap()),
        Box::new(
            ConvLstm::new(&ConvLstmConfig { sequence_loss, ..Default::default() }, data, placement).unwrap(),
        ),
    ]
}

#[test]
fn forward_of_every_model_has_the_target_shape_and_a_gradient_per_parameter() {
    let data = data([7, 2], [3, 2]);
    let x = Tensor::randn([5, 7, 2], tch::kind::FLOAT_CPU);
    for model in all(&data, false) {
        let mut context = ForwardContext::train(0, 0);
        let y = model.forward(&x, &mut context).unwrap();
        assert_eq!(y.size(), [5, 3, 2], "{model:?}");
        let grads = context.gradients(&y.square().sum(Kind::Float), model.parameters().tensors()).unwrap();
        for ((name, _), grad) in model.parameters().iter().zip(grads) {
            assert!(grad.abs().max().double_value(&[]) > 0.0, "{name} of {model:?}");
        }
    }
}

#[test]
fn sequence_output_at_the_last_step_equals_the_single_forecast() {
    let data = data([7, 1], [1, 1]);
    let x = Tensor::randn([5, 7, 1], tch::kind::FLOAT_CPU);
    let models = all(&data, false).into_iter().zip(all(&data, true));
    let mut compared = 0;
    for at_last_and_each in models {
        let run = |model: &dyn Model| model.forward(&x, &mut ForwardContext::eval()).unwrap();
        let (last, each) = (run(&*at_last_and_each.0), run(&*at_last_and_each.1));
        if each.size()[1] == 7 {
            assert!(each.narrow(1, 6, 1).allclose(&last, 1e-6, 1e-6, false));
            compared += 1;
        }
    }
    assert_eq!(compared, 4, "the recurrent models have a sequence output");
}

#[test]
fn conv_lstm_output_depends_on_no_later_step() {
    let data = data([6, 1], [1, 1]);
    let config = ConvLstmConfig { sequence_loss: true, ..Default::default() };
    let model = ConvLstm::new(&config, &data, Placement::cpu(0)).unwrap();
    let x = Tensor::randn([1, 6, 1], tch::kind::FLOAT_CPU);
    let changed = x.copy();
    let _ = changed.narrow(1, 3, 1).fill_(9.0);
    let run = |x: &Tensor| model.forward(x, &mut ForwardContext::eval()).unwrap().flatten(0, -1);
    let same = Vec::<bool>::try_from(run(&x).eq_tensor(&run(&changed))).unwrap();
    assert_eq!(same, [true, true, true, false, false, false]);
}

#[test]
fn dropout_in_training_is_the_same_for_the_same_step() {
    let data = data([6, 1], [1, 1]);
    let model =
        Rnn::new(&RnnConfig { dropout: 0.5, ..Default::default() }, &data, Placement::cpu(0)).unwrap();
    let x = Tensor::randn([4, 6, 1], tch::kind::FLOAT_CPU);
    let run = |mut context: ForwardContext| model.forward(&x, &mut context).unwrap();
    assert_eq!(run(ForwardContext::train(0, 1)), run(ForwardContext::train(0, 1)));
    assert_ne!(run(ForwardContext::train(0, 1)), run(ForwardContext::train(0, 2)));
    assert_ne!(run(ForwardContext::train(0, 1)), run(ForwardContext::eval()));
}

#[test]
fn impossible_config_is_an_error_with_the_name() {
    let one = data([6, 1], [1, 1]);
    let lstm = |config: GatedConfig, data: &DataSpec| {
        Lstm::new(&config, data, Placement::cpu(0)).unwrap_err().to_string()
    };
    let conv =
        |config: ConvLstmConfig| ConvLstm::new(&config, &one, Placement::cpu(0)).unwrap_err().to_string();
    let table = [
        ("units is 0", lstm(GatedConfig { units: 0, ..Default::default() }, &one)),
        ("layers is -1", lstm(GatedConfig { layers: -1, ..Default::default() }, &one)),
        ("dropout is 1", lstm(GatedConfig { dropout: 1.0, ..Default::default() }, &one)),
        ("output_scale is NaN", lstm(GatedConfig { output_scale: f64::NAN, ..Default::default() }, &one)),
        (
            "horizon is 3",
            lstm(GatedConfig { sequence_loss: true, ..Default::default() }, &data([6, 1], [3, 1])),
        ),
        ("input_dims", lstm(GatedConfig::default(), &data([0, 1], [1, 1]))),
        ("filters is 0", conv(ConvLstmConfig { filters: 0, ..Default::default() })),
        ("kernel_size is 0", conv(ConvLstmConfig { kernel_size: 0, ..Default::default() })),
    ];
    for (expected, got) in table {
        assert!(got.contains(expected), "no {expected:?} in {got}");
    }
    for (kernel_size, expected) in
        [(0, "kernel_size is 0"), (4, "an odd number"), (7, "from 1 to 6, the window_size")]
    {
        let config = DlinearConfig { kernel_size: kernel_size.into(), ..Default::default() };
        let error = Dlinear::new(&config, &one, Placement::cpu(0)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let nbeats = |config: NbeatsConfig, data: &DataSpec| {
        Nbeats::new(&config, data, Placement::cpu(0)).unwrap_err().to_string()
    };
    let nhits = |config: NhitsConfig| Nhits::new(&config, &one, Placement::cpu(0)).unwrap_err().to_string();
    let table = [
        (
            "values of stack_types is 0",
            nbeats(NbeatsConfig { stack_types: vec![], ..Default::default() }, &one),
        ),
        (
            "blocks is 501: expected 1 to 1000 blocks in all 2 stacks",
            nbeats(NbeatsConfig { blocks: 501, ..interpretable() }, &one),
        ),
        ("degree is 101", nbeats(NbeatsConfig { degree: 101, ..Default::default() }, &one)),
        ("horizon is 5000", nbeats(interpretable(), &data([6, 1], [5000, 1]))),
        (
            "pool_kernels is 7: expected 1 to 6",
            nhits(NhitsConfig { pool_kernels: vec![7, 2, 1], ..Default::default() }),
        ),
        (
            "values of pool_kernels is 0",
            nhits(NhitsConfig { pool_kernels: vec![], downsampling: vec![], ..Default::default() }),
        ),
        (
            "values of downsampling is 3: expected 2",
            nhits(NhitsConfig { pool_kernels: vec![1, 1], ..Default::default() }),
        ),
        ("downsampling is 0", nhits(NhitsConfig { downsampling: vec![0, 2, 1], ..Default::default() })),
        ("blocks is 0", nhits(NhitsConfig { blocks: 0, ..Default::default() })),
    ];
    for (expected, got) in table {
        assert!(got.contains(expected), "no {expected:?} in {got}");
    }
    let patchtst = |config: PatchTstConfig, data: &DataSpec| {
        PatchTst::new(&config, data, Placement::cpu(0)).unwrap_err().to_string()
    };
    let tide = |config: TideConfig, data: &DataSpec| {
        Tide::new(&config, data, Placement::cpu(0)).unwrap_err().to_string()
    };
    let tcn = |config: TcnConfig| Tcn::new(&config, &one, Placement::cpu(0)).unwrap_err().to_string();
    let table = [
        (
            "patch_len is 7: expected 1 to 6",
            patchtst(PatchTstConfig { patch_len: 7.into(), ..Default::default() }, &one),
        ),
        (
            "patch_stride is 5: expected 1 to 4",
            patchtst(
                PatchTstConfig { patch_len: 4.into(), patch_stride: 5.into(), ..Default::default() },
                &one,
            ),
        ),
        (
            "units is 16: expected a multiple of the heads, 3",
            patchtst(PatchTstConfig { heads: 3, ..Default::default() }, &one),
        ),
        (
            "the number of covariates is 2: expected 0",
            patchtst(PatchTstConfig::default(), &data([6, 3], [1, 1])),
        ),
        (
            "window_size is 2: expected at least the horizon, 3",
            tide(TideConfig::default(), &data([2, 2], [3, 1])),
        ),
        ("encoder_layers is 0", tide(TideConfig { encoder_layers: 0, ..Default::default() }, &one)),
        ("temporal_width is 0", tide(TideConfig { temporal_width: 0, ..Default::default() }, &one)),
        (
            "layers is 4: expected 1 to 3 for a window_size of 6",
            tcn(TcnConfig { layers: 4.into(), ..Default::default() }),
        ),
        ("filters is 0", tcn(TcnConfig { filters: 0, ..Default::default() })),
    ];
    for (expected, got) in table {
        assert!(got.contains(expected), "no {expected:?} in {got}");
    }
    let dnn = DnnConfig { layers: 0, ..Default::default() };
    assert!(Dnn::new(&dnn, &one, Placement::cpu(0)).unwrap_err().to_string().contains("layers is 0"));
}

/// One quantile changes nothing. The columns of several are `quantiles * targets`: each target keeps its own values if the network
/// forecasts each target from its own window.
#[test]
fn forward_with_quantiles_has_the_columns_of_each_quantile_after_each_other() {
    let (plain, one, three) = (data([7, 2], [3, 2]), shapes(1), shapes(3));
    let x = Tensor::randn([5, 7, 2], tch::kind::FLOAT_CPU);
    let swapped = x.flip([2]);
    let forward = |model: &dyn Model, x: &Tensor| model.forward(x, &mut ForwardContext::eval()).unwrap();
    for ((plain, one), three) in all(&plain, false).iter().zip(&all(&one, false)).zip(&all(&three, false)) {
        assert_eq!(forward(&**plain, &x), forward(&**one, &x), "{plain:?}");
        let y = forward(&**three, &x);
        assert_eq!(y.size(), [5, 3, 6], "{three:?}");
        let names: Vec<&str> = three.parameters().iter().map(|(name, _)| name).collect();
        // The networks whose weights are the same for all targets.
        let of_targets = ["linear.weight", "seasonal.weight", "blocks.0.hidden.0.weight", "embedding.weight"];
        if names.iter().any(|name| of_targets.contains(name))
            && !names.iter().any(|name| name.starts_with("blocks.0.conv"))
        {
            let by_quantile = |y: &Tensor| y.view([5, 3, 3, 2]);
            let difference = by_quantile(&forward(&**three, &swapped)).flip([3]) - by_quantile(&y);
            assert!(difference.abs().max().double_value(&[]) < 1e-5, "{three:?}");
        }
        let differ = (y.narrow(2, 0, 2) - y.narrow(2, 4, 2)).abs().max().double_value(&[]);
        assert!(differ > 1e-3, "{three:?}");
    }
}

#[test]
fn more_targets_than_columns_is_an_error() {
    let data = data([7, 1], [3, 2]);
    let error = Nlinear::new(&NlinearConfig::default(), &data, Placement::cpu(0)).unwrap_err().to_string();
    assert!(error.contains("is 1: expected at least 2, the number of targets"), "{error}");
}

#[test]
fn dlinear_kernel_size_auto_is_25_or_the_longest_in_the_window() {
    for (size, expected) in [(1, 1), (2, 1), (7, 7), (24, 23), (25, 25), (96, 25)] {
        assert_eq!(DlinearConfig::default().kernel_size(size).unwrap(), expected, "{size}");
    }
}

#[test]
fn tcn_layers_auto_see_the_whole_window() {
    // A block with kernels of 3 time steps adds 4 time steps, the next one 8, and so on.
    let config = |kernel_size| TcnConfig { kernel_size, ..Default::default() };
    for (kernel_size, size, expected) in
        [(3, 1, 1), (3, 5, 1), (3, 6, 2), (3, 13, 2), (3, 14, 3), (7, 20, 2), (7, 96, 4), (1, 20, 5)]
    {
        let layers = config(kernel_size).layers(size).unwrap();
        assert_eq!(layers, expected, "{size} time steps, kernels of {kernel_size}");
    }
    assert_eq!(config(i64::MAX).layers(i64::MAX).unwrap(), 1);
}

#[test]
fn patchtst_patches_auto_are_those_of_the_paper_or_fit_into_the_window() {
    for (size, expected) in [(336, (16, 8)), (16, (16, 8)), (7, (7, 3)), (1, (1, 1))] {
        assert_eq!(PatchTstConfig::default().patches(size).unwrap(), expected, "{size}");
    }
}

#[test]
fn forward_of_other_window_shape_is_an_error() {
    for model in all(&data([7, 2], [1, 2]), false) {
        let x = Tensor::zeros([5, 7, 1], tch::kind::FLOAT_CPU);
        let error = model.forward(&x, &mut ForwardContext::eval()).unwrap_err().to_string();
        assert!(error.contains("expected shape [batch, 7, 2], got [5, 7, 1]"), "{error}");
    }
}

#[test]
fn default_config_equals_its_flags_and_round_trips_as_json() {
    fn check<
        C: Args + FromArgMatches + Default + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned,
    >(
        json: &str,
    ) {
        let flags = C::augment_args(Command::new("test")).get_matches_from(["test"]);
        assert_eq!(C::from_arg_matches(&flags).unwrap(), C::default());
        assert_eq!(serde_json::to_string(&C::default()).unwrap(), json);
        assert_eq!(serde_json::from_str::<C>(json).unwrap(), C::default());
        assert!(serde_json::from_str::<C>(r#"{"unknown": 1}"#).is_err());
    }
    check::<LinearConfig>("{}");
    check::<NlinearConfig>(r#"{"individual":false}"#);
    check::<DlinearConfig>(r#"{"kernel_size":"auto","individual":false}"#);
    check::<NbeatsConfig>(
        r#"{"stack_types":["generic"],"blocks":3,"layers":4,"units":128,"degree":2,"dropout":0.0}"#,
    );
    check::<NhitsConfig>(
        r#"{"pool_kernels":[2,2,1],"downsampling":[4,2,1],"blocks":1,"layers":2,"units":256,"dropout":0.0}"#,
    );
    check::<TideConfig>(
        r#"{"units":128,"encoder_layers":1,"decoder_layers":1,"decoder_outputs":16,"temporal_units":32,"temporal_width":4,"layer_norm":false,"dropout":0.1}"#,
    );
    check::<TcnConfig>(r#"{"filters":25,"kernel_size":7,"layers":"auto","dropout":0.05}"#);
    check::<PatchTstConfig>(
        r#"{"patch_len":"auto","patch_stride":"auto","units":16,"heads":4,"feedforward_units":128,"layers":3,"dropout":0.3}"#,
    );
    check::<DnnConfig>(r#"{"units":10,"layers":2,"dropout":0.0}"#);
    check::<RnnConfig>(r#"{"units":40,"layers":2,"dropout":0.0,"output_scale":100.0,"sequence_loss":false}"#);
    check::<GatedConfig>(
        r#"{"units":32,"layers":1,"bidirectional":false,"dropout":0.0,"output_scale":100.0,"sequence_loss":false}"#,
    );
    check::<ConvLstmConfig>(
        r#"{"filters":32,"kernel_size":5,"units":32,"layers":2,"dropout":0.0,"output_scale":200.0,"sequence_loss":false}"#,
    );
    let flags = GatedConfig::augment_args(Command::new("test")).get_matches_from(["test", "--bidirectional"]);
    assert!(GatedConfig::from_arg_matches(&flags).unwrap().bidirectional);
}
