//! Optimizer steps, accumulation and clipping.

use super::*;

#[test]
fn fit_without_accumulation_steps_after_each_batch() {
    let lit = lit();
    let (summary, events) = run(&config(3), &lit, &loaders(2));
    assert_close(&events.weights(), &weights(3, 2));
    assert_eq!((summary.epochs, summary.steps, summary.skipped), (3, 9, 0));
    assert_eq!((summary.train_batches, summary.stop, events.ends), (9, StopReason::MaxEpochs, 1));
}

/// By hand: the gradient at weight 1 is -2 * 2.5 = -5, then -2 * (59 / 64) * 12.5.
#[test]
fn fit_first_two_steps_are_those_on_paper() {
    let lit = lit();
    let mut config = config(1);
    config.budget.max_steps = Some(2);
    let (_, events) = run(&config, &lit, &loaders(2));
    let first = 1.0 + 5.0 / 64.0;
    assert_close(&events.weights(), &[first, first + 2.0 * (59.0 / 64.0) * 12.5 / 64.0]);
}

#[test]
fn fit_shuffled_serves_each_row_once_per_epoch() {
    let lit = lit();
    let shuffled = loaders_of(&INPUTS, 5, Shuffle::Full { seed: 3 }, &SingleProcess);
    let (_, events) = run(&config(2), &lit, &shuffled);
    assert_close(&events.weights(), &weights(2, 5));
}

#[test]
fn accumulation_of_two_batches_steps_with_the_mean_of_their_gradients() {
    let lit = lit();
    let mut config = config(2);
    config.gradients.accumulate_grad_batches = 2;
    let four = loaders_of(&INPUTS[..4], 1, Shuffle::No, &SingleProcess);
    let (summary, events) = run(&config, &lit, &four);
    let expected = descend(START, &[&INPUTS[..2], &INPUTS[2..4], &INPUTS[..2], &INPUTS[2..4]]);
    let after = |batch: usize| events.batches[batch].2;
    assert_close(&[after(1), after(3), after(5), after(7)], &expected);
    assert_eq!((after(0), after(2)), (START, after(1)), "half a window changes nothing");
    assert_eq!((summary.epochs, summary.steps, summary.train_batches), (2, 4, 8));
}

#[test]
fn accumulation_over_all_batches_is_the_step_on_the_whole() {
    let whole = lit();
    run(&config(3), &whole, &loaders(5));
    let lit = lit();
    let mut config = config(3);
    config.gradients.accumulate_grad_batches = 5;
    run(&config, &lit, &loaders(1));
    assert_close(&[weight(&lit)], &[weight(&whole)]);
}

#[test]
fn accumulation_of_uneven_batches_is_the_mean_over_their_rows() {
    // Batches of 2, 2 and 1 rows: one step of all, then steps of two batches and of the rest.
    for (accumulate, steps) in
        [(3, vec![&INPUTS[..]]), (9, vec![&INPUTS[..]]), (2, vec![&INPUTS[..4], &INPUTS[4..]])]
    {
        let lit = lit();
        let mut config = config(1);
        config.gradients.accumulate_grad_batches = accumulate;
        let (summary, _) = run(&config, &lit, &loaders(2));
        let expected = descend(START, &steps);
        assert_eq!(summary.steps as usize, expected.len());
        assert_close(&[weight(&lit)], &expected[expected.len() - 1..]);
    }
}

#[test]
fn clipping_by_value_bounds_the_gradient_of_each_step() {
    let lit = lit();
    let mut config = config(2);
    config.gradients.gradient_clip_val = 0.25;
    config.gradients.gradient_clip_algorithm = ClipAlgorithm::Value;
    let (_, events) = run(&config, &lit, &loaders(5));
    assert_close(&events.weights(), &[START + LR / 4.0, START + LR / 2.0]);
}

#[test]
fn clipping_by_norm_scales_as_pytorch_does() {
    let lit = lit();
    let mut config = config(1);
    config.gradients.gradient_clip_val = 0.25;
    config.gradients.track_grad_norm = true;
    let (_, events) = run(&config, &lit, &loaders(5));
    let grad = gradient(START, &INPUTS);
    assert_close(&events.weights(), &[START - LR * grad * (0.25 / (grad.abs() + 1e-6))]);
    assert_close(&[events.logged[0].get("grad_norm").unwrap()], &[grad.abs()]);
}

#[test]
fn clipping_above_the_gradient_changes_nothing() {
    let lit = lit();
    let mut config = config(2);
    config.gradients.gradient_clip_val = 1e6;
    let (_, events) = run(&config, &lit, &loaders(2));
    assert_close(&events.weights(), &weights(2, 2));
}

#[test]
fn clipping_with_accumulation_clips_the_mean() {
    let lit = lit();
    let mut config = config(1);
    config.gradients.accumulate_grad_batches = 5;
    config.gradients.gradient_clip_val = 20.0;
    config.gradients.gradient_clip_algorithm = ClipAlgorithm::Value;
    run(&config, &lit, &loaders(1));
    // The gradients are -2, -8, -18, -32 and -50: their mean is not clipped to 20, the last two would be.
    assert_close(&[weight(&lit)], &[START + LR * 20.0]);
    assert_close(&[gradient(START, &INPUTS)], &[-22.0]);
}
