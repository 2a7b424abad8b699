//! Tests of every row of the two tables: a new row is tested as soon as it is there.

use std::collections::BTreeSet;
use std::rc::Rc;

use clap::FromArgMatches;
use serde_json::json;
use tch::{Device, Kind, Tensor, kind};
use text_recognizer::checkpoint::{self, DType, Description};
use text_recognizer::data::{Batch, Dataset};
use text_recognizer::lit_models::{LitConfig, LitModel, LossName};
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::{Optimizer, OptimizerConfig, OptimizerName};

use super::*;
use crate::commands;
use crate::experiment::{TrainedForecaster, load_forecaster};
use crate::tasks::Forecasting;
use crate::time_series::{BaselineConfig, BaselineForecaster, Forecaster, Target};

/// Parses flags and returns the configuration.
fn parse(flags: &Flags, args: &[&str]) -> Value {
    let command = (flags.augment)(Command::new("")).no_binary_name(true);
    (flags.read)(&command.try_get_matches_from(args).unwrap()).unwrap()
}

/// A network on four rows of the data that it is trained on by default.
struct Lab {
    entry: &'static ModelEntry,
    network: &'static Network,
    config: Value,
    data: Data,
}

impl Lab {
    fn new(entry: &'static ModelEntry, network: &'static Network) -> Self {
        let source = data(default_data(entry.name)).unwrap();
        let scaled =
            (source.flags.augment)(Command::new("")).get_arguments().any(|arg| arg.get_id() == "scaling");
        let flags: &[&str] = if scaled { &["--scaling", "standard"] } else { &[] };
        let config = parse(&entry.flags, &[]);
        let data = source.build(&parse(&source.flags, flags), entry.target(&config).unwrap(), None).unwrap();
        Self { entry, network, config, data }
    }

    /// Returns four rows from all over the training split.
    fn batch(&self) -> Batch {
        let train = self.train();
        let rows: Vec<i64> = (0..4).map(|row| row * (train.len() as i64 / 4)).collect();
        let (x, y) = train.gather(&Tensor::from_slice(&rows)).unwrap();
        Batch { x, y, rows }
    }

    fn train(&self) -> Box<dyn Dataset> {
        self.data.module.prepare_data().unwrap();
        self.data.module.setup().unwrap().train.to(Device::Cpu, Kind::Float).unwrap()
    }

    fn model(&self, seed: u64) -> Box<dyn Model> {
        self.model_with(&LitConfig::default(), seed)
    }

    fn model_with(&self, config: &LitConfig, seed: u64) -> Box<dyn Model> {
        let shapes = self.data.task.network_shapes(self.data.module.spec(), config).unwrap();
        self.network.build(&self.config, &shapes, Placement::cpu(seed)).unwrap()
    }

    /// Returns the network with the loss that it is trained with by default.
    fn lit(&self) -> Rc<dyn LitModel> {
        let command = commands::command(self.entry, data(default_data(self.entry.name)).unwrap());
        let matches = command.try_get_matches_from(["run_experiment"]).unwrap();
        let lit = LitConfig::from_arg_matches(&matches).unwrap();
        self.data.task.lit(self.model(1), &lit).unwrap()
    }

    fn description(&self) -> Description {
        self.description_with(&LitConfig::default())
    }

    fn description_with(&self, config: &LitConfig) -> Description {
        Description {
            model: self.entry.name.into(),
            model_config: self.config.clone(),
            data: self.data.module.spec(),
            dtype: DType::Float32,
            task: self.data.task.name().into(),
            extras: self.data.task.extras(Some(config)).unwrap(),
        }
    }
}

/// Returns a lab for each network of the table.
fn networks() -> impl Iterator<Item = Lab> {
    MODELS.iter().filter_map(|entry| match &entry.kind {
        ModelKind::Network(network) => Some(Lab::new(entry, network)),
        ModelKind::Baseline(_) => None,
    })
}

fn loss(lit: &dyn LitModel, batch: &Batch) -> f64 {
    tch::no_grad(|| lit.step(batch, &mut ForwardContext::eval())).unwrap().loss.double_value(&[])
}

#[test]
fn network_trains_a_step_with_a_gradient_in_each_parameter() {
    for lab in networks() {
        let (lit, batch, name) = (lab.lit(), lab.batch(), lab.entry.name);
        // Not the loss, whose gradients may cancel each other: a sum in which each output has another weight.
        let (model, mut context) = (lab.model(1), ForwardContext::train(0, 0));
        let y = model.forward(&batch.x, &mut context).unwrap();
        let sum = (&y * Tensor::arange(y.numel() as i64, kind::FLOAT_CPU).view_as(&y)).sum(Kind::Float);
        let grads = context.gradients(&sum, model.parameters().tensors()).unwrap();
        for ((parameter, _), grad) in lit.parameters().iter().zip(&grads) {
            let size = grad.abs().max().double_value(&[]);
            assert!(size > 0.0 && size.is_finite(), "{name}: the gradient of {parameter} is {size}");
        }
        let mut context = ForwardContext::train(0, 0);
        let output = lit.step(&batch, &mut context).unwrap();
        let grads = context.gradients(&output.loss, lit.parameters().tensors()).unwrap();
        let before = lit.parameters().snapshot();
        lit.optimizer().unwrap().step(&grads, 1e-3).unwrap();
        for (((parameter, after), (_, before)), grad) in lit.parameters().iter().zip(&before).zip(&grads) {
            let still = grad.abs().max().double_value(&[]) == 0.0;
            assert_eq!(after == before, still, "{name}: {parameter} after a step");
        }
    }
}

