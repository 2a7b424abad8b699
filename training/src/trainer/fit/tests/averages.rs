//! Averages of the weights.

use super::*;

/// Returns the weight in the best checkpoint of a run in a folder, its summary and its events.
fn kept(config: &TrainerConfig, batch_size: usize) -> (f64, FitSummary, Events) {
    let (lit, loaders, folder) = (lit(), loaders(batch_size), Run::new());
    let recorder = Recorder::new(&lit);
    let fit = Fit::new(config, &lit, &loaders, &SingleProcess, Some(&folder.folder), json!({}));
    let summary = fit.unwrap().callback(Box::new(recorder.clone())).run().unwrap();
    let best = checkpoint::read_weights(&folder.folder.best()).unwrap();
    (best[0].1.double_value(&[0]), summary, recorder.take())
}

#[test]
fn ema_is_evaluated_and_kept_in_place_of_the_weights() {
    let mut config = config(2);
    config.averaging.ema_decay = 0.75;
    let (best, summary, events) = kept(&config, 2);
    assert_close(&events.weights(), &weights(2, 2));
    let mut average = START;
    let averages: Vec<f64> = weights(2, 2)
        .iter()
        .map(|weight| {
            average = 0.75 * average + 0.25 * weight;
            average
        })
        .collect();
    let val_losses = [loss(averages[2], &INPUTS), loss(averages[5], &INPUTS)];
    assert_close(&events.metric("val_loss"), &val_losses);
    assert_close(&[best, summary.best.unwrap().value], &[averages[5], val_losses[1]]);
}

#[test]
fn swa_is_the_mean_of_the_weights_after_the_last_fifth_of_the_epochs() {
    let mut config = config(10);
    config.averaging.stochastic_weight_avg = true;
    config.early_stopping.early_stop_patience = 0;
    let (lit, loaders) = (lit(), loaders(5));
    let (_, events) = run(&config, &lit, &loaders);
    let steps = weights(10, 5);
    assert_close(&events.weights(), &steps);
    let mut evaluated = steps.clone();
    evaluated[9] = f64::midpoint(steps[8], steps[9]);
    let expected: Vec<f64> = evaluated.iter().map(|&weight| loss(weight, &INPUTS)).collect();
    assert_close(&events.metric("val_loss"), &expected);
    assert_close(&[weight(&lit)], &steps[9..]);
}

#[test]
fn best_checkpoint_is_that_of_the_smallest_loss() {
    let mut config = config(4);
    config.checkpoint.checkpoint_mode = Mode::Max;
    let (best, summary, _) = kept(&config, 5);
    let first = weights(4, 5)[0];
    assert_close(&[best], &[first]);
    let (metric, epoch) = summary.best.map(|best| (best.metric, best.epoch)).unwrap();
    assert_eq!((metric.as_str(), epoch), ("val_loss", 1), "the largest loss is that of the first epoch");
    config.checkpoint.checkpoint_mode = Mode::Min;
    let (best, summary, _) = kept(&config, 5);
    assert_close(&[best], &weights(4, 5)[3..]);
    assert_eq!(summary.best.unwrap().epoch, 4);
}
