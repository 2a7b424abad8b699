//! The times of validation.

use super::*;

/// Validates during one epoch of eight batches, or more, and returns epoch and step of each validation.
fn times(epochs: u64, change: impl Fn(&mut TrainerConfig)) -> Vec<(u64, u64)> {
    let mut config = config(epochs);
    change(&mut config);
    let eight = loaders_of(&[1.0; 8], 1, Shuffle::No, &SingleProcess);
    run(&config, &lit(), &eight).1.validated()
}

#[test]
fn validation_by_default_is_at_the_end_of_each_epoch() {
    assert_eq!(times(2, |_| ()), [(1, 8), (2, 16)]);
}

#[test]
fn validation_every_n_epochs_leaves_out_the_others() {
    assert_eq!(times(5, |config| config.validation.check_val_every_n_epoch = 2), [(2, 16), (4, 32)]);
}

#[test]
fn validation_interval_as_a_count_is_in_batches_of_an_epoch() {
    let every_3 = times(2, |config| config.validation.val_check_interval = BatchLimit::Count(3));
    assert_eq!(every_3, [(0, 3), (0, 6), (1, 11), (1, 14)]);
    let every_4 = times(1, |config| config.validation.val_check_interval = BatchLimit::Count(4));
    assert_eq!(every_4, [(0, 4), (1, 8)]);
}

#[test]
fn validation_interval_as_a_share_is_of_the_batches_of_an_epoch() {
    let quarter = times(1, |config| config.validation.val_check_interval = BatchLimit::Share(0.25));
    assert_eq!(quarter, [(0, 2), (0, 4), (0, 6), (1, 8)]);
    let tiny = times(1, |config| config.validation.val_check_interval = BatchLimit::Share(0.01));
    assert_eq!(tiny.len(), 8, "at least one batch");
}

#[test]
fn validation_with_accumulation_waits_for_the_step() {
    // Batch 3 belongs to the step of batch 4, batch 6 to that of batch 6.
    let times = times(1, |config| {
        config.validation.val_check_interval = BatchLimit::Count(3);
        config.gradients.accumulate_grad_batches = 2;
    });
    assert_eq!(times, [(0, 2), (0, 3)]);
}

#[test]
fn validation_values_are_means_over_all_rows() {
    let lit = lit();
    let (_, events) = run(&config(2), &lit, &loaders(2));
    let steps = weights(2, 2);
    assert_close(&events.metric("val_loss"), &[loss(steps[2], &INPUTS), loss(steps[5], &INPUTS)]);
    // The training loss of an epoch: each batch before its step, weighted by its rows.
    let before = [START, steps[0], steps[1]];
    let sums = INPUTS.chunks(2).zip(before).map(|(x, weight)| loss(weight, x) * x.len() as f64);
    assert_close(&events.metric("train_loss")[..1], &[sums.sum::<f64>() / 5.0]);
    let mae = |weight: f64| (weight - SLOPE).abs() * 3.0;
    assert_close(&events.metric("val_mae"), &[mae(steps[2]), mae(steps[5])]);
}

#[test]
fn logger_gets_each_step_and_each_validation() {
    let lit = lit();
    let mut config = config(1);
    config.logging.log_every_n_steps = 2;
    let (_, events) = run(&config, &lit, &loaders(1));
    let steps: Vec<(u64, bool)> =
        events.logged.iter().map(|record| (record.step, record.get("val_loss").is_some())).collect();
    assert_eq!(steps, [(2, false), (4, false), (5, true)]);
    assert_close(&[events.logged[0].get("train_loss_step").unwrap()], &[loss(weights(1, 1)[0], &[2.0])]);
    assert_eq!(events.logged[0].get("lr"), Some(LR));
}