#[test]
fn network_overfits_four_rows() {
    for mut lab in networks() {
        // The question is what the layers can learn, and the noise of dropout would blur the answer.
        if let Some(dropout) = lab.config.get_mut("dropout") {
            *dropout = json!(0.0);
        }
        let (lit, batch) = (lab.lit(), lab.batch());
        let config = OptimizerConfig { optimizer: OptimizerName::Adam, ..OptimizerConfig::default() };
        let mut optimizer = Optimizer::new(&config, lit.parameters()).unwrap();
        let before = loss(&*lit, &batch);
        let mut after = before;
        let mut steps = 0;
        while after > before / 100.0 && steps < 400 {
            for _ in 0..10 {
                let mut context = ForwardContext::train(0, steps);
                let output = lit.step(&batch, &mut context).unwrap();
                let grads = context.gradients(&output.loss, lit.parameters().tensors()).unwrap();
                optimizer.step(&grads, 5e-3).unwrap();
                steps += 1;
            }
            after = loss(&*lit, &batch);
        }
        let name = lab.entry.name;
        assert!(after <= before / 100.0, "{name}: the loss of {before} is still {after} after {steps} steps");
    }
}

#[test]
fn network_checkpoint_gives_the_same_outputs() {
    let folder = tempfile::tempdir().unwrap();
    for lab in networks() {
        let (model, batch, name) = (lab.model(1), lab.batch(), lab.entry.name);
        let path = folder.path().join(name);
        checkpoint::save(&path, &model.parameters().snapshot(), &lab.description(), &json!({"note": 1}))
            .unwrap();
        let loaded = checkpoint::load(&path).unwrap();
        assert_eq!(loaded.description, lab.description(), "{name}");
        let Description { model_config, data, .. } = &loaded.description;
        let other = lab.network.build(model_config, data, Placement::cpu(2)).unwrap();
        let output = |model: &dyn Model| model.forward(&batch.x, &mut ForwardContext::eval()).unwrap();
        assert_ne!(output(&*model), output(&*other), "{name}: another seed, other weights");
        other.parameters().load(&loaded.weights).unwrap();
        assert_eq!(output(&*model), output(&*other), "{name}");
    }
}

#[test]
fn forecasting_checkpoint_forecasts_as_the_network_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let series = synthetic(&SyntheticConfig::default()).unwrap();
    for lab in networks().filter(|lab| lab.entry.task == Forecasting::NAME) {
        let (lit, name) = (lab.lit(), lab.entry.name);
        let path = folder.path().join(name);
        checkpoint::save(&path, &lit.parameters().snapshot(), &lab.description(), &json!({})).unwrap();
        let TrainedForecaster { forecaster, columns, .. } = load_forecaster(&path).unwrap();
        assert_eq!(columns, series.columns(), "{name}");
        // The window before the first row of the validation split.
        let (x, _) = lab.data.module.setup().unwrap().val.slice(0, 1).unwrap();
        let expected = lit.predict(&x).unwrap().to_kind(Kind::Double).view([1, 1]);
        assert_eq!(forecaster.forecast_rows(&series, 1000..1001).unwrap(), [expected], "{name}");
        assert_eq!(forecaster.horizon(), 1, "{name}");
    }
}

#[test]
fn network_with_quantiles_learns_them_and_its_checkpoint_forecasts_them() {
    let folder = tempfile::tempdir().unwrap();
    let series = synthetic(&SyntheticConfig::default()).unwrap();
    let config = LitConfig { loss: LossName::Quantile, ..LitConfig::default() };
    for lab in networks().filter(|lab| lab.entry.task == Forecasting::NAME) {
        let (batch, name) = (lab.batch(), lab.entry.name);
        let lit = lab.data.task.lit(lab.model_with(&config, 1), &config).unwrap();
        let adam = OptimizerConfig { optimizer: OptimizerName::Adam, ..OptimizerConfig::default() };
        let mut optimizer = Optimizer::new(&adam, lit.parameters()).unwrap();
        let before = loss(&*lit, &batch);
        for step in 0..60 {
            let mut context = ForwardContext::train(0, step);
            let output = lit.step(&batch, &mut context).unwrap();
            let grads = context.gradients(&output.loss, lit.parameters().tensors()).unwrap();
            optimizer.step(&grads, 5e-3).unwrap();
        }
        let after = loss(&*lit, &batch);
        assert!(after < before / 2.0, "{name}: {before} to {after}");

        let path = folder.path().join(name);
        let description = lab.description_with(&config);
        checkpoint::save(&path, &lit.parameters().snapshot(), &description, &json!({})).unwrap();
        let forecaster = load_forecaster(&path).unwrap().forecaster;
        let quantiles = forecaster.quantiles().unwrap();
        assert_eq!(quantiles.values(), [0.1, 0.5, 0.9], "{name}");
        let (x, _) = lab.data.module.setup().unwrap().val.slice(0, 1).unwrap();
        let expected = lit.predict(&x).unwrap().to_kind(Kind::Double).view([1, 3]);
        let values = Vec::<f64>::try_from(expected.view(-1)).unwrap();
        assert!(values.is_sorted(), "{name}: {values:?}");
        assert_eq!(forecaster.forecast_rows(&series, 1000..1001).unwrap(), [expected], "{name}");
        assert_eq!(forecaster.forecast_future(&series, 4).unwrap().size(), [4, 3], "{name}");
    }
}

