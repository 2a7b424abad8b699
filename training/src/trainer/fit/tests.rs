//! The loop on five rows and one weight: every step can be computed by hand.

use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use text_recognizer::checkpoint;
use text_recognizer::data::Shuffle;
use text_recognizer::lit_models::BaseLitModel;
use text_recognizer::optim::OptimizerConfig;

use super::*;
use crate::testing::{
    AfterBatch, Events, INPUTS, LR, Recorder, Run, SLOPE, START, assert_close, config, descend, gradient,
    lit, lit_with, loaders, loaders_of, loss, weight,
};
use crate::trainer::callbacks::Mode;
use crate::trainer::{BatchLimit, ClipAlgorithm, OnNonfinite, SingleProcess};

mod ranks;

/// Runs without a folder, and expects the run to end well.
fn run(config: &TrainerConfig, lit: &BaseLitModel, loaders: &Loaders) -> (FitSummary, Events) {
    let (summary, events) = try_run(config, lit, loaders);
    (summary.unwrap(), events)
}

fn try_run(config: &TrainerConfig, lit: &BaseLitModel, loaders: &Loaders) -> (Result<FitSummary>, Events) {
    let recorder = Recorder::new(lit);
    let fit = Fit::new(config, lit, loaders, &SingleProcess, None, Value::Null).unwrap();
    let mut fit = fit.callback(Box::new(recorder.clone())).logger(recorder.clone());
    let summary = fit.run();
    drop(fit);
    (summary, recorder.take())
}

/// Returns the weights after each step of `epochs` epochs over the rows in their order.
fn weights(epochs: usize, batch_size: usize) -> Vec<f64> {
    let batches: Vec<&[f64]> = INPUTS.chunks(batch_size).collect();
    descend(START, &batches.repeat(epochs))
}

mod steps {
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
}

mod budget {
    use super::*;

    #[test]
    fn max_steps_within_an_epoch_ends_with_a_validation_of_the_last_weights() {
        let lit = lit();
        let mut config = config(10);
        config.budget.max_steps = Some(4);
        let (summary, events) = run(&config, &lit, &loaders(2));
        assert_eq!((summary.stop, summary.epochs, summary.steps), (StopReason::MaxSteps, 1, 4));
        assert_eq!(events.validated(), [(1, 3), (1, 4)]);
        let val_loss = summary.last.unwrap().get("val_loss").unwrap();
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
}

mod validation {
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
        let (summary, events) = run(&config(2), &lit, &loaders(2));
        let steps = weights(2, 2);
        assert_close(&events.metric("val_loss"), &[loss(steps[2], &INPUTS), loss(steps[5], &INPUTS)]);
        // The training loss of an epoch: each batch before its step, weighted by its rows.
        let before = [START, steps[0], steps[1]];
        let sums = INPUTS.chunks(2).zip(before).map(|(x, weight)| loss(weight, x) * x.len() as f64);
        assert_close(&events.metric("train_loss")[..1], &[sums.sum::<f64>() / 5.0]);
        let mae = |weight: f64| (weight - SLOPE).abs() * 3.0;
        assert_close(&events.metric("val_mae"), &[mae(steps[2]), mae(steps[5])]);
        assert_eq!(summary.last.as_ref(), events.validations.last());
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
}

mod signals {
    use super::*;

    /// Runs one epoch of five batches in a folder, with a signal raised at the given batch.
    fn raised(number: i32, at: usize) -> (FitSummary, Events, Run) {
        let (lit, loaders, config, folder) = (lit(), loaders(1), config(1), Run::new());
        let (signals, recorder) = (Signals::silent(), Recorder::new(&lit));
        let raise = AfterBatch(|position: Position| {
            if position.batch == at {
                signals.raise(number);
            }
        });
        let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, Some(&folder.folder), json!({}));
        let fit =
            fit.unwrap().signals(&signals).callback(Box::new(recorder.clone())).logger(recorder.clone());
        let summary = fit.callback(Box::new(raise)).run().unwrap();
        (summary, recorder.take(), folder)
    }

