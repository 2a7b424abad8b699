//! The end of a run by its budget.

use super::*;

#[test]
fn max_steps_within_an_epoch_ends_with_a_validation_of_the_last_weights() {
    let lit = lit();
    let mut config = config(10);
    config.budget.max_steps = Some(4);
    let (summary, events) = run(&config, &lit, &loaders(2));
    assert_eq!((summary.stop, summary.epochs, summary.steps), (StopReason::MaxSteps, 1, 4));
    assert_eq!(events.validated(), [(1, 3), (1, 4)]);
    let val_loss = *events.metric("val_loss").last().unwrap();
    assert_close(&[val_loss], &[loss(weights(2, 2)[3], &INPUTS)]);
}

#[test]
fn max_steps_counts_steps_and_not_batches() {
    let lit = lit();
    let mut config = config(10);
    config.budget.max_steps = Some(3);
    config.gradients.accumulate_grad_batches = 2;
    let four = loaders_of(&INPUTS[..4], 1, Shuffle::No, &SingleProcess);
    let (summary, _) = run(&config, &lit, &four);
    assert_eq!((summary.steps, summary.train_batches), (3, 6));
}

#[test]
fn max_time_of_zero_trains_nothing() {
    let lit = lit();
    let mut config = config(10);
    config.budget.max_time = Some(0);
    let (summary, events) = run(&config, &lit, &loaders(2));
    assert_eq!((summary.stop, summary.steps, weight(&lit)), (StopReason::MaxTime, 0, START));
    assert!(events.batches.is_empty() && events.validations.is_empty());
}

#[test]
fn max_epochs_of_zero_trains_nothing() {
    let lit = lit();
    let (summary, _) = run(&config(0), &lit, &loaders(2));
    assert_eq!((summary.stop, summary.steps, weight(&lit)), (StopReason::MaxEpochs, 0, START));
}