#[test]
fn baseline_checkpoint_forecasts_as_the_baseline() {
    let folder = tempfile::tempdir().unwrap();
    // A demand has no negative values.
    let series = synthetic(&SyntheticConfig { baseline: 100.0, ..SyntheticConfig::default() }).unwrap();
    let source = data("series").unwrap();
    let data = source.build(&parse(&source.flags, &[]), Target::default(), None).unwrap();
    for entry in MODELS.iter() {
        let ModelKind::Baseline(baseline) = entry.kind else { continue };
        let path = folder.path().join(entry.name);
        let description = Description {
            model: entry.name.into(),
            model_config: parse(&entry.flags, &[]),
            data: data.module.spec(),
            dtype: DType::Float32,
            task: entry.task.into(),
            extras: data.task.extras(None).unwrap(),
        };
        checkpoint::save(&path, &[], &description, &json!({})).unwrap();
        let config = BaselineConfig::default().of(&series);
        let expected = BaselineForecaster { baseline, config, horizon: 1, stride: 1 };
        let forecast = |forecaster: &dyn Forecaster| {
            (
                forecaster.forecast_rows(&series, 1000..1010).unwrap(),
                forecaster.forecast_future(&series, 5).unwrap(),
            )
        };
        assert_eq!(
            forecast(&*load_forecaster(&path).unwrap().forecaster),
            forecast(&expected),
            "{}",
            entry.name
        );
    }
}

#[test]
fn names_of_models_and_data_are_unique_words() {
    for names in [
        MODELS.iter().map(|entry| entry.name).collect::<Vec<_>>(),
        DATA.iter().map(|entry| entry.name).collect(),
    ] {
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        let word =
            |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        assert!(names.iter().all(word), "{names:?}");
    }
}

#[test]
fn entries_have_a_line_of_help_and_are_found_by_name() {
    for entry in MODELS.iter() {
        assert!(!entry.about.is_empty() && !entry.about.contains('\n'), "{}", entry.name);
        assert_eq!(model(entry.name).unwrap().about, entry.about);
        check_pair(entry, data(default_data(entry.name)).unwrap()).unwrap();
    }
    for entry in DATA.iter() {
        assert!(!entry.about.is_empty() && !entry.about.contains('\n'), "{}", entry.name);
        assert_eq!(data(entry.name).unwrap().about, entry.about);
        let taught = MODELS.iter().any(|model| check_pair(model, entry).is_ok());
        assert!(taught, "no model can be trained on {}", entry.name);
    }
}

#[test]
fn defaults_of_every_entry_parse() {
    for entry in MODELS.iter() {
        let config = parse(&entry.flags, &[]);
        assert!(config.is_object(), "{}", entry.name);
        entry.target(&config).unwrap();
    }
    for entry in DATA.iter() {
        assert!(parse(&entry.flags, &[]).is_object(), "{}", entry.name);
    }
}

/// A new flag must not make the checkpoints of earlier versions unreadable.
#[test]
fn network_of_a_configuration_without_fields_is_the_default_one() {
    for lab in networks() {
        let build = |config: &Value| {
            lab.network
                .build(config, &lab.data.module.spec(), Placement::cpu(3))
                .unwrap()
                .parameters()
                .snapshot()
        };
        assert_eq!(build(&json!({})), build(&lab.config), "{}", lab.entry.name);
    }
    assert_eq!(serde_json::from_str::<BaselineConfig>("{}").unwrap(), BaselineConfig::default());
    assert_eq!(serde_json::from_str::<LitConfig>("{}").unwrap(), LitConfig::default());
}

#[test]
fn flags_of_every_command_have_a_help_text() {
    fn check(command: &Command, of: &str) {
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let id = arg.get_id();
            assert!(!help.trim().is_empty(), "{of}: {id} has no help");
            assert!(!help.contains('?'), "{of}: the help of {id} asks: {help}");
        }
        for inner in command.get_subcommands() {
            assert!(inner.get_about().is_some(), "{} has no line of help", inner.get_name());
            check(inner, inner.get_name());
        }
    }
    for model in MODELS.iter() {
        for data in DATA.iter().filter(|data| data.task == model.task) {
            check(&commands::command(model, data), &format!("{} on {}", model.name, data.name));
        }
    }
}
