//! Runs with a folder.

use super::*;

#[test]
fn run_without_a_folder_has_no_best_checkpoint() {
    let (lit, loaders, config) = (lit(), loaders(5), config(1));
    let mut fit = Fit::new(&config, &lit, &loaders, &SingleProcess, None, Value::Null).unwrap();
    assert!(fit.run().unwrap().best.is_none() && fit.best_path().is_none());
}

#[test]
fn run_with_top_k_keeps_the_k_best_checkpoints() {
    let (lit, loaders, folder) = (lit(), loaders(5), Run::new());
    let mut config = config(4);
    config.checkpoint.save_top_k = 2;
    let keep = Some(&folder.folder);
    let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, keep, json!({}));
    fit.unwrap().run().unwrap();
    // The weight goes past the minimum and comes back closer each time: the last two are the best.
    let expected = ["best", "epoch=3-step=3", "epoch=4-step=4", "last", "last.state-4"];
    assert_eq!(folder.files(), expected.map(|name| format!("{name}.safetensors")));
}

#[test]
fn log_test_logs_the_test_metrics_alone() {
    let (lit, loaders, config) = (lit(), loaders(5), config(1));
    let recorder = Recorder::new(&lit);
    let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, None, Value::Null).unwrap();
    let mut fit = fit.logger(recorder.clone());
    fit.run().unwrap();
    let test = ("test_loss".to_owned(), 0.5);
    let results = Record { epoch: 1, step: 1, values: vec![("val_loss".into(), 0.25), test.clone()] };
    fit.log_test(&results).unwrap();
    fit.end_loggers(true).unwrap();
    drop(fit);
    let events = recorder.take();
    assert_eq!(events.success, Some(true));
    assert_eq!(events.logged.last(), Some(&Record { values: vec![test], ..results }));
}