    #[test]
    fn stop_signal_ends_the_run_after_its_step_with_a_checkpoint() {
        for number in [SIGINT, SIGTERM] {
            let (summary, events, run) = raised(number, 2);
            assert_eq!((summary.stop, summary.epochs, summary.steps), (StopReason::Signal(number), 0, 2));
            assert_eq!(events.validations, []);
            assert_eq!(run.files(), ["last.safetensors", "last.state-2.safetensors"]);
            let last = checkpoint::read_weights(&run.folder.last()).unwrap();
            assert_close(&[last[0].1.double_value(&[0])], &weights(1, 1)[1..2]);
        }
    }

    #[test]
    fn save_signal_saves_once_and_the_run_goes_on() {
        let (summary, events, run) = raised(SIGUSR1, 2);
        assert_eq!((summary.stop, summary.steps), (StopReason::MaxEpochs, 5));
        assert_eq!(events.flushes[0], 2, "two steps were logged before the first checkpoint");
        assert!(events.flushes.len() <= 3 && !events.flushes.contains(&3), "{:?}", events.flushes);
        assert_eq!(run.files(), ["best.safetensors", "last.safetensors", "last.state-5.safetensors"]);
    }

    #[test]
    fn stop_signal_with_accumulation_waits_for_the_step() {
        let (lit, signals) = (lit(), Signals::silent());
        signals.raise(SIGTERM);
        let mut config = config(1);
        config.gradients.accumulate_grad_batches = 2;
        let loaders = loaders(1);
        let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, None, Value::Null).unwrap();
        let summary = fit.signals(&signals).run().unwrap();
        assert_eq!((summary.stop, summary.steps, summary.train_batches), (StopReason::Signal(SIGTERM), 1, 2));
    }

    #[test]
    fn checkpoint_every_n_steps_saves_within_an_epoch() {
        let (lit, loaders, folder) = (lit(), loaders(1), Run::new());
        let mut config = config(1);
        config.checkpoint.checkpoint_every_n_steps = Some(2);
        let recorder = Recorder::new(&lit);
        let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, Some(&folder.folder), json!({}));
        fit.unwrap().logger(recorder.clone()).run().unwrap();
        let flushes = recorder.take().flushes;
        // At the end there are the records of five steps and of the validation.
        assert_eq!((&flushes[..2], flushes.last()), (&[2, 4][..], Some(&6)), "{flushes:?}");
    }
}

