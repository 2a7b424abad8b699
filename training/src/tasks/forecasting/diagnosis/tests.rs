use std::time::Duration;

use text_recognizer::data::{DataModule, DataSplits};
use text_recognizer::lit_models::{LitConfig, LossName};
use text_recognizer::nn::Placement;

use super::*;
use crate::tasks::forecasting::splits::Split;
use crate::tasks::forecasting::{Forecasting, LitForecaster};
use crate::time_series::models::{Dnn, DnnConfig};
use crate::time_series::{
    BaselineConfig, Forecaster, LevelConfig, NetworkForecaster, Series, SyntheticConfig, Target,
    WindowConfig, synthetic,
};
use crate::trainer::callbacks::StopReason;
use crate::trainer::{Best, LoaderConfig, LossRange, SingleProcess};

fn windows() -> WindowConfig {
    crate::testing::windows(&["--split_time=200"])
}

fn summary(epochs: u64, best: u64, [least, greatest]: [f64; 2]) -> FitSummary {
    FitSummary {
        stop: StopReason::MaxEpochs,
        epochs,
        steps: epochs,
        skipped: 0,
        train_time: Duration::ZERO,
        train_batches: epochs,
        best: Some(Best { metric: "val_loss".into(), value: 1.0, epoch: best }),
        losses: Some(LossRange { epochs, least, greatest }),
    }
}

/// Returns the findings about a network after `change` of its weights.
fn findings(change: impl Fn(&str, &mut Tensor), summary: &FitSummary) -> Vec<Finding> {
    let config = SyntheticConfig { length: 250, period: 20, noise_level: 1.0, ..SyntheticConfig::default() };
    let series: Series = synthetic(&config).unwrap();
    let module =
        SeriesDataModule::new(series, windows(), BaselineConfig::default(), Target::AfterWindow).unwrap();
    let task = Forecasting::new(std::rc::Rc::new(module), LevelConfig::default());
    let module = &task.module;
    let model = Dnn::new(&DnnConfig::default(), &module.spec(), Placement::cpu(1)).unwrap();
    for (name, weights) in text_recognizer::models::Model::parameters(&model).iter() {
        tch::no_grad(|| change(name, &mut weights.shallow_clone()));
    }
    let config = LitConfig { loss: LossName::Mse, ..LitConfig::default() };
    let lit = LitForecaster::new(Box::new(model), config, module.scaler().clone(), 1).unwrap();
    let lit: std::rc::Rc<dyn LitModel> = std::rc::Rc::new(lit);
    let splits: DataSplits = module.setup().unwrap();
    let shuffle = text_recognizer::data::Shuffle::No;
    let place = (tch::Device::Cpu, Kind::Float);
    let loaders = Loaders::new(splits, &LoaderConfig::default(), shuffle, place, &SingleProcess).unwrap();
    let network = NetworkForecaster {
        covariates: None,
        statics: None,
        quantiles: None,
        lit: std::rc::Rc::clone(&lit),
        data: module.spec(),
        scaler: module.scaler().clone(),
        stride: 1,
        batch_size: 32,
    };
    assert_eq!(network.horizon(), 1);
    let forecast = Forecast::new(&network, module.series(), module.validation()).unwrap();
    let comparison = Comparison::new("dnn", (Split::Validation, 200), &forecast, &task).unwrap();
    Diagnosis::of_network(&comparison, &forecast, module, (&*lit, &loaders, summary)).unwrap().0
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.kind).collect()
}

/// Copies the last value of the window through both hidden layers: the naive forecast, and a little better.
fn nearly_naive(name: &str, weights: &mut Tensor) {
    let _ = weights.zero_();
    let at = match name {
        "hidden.0.weight" => [0, 19],
        "hidden.1.weight" | "dense.weight" => [0, 0],
        _ => return,
    };
    let _ = weights.get(at[0]).get(at[1]).fill_(1.0);
}

#[test]
fn diagnosis_of_the_naive_forecast_finds_nothing() {
    let found = findings(nearly_naive, &summary(10, 1, [1.0, 1.0]));
    assert!(!kinds(&found).contains(&"worse_than_naive"), "{found:?}");
}

#[test]
fn diagnosis_of_dead_units_counts_them_and_names_the_flags() {
    let dead = |name: &str, weights: &mut Tensor| {
        if name == "hidden.1.bias" {
            let _ = weights.fill_(-1e9);
        }
    };
    let found = findings(dead, &summary(10, 7, [0.5, 1.0]));
    assert_eq!(kinds(&found), ["worse_than_naive", "worse_than_seasonal_naive", "dead_relu", "constant"]);
    let texts: String = Diagnosis(found).table();
    for part in [
        "worse than naive: MAE ",
        "try --scaling standard or --scaling last",
        "all 10 units of the layer hidden.1 are 0 for 50 windows of the validation split (dead ReLUs); try a smaller --lr",
        "the forecasts are constant",
    ] {
        assert!(texts.contains(part), "{part}: {texts}");
    }
}

#[test]
fn diagnosis_of_a_still_loss_and_a_best_first_epoch_names_both() {
    let off = |name: &str, weights: &mut Tensor| {
        if name == "dense.bias" {
            let _ = weights.fill_(1e4);
        }
    };
    let found = findings(off, &summary(10, 1, [0.9999, 1.0]));
    assert_eq!(
        kinds(&found),
        ["worse_than_naive", "worse_than_seasonal_naive", "still_loss", "first_is_best"]
    );
    let found = findings(off, &summary(1, 1, [1.0, 1.0]));
    assert_eq!(kinds(&found), ["worse_than_naive", "worse_than_seasonal_naive"]);
}
