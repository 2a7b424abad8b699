//! Losses and gradients that are NaN or infinite.

use super::*;

/// The second of three batches of an epoch has a row that is not finite.
const DAMAGED: [f64; 5] = [1.0, 2.0, f64::NAN, 4.0, 5.0];

fn damaged(on_nonfinite: OnNonfinite, epochs: u64) -> (BaseLitModel, Result<FitSummary>, Events) {
    let lit = lit();
    let mut config = config(epochs);
    config.nonfinite.on_nonfinite = on_nonfinite;
    let loaders = loaders_of(&DAMAGED, 2, Shuffle::No, &SingleProcess);
    let (summary, events) = try_run(&config, &lit, &loaders);
    (lit, summary, events)
}

#[test]
fn nonfinite_loss_with_stop_names_step_rows_and_cause() {
    let (lit, summary, events) = damaged(OnNonfinite::Stop, 3);
    let error = summary.unwrap_err().to_string();
    for part in ["step 2 ", "epoch 1, batch 2, rows 2, 3", "the inputs of the batch", "--on_nonfinite skip"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    assert_close(&[weight(&lit)], &descend(START, &[&[1.0, 2.0]]));
    assert_eq!(events.ends, 1, "callbacks see the end of a run that fails");
}

#[test]
fn nonfinite_loss_with_skip_leaves_the_step_out_and_counts_it() {
    let (_, summary, events) = damaged(OnNonfinite::Skip, 2);
    let summary = summary.unwrap();
    assert_eq!((summary.steps, summary.skipped, summary.train_batches), (4, 2, 6));
    let expected = descend(START, &[&[1.0, 2.0], &[5.0], &[1.0, 2.0], &[5.0]]);
    assert_close(&events.weights()[1..3], &expected[..2]);
    assert_close(&[events.weights()[5]], &expected[3..]);
    let rows = [loss(START, &[1.0, 2.0]) * 2.0, loss(expected[0], &[5.0])];
    assert_close(&events.metric("train_loss")[..1], &[rows.iter().sum::<f64>() / 3.0]);
}

#[test]
fn nonfinite_loss_with_restore_goes_back_to_the_weights_of_the_last_checkpoint() {
    let (_, summary, events) = damaged(OnNonfinite::Restore, 1);
    assert_eq!(summary.unwrap().skipped, 1);
    assert_eq!(events.weights()[1], START, "there is no checkpoint yet: back to the start");
    assert_close(&[events.weights()[2]], &descend(START, &[&[5.0]]));

    let lit = lit();
    let mut config = config(1);
    config.nonfinite.on_nonfinite = OnNonfinite::Restore;
    config.checkpoint.checkpoint_every_n_steps = Some(1);
    let (_, events) = run(&config, &lit, &loaders_of(&DAMAGED, 2, Shuffle::No, &SingleProcess));
    assert_eq!(events.weights()[1], events.weights()[0]);
}

#[test]
fn nonfinite_restore_brings_back_the_velocity_of_the_optimizer() {
    let optimizer = OptimizerConfig { momentum: 0.5, ..lit().config().optimizer.clone() };
    let lit = lit_with(optimizer);
    let mut config = config(1);
    config.nonfinite.on_nonfinite = OnNonfinite::Restore;
    let (_, events) = run(&config, &lit, &loaders_of(&DAMAGED, 2, Shuffle::No, &SingleProcess));
    // At the start there was no velocity.
    assert_close(&[events.weights()[2]], &[START - LR * gradient(START, &[5.0])]);
}

#[test]
fn nonfinite_batch_within_a_window_drops_the_whole_window() {
    let lit = lit();
    let mut config = config(1);
    config.nonfinite.on_nonfinite = OnNonfinite::Skip;
    config.gradients.accumulate_grad_batches = 3;
    let rows = [3.0, f64::NAN, 4.0, 1.0, 2.0];
    let (summary, events) = run(&config, &lit, &loaders_of(&rows, 1, Shuffle::No, &SingleProcess));
    assert_eq!((summary.steps, summary.skipped), (1, 1));
    assert_eq!(events.weights()[2], START);
    assert_close(&[weight(&lit)], &descend(START, &[&[1.0, 2.0]]));
}

#[test]
fn detect_anomaly_finds_what_the_loss_hides() {
    let lit = lit();
    let mut config = config(1);
    config.nonfinite.on_nonfinite = OnNonfinite::Skip;
    config.nonfinite.detect_anomaly = true;
    let (summary, _) = run(&config, &lit, &loaders_of(&DAMAGED, 2, Shuffle::No, &SingleProcess));
    assert_eq!(summary.skipped, 1);
}