mod nonfinite {
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
        for part in
            ["step 2 ", "epoch 1, batch 2, rows 2, 3", "the inputs of the batch", "--on_nonfinite skip"]
        {
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
    fn nonfinite_batch_within_a_window_drops_the_gradients_before_it() {
        let lit = lit();
        let mut config = config(1);
        config.nonfinite.on_nonfinite = OnNonfinite::Skip;
        config.gradients.accumulate_grad_batches = 2;
        let rows = [3.0, f64::NAN, 1.0, 2.0];
        let (summary, _) = run(&config, &lit, &loaders_of(&rows, 1, Shuffle::No, &SingleProcess));
        assert_eq!((summary.steps, summary.skipped), (1, 1));
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
}

mod early_stop {
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
    fn early_stop_of_an_unknown_metric_is_refused_with_those_there_are() {
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
}

mod averages {
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
}

mod resume {
    use super::*;

    /// What a run comes to, in bits.
    fn bits(lit: &dyn LitModel, events: &Events) -> (u64, Vec<u64>) {
        let losses = events.metric("val_loss").into_iter().chain(events.metric("train_loss"));
        (weight(lit).to_bits(), losses.map(f64::to_bits).collect())
    }

    fn model() -> BaseLitModel {
        lit_with(OptimizerConfig { momentum: 0.5, ..lit().config().optimizer.clone() })
    }

    fn shuffled() -> Loaders {
        loaders_of(&INPUTS, 1, Shuffle::Full { seed: 9 }, &SingleProcess)
    }

    /// Interrupts a run at each batch of its second epoch and continues it with a model of its own.
    #[test]
    fn resume_within_an_epoch_gives_the_same_bits() {
        let mut config = config(3);
        config.averaging.ema_decay = 0.9;
        let alone = model();
        let (_, all) = run(&config, &alone, &shuffled());
        for stop in 1..=5 {
            let folder = Run::new();
            let interrupted = model();
            let (signals, loaders, recorder) = (Signals::silent(), shuffled(), Recorder::new(&interrupted));
            let raise = AfterBatch(|at: Position| {
                if at.epoch == 1 && at.batch == stop {
                    signals.raise(SIGTERM);
                }
            });
            let keep = Some(&folder.folder);
            let fit = Fit::new(&config, &interrupted, &loaders, &SingleProcess, keep, json!({}));
            let fit = fit.unwrap().signals(&signals).callback(Box::new(raise));
            let mut fit = fit.callback(Box::new(recorder.clone())).logger(recorder.clone());
            assert_eq!(fit.run().unwrap().stop, StopReason::Signal(SIGTERM));
            drop(fit);
            let mut before = recorder.take();

            let continued = model();
            let recorder = Recorder::new(&continued);
            let fit = Fit::new(&config, &continued, &loaders, &SingleProcess, keep, json!({}));
            let mut fit = fit.unwrap().callback(Box::new(recorder.clone()));
            fit.resume(&folder.folder.last()).unwrap();
            let summary = fit.run().unwrap();
            assert_eq!((summary.epochs, summary.steps), (3, 15));
            assert_eq!(summary.train_batches as usize, 10 - stop, "by this process");
            before.validations.extend(recorder.take().validations);
            assert_eq!(bits(&continued, &before), bits(&alone, &all), "interrupted at batch {stop}");
        }
    }

    #[test]
    fn resume_with_a_larger_budget_continues_a_finished_run() {
        let (folder, loaders, first, second) = (Run::new(), shuffled(), model(), model());
        let start = |config: &TrainerConfig, lit: &BaseLitModel, resume: bool| {
            let keep = Some(&folder.folder);
            let mut fit = Fit::new(config, lit, &loaders, &SingleProcess, keep, json!({})).unwrap();
            if resume {
                fit.resume(&folder.folder.last()).unwrap();
            }
            fit.run().unwrap()
        };
        start(&config(2), &first, false);
        let again = start(&config(2), &second, true);
        assert_eq!((again.steps, again.train_batches, again.stop), (10, 0, StopReason::MaxEpochs));
        assert_eq!(start(&config(3), &second, true).steps, 15);
        let alone = model();
        run(&config(3), &alone, &shuffled());
        assert_eq!(weight(&second).to_bits(), weight(&alone).to_bits());
    }

    #[test]
    fn resume_of_an_early_stopped_run_has_nothing_left_to_do() {
        let still = || lit_with(OptimizerConfig { lr: 1e-300, ..lit().config().optimizer.clone() });
        let mut config = config(20);
        config.early_stopping.early_stop_patience = 2;
        let (folder, loaders) = (Run::new(), loaders(5));
        let keep = Some(&folder.folder);
        let (first, second) = (still(), still());
        let fit = Fit::new(&config, &first, &loaders, &SingleProcess, keep, json!({}));
        let stop = fit.unwrap().run().unwrap().stop;
        let fit = Fit::new(&config, &second, &loaders, &SingleProcess, keep, json!({}));
        let mut fit = fit.unwrap();
        fit.resume(&folder.folder.last()).unwrap();
        let summary = fit.run().unwrap();
        assert_eq!((summary.stop, summary.train_batches, summary.epochs), (stop, 0, 3));
    }

    #[test]
    fn resume_from_weights_alone_is_refused() {
        let (folder, loaders, lit) = (Run::new(), loaders(5), lit());
        let config = config(1);
        let keep = Some(&folder.folder);
        let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, keep, json!({}));
        fit.unwrap().run().unwrap();
        let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, keep, json!({}));
        let error = fit.unwrap().resume(&folder.folder.best()).unwrap_err().to_string();
        assert!(error.contains("contains only weights") && error.contains("--load_checkpoint"), "{error}");
    }
}

mod folder {
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
    fn finish_loggers_hands_on_the_results() {
        let (lit, loaders, config) = (lit(), loaders(5), config(1));
        let recorder = Recorder::new(&lit);
        let fit = Fit::new(&config, &lit, &loaders, &SingleProcess, None, Value::Null).unwrap();
        let mut fit = fit.logger(recorder.clone());
        fit.run().unwrap();
        let results = Record { epoch: 1, step: 1, values: vec![("test_loss".into(), 0.5)] };
        fit.finish_loggers(&results).unwrap();
        drop(fit);
        assert_eq!(recorder.take().results, Some(results));
    }
}
