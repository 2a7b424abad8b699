//! The end of a run by early stopping.

use super::*;

/// A model whose learning rate is too small to change its weight.
fn still() -> BaseLitModel {
    lit_with(OptimizerConfig { lr: 1e-300, ..lit().config().optimizer.clone() })
}

fn patient(patience: u64, min_epochs: u64) -> TrainerConfig {
    let mut config = config(20);
    config.early_stopping.early_stop_patience = patience;
    config.budget.min_epochs = min_epochs;
    config
}

#[test]
fn early_stop_comes_after_patience_validations_without_improvement() {
    let (summary, _) = run(&patient(2, 0), &still(), &loaders(5));
    assert_eq!(summary.epochs, 3);
    let text = "val_loss has not improved on 11.00000 for 2 validations";
    assert_eq!(summary.stop, StopReason::Callback(text.into()));
}

#[test]
fn early_stop_waits_for_min_epochs() {
    let (summary, _) = run(&patient(2, 7), &still(), &loaders(5));
    assert_eq!(summary.epochs, 7);
}

#[test]
fn early_stop_of_an_improving_run_never_comes() {
    let slow = lit_with(OptimizerConfig { lr: 1e-3, ..lit().config().optimizer.clone() });
    let (summary, _) = run(&patient(1, 0), &slow, &loaders(5));
    assert_eq!((summary.epochs, summary.stop), (20, StopReason::MaxEpochs));
}

#[test]
fn early_stop_with_a_patience_of_zero_is_off() {
    let (summary, _) = run(&patient(0, 0), &still(), &loaders(5));
    assert_eq!(summary.epochs, 20);
}

#[test]
fn early_stop_of_an_unknown_metric_is_an_error_with_all_metrics() {
    let mut config = config(1);
    config.early_stopping.early_stop_monitor = "val_f1".into();
    let (lit, loaders) = (lit(), loaders(5));
    let error = Fit::new(&config, &lit, &loaders, &SingleProcess, None, Value::Null).err().unwrap();
    let error = error.to_string();
    assert!(
        error.contains("val_f1") && error.contains("train_loss, train_mae, train_mse, val_loss"),
        "{error}"
    );
}
