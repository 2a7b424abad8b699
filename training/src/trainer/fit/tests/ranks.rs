//! The loop and the strategy: what it asks for, in which order, and what it does with the answers.

use std::cell::RefCell;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use tch::Tensor;

use super::*;
use crate::trainer::{LrFindConfig, LrFindResult, lr_find};

/// A request to the other rank.
#[derive(Debug, Clone, PartialEq)]
enum Call {
    Mean(f64),
    Sum(Vec<f64>),
    Agree(Flags),
}

/// Rank `rank` of two, with a made-up other rank: its gradients, its sums, and its flags by the number of the request.
#[derive(Debug)]
struct FakePair {
    rank: usize,
    gradient: f64,
    sums: [f64; 2],
    flags: fn(usize) -> Flags,
    calls: RefCell<Vec<Call>>,
}

impl Default for FakePair {
    fn default() -> Self {
        let calls = RefCell::default();
        Self { rank: 0, gradient: 0.0, sums: [0.0; 2], flags: |_| Flags::default(), calls }
    }
}

impl FakePair {
    fn agreements(&self) -> usize {
        self.calls.borrow().iter().filter(|call| matches!(call, Call::Agree(_))).count()
    }

    fn run(&self, config: &TrainerConfig, batch_size: usize) -> (Result<FitSummary>, Events, Vec<Call>) {
        let (lit, loaders) = (lit(), loaders(batch_size));
        let recorder = Recorder::new(&lit);
        let fit = Fit::new(config, &lit, &loaders, self, None, Value::Null).unwrap();
        let mut fit = fit.callback(Box::new(recorder.clone())).logger(recorder.clone());
        let summary = fit.run();
        drop(fit);
        (summary, recorder.take(), self.calls.take())
    }
}

impl Strategy for FakePair {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        2
    }

    fn all_reduce_mean(&self, tensors: &mut [Tensor]) -> Result<()> {
        assert_eq!(tensors.len(), 1);
        self.calls.borrow_mut().push(Call::Mean(tensors[0].double_value(&[0])));
        tensors[0] = (&tensors[0] + self.gradient) / 2.0;
        Ok(())
    }

    fn all_reduce_sum(&self, values: &mut [f64]) -> Result<()> {
        self.calls.borrow_mut().push(Call::Sum(values.to_vec()));
        values.iter_mut().zip(self.sums).for_each(|(value, other)| *value += other);
        Ok(())
    }

    fn agree(&self, flags: Flags) -> Result<Flags> {
        let other = (self.flags)(self.agreements());
        self.calls.borrow_mut().push(Call::Agree(flags));
        Ok(Flags {
            stop: flags.stop.or(other.stop),
            out_of_time: flags.out_of_time || other.out_of_time,
            save: flags.save || other.save,
            nonfinite: flags.nonfinite || other.nonfinite,
        })
    }
}

#[test]
fn ranks_step_with_the_mean_of_their_gradients_clipped_after_it() {
    let pair = FakePair { gradient: 21.0, ..FakePair::default() };
    let mut config = config(1);
    config.gradients.gradient_clip_val = 0.25;
    config.gradients.gradient_clip_algorithm = ClipAlgorithm::Value;
    let (summary, events, calls) = pair.run(&config, 5);
    summary.unwrap();
    // The gradient here is -22, that of the other rank 21. If each were clipped, their mean would be 0.
    let means: Vec<&Call> = calls.iter().filter(|call| matches!(call, Call::Mean(_))).collect();
    assert_eq!(means, [&Call::Mean(-22.0)]);
    assert_close(&events.weights(), &[START + LR * 0.25]);
}

#[test]
fn ranks_with_accumulation_exchange_gradients_once_per_step() {
    let pair = FakePair { gradient: -8.0, ..FakePair::default() };
    let mut config = config(1);
    config.gradients.accumulate_grad_batches = 5;
    let (summary, events, calls) = pair.run(&config, 1);
    assert_eq!(summary.unwrap().steps, 1);
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Mean(_))).count(), 1);
    assert_close(&events.weights()[4..], &[START + LR * 15.0]);
}

#[test]
fn ranks_stop_after_the_same_step_when_one_gets_a_signal() {
    // Requests: before the epoch; then for each batch about its numbers, about the time after its step, and about signals.
    let flags = |request| Flags { stop: (request == 6).then_some(SIGTERM), ..Flags::default() };
    let (summary, ..) = FakePair { flags, ..FakePair::default() }.run(&config(3), 1);
    let summary = summary.unwrap();
    assert_eq!((summary.stop, summary.steps), (StopReason::Signal(SIGTERM), 2));
}

#[test]
fn ranks_end_together_when_the_time_of_one_is_over() {
    let flags = |request| Flags { out_of_time: request == 8, ..Flags::default() };
    let (summary, events, _) = FakePair { flags, ..FakePair::default() }.run(&config(3), 1);
    let summary = summary.unwrap();
    assert_eq!((summary.stop, summary.steps), (StopReason::MaxTime, 3));
    assert_eq!(events.validated(), [(0, 3)], "a validation of the last weights");
}

#[test]
fn ranks_save_together_when_one_is_asked_to() {
    let flags = |request| Flags { save: request == 3, ..Flags::default() };
    let (lit, loaders, folder) = (lit(), loaders(1), Run::new());
    let (config, recorder) = (config(1), Recorder::new(&lit));
    let pair = FakePair { flags, ..FakePair::default() };
    let keep = Some(&folder.folder);
    let fit = Fit::new(&config, &lit, &loaders, &pair, keep, json!({})).unwrap();
    fit.logger(recorder.clone()).run().unwrap();
    assert_eq!(recorder.take().flushes[0], 1, "after the first step");
}

#[test]
fn ranks_leave_a_step_out_together_when_one_has_a_nonfinite_loss() {
    let flags = |request| Flags { nonfinite: request == 4, ..Flags::default() };
    let mut config = config(1);
    config.nonfinite.on_nonfinite = OnNonfinite::Skip;
    let (summary, events, calls) = FakePair { flags, ..FakePair::default() }.run(&config, 1);
    let summary = summary.unwrap();
    assert_eq!((summary.skipped, summary.steps), (1, 4));
    assert_eq!(events.weights()[1], events.weights()[0]);
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Mean(_))).count(), 4);
}

#[test]
fn ranks_stop_together_when_one_has_a_nonfinite_loss() {
    let flags = |request| Flags { nonfinite: request == 1, ..Flags::default() };
    let (summary, ..) = FakePair { flags, ..FakePair::default() }.run(&config(1), 1);
    let error = summary.unwrap_err().to_string();
    assert!(error.contains("step 1 "), "{error}");
}

#[test]
fn ranks_report_metrics_over_the_rows_of_all() {
    // The other rank has 3 rows whose losses add up to 12.
    let pair = FakePair { gradient: -22.0, sums: [12.0, 3.0], ..FakePair::default() };
    let (summary, events, calls) = pair.run(&config(1), 5);
    summary.unwrap();
    let after = events.weights()[0];
    assert_close(&events.metric("train_loss"), &[(loss(START, &INPUTS) * 5.0 + 12.0) / 8.0]);
    assert_close(&events.metric("val_loss"), &[(loss(after, &INPUTS) * 5.0 + 12.0) / 8.0]);
    // Loss, mae and mse: of the sanity check, of training and of validation.
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Sum(_))).count(), 9);
}

#[test]
fn rank_above_zero_writes_no_files() {
    let (lit, loaders, folder) = (lit(), loaders(1), Run::new());
    let mut config = config(2);
    config.checkpoint.checkpoint_every_n_steps = Some(1);
    let pair = FakePair { rank: 1, ..FakePair::default() };
    let keep = Some(&folder.folder);
    let mut fit = Fit::new(&config, &lit, &loaders, &pair, keep, json!({})).unwrap();
    let summary = fit.run().unwrap();
    assert_eq!((summary.steps, fit.best_path()), (10, None));
    assert_eq!(folder.files(), [""; 0]);
}

/// Runs the learning-rate finder over three rates on the batch of five rows.
fn find_lr(strategy: &dyn Strategy) -> ControlFlow<i32, LrFindResult> {
    let (lit, loaders) = (lit(), loaders_of(&INPUTS[..4], 4, Shuffle::No, strategy));
    let finder =
        LrFindConfig { lr_find_points: 3, lr_find_min: 1e-4, lr_find_max: 1e-3, ..LrFindConfig::default() };
    let found = lr_find(&finder, &config(1), &lit, &loaders, &Signals::silent(), strategy).unwrap();
    assert_eq!(weight(&lit), START, "the weights are restored");
    found
}

#[test]
fn two_ranks_find_the_learning_rate_of_one_process() {
    let ControlFlow::Continue(expected) = find_lr(&SingleProcess) else { panic!("no signal arrived") };
    let ranks = Thread::group(2).into_iter().map(|rank| thread::spawn(move || find_lr(&rank)));
    for rank in ranks.collect::<Vec<_>>() {
        let ControlFlow::Continue(found) = rank.join().unwrap() else { panic!("no signal arrived") };
        assert_close(&found.losses, &expected.losses);
        assert_eq!((found.lrs, found.suggestion), (expected.lrs.clone(), expected.suggestion));
    }
}

#[test]
fn ranks_end_the_learning_rate_finder_together_when_one_gets_a_signal() {
    let flags = |request| Flags { stop: (request == 1).then_some(SIGTERM), ..Flags::default() };
    let pair = FakePair { flags, ..FakePair::default() };
    assert!(matches!(find_lr(&pair), ControlFlow::Break(SIGTERM)));
    assert_eq!(pair.agreements(), 2, "the second of three rates was the last");
}

/// One of several ranks in threads of this process, which exchange numbers through a table.
#[derive(Debug, Clone)]
struct Thread {
    rank: usize,
    table: Arc<Mutex<Vec<Vec<f64>>>>,
    barrier: Arc<Barrier>,
}

impl Thread {
    fn group(world_size: usize) -> Vec<Self> {
        let table = Arc::new(Mutex::new(vec![Vec::new(); world_size]));
        let barrier = Arc::new(Barrier::new(world_size));
        let rank = |rank| Self { rank, table: Arc::clone(&table), barrier: Arc::clone(&barrier) };
        (0..world_size).map(rank).collect()
    }

    /// Returns the values of all ranks, in the order of the ranks.
    fn gather(&self, values: &[f64]) -> Vec<Vec<f64>> {
        self.table.lock().unwrap()[self.rank] = values.to_vec();
        self.barrier.wait();
        let all = self.table.lock().unwrap().clone();
        self.barrier.wait();
        all
    }
}

impl Strategy for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.table.lock().unwrap().len()
    }

    fn all_reduce_mean(&self, tensors: &mut [Tensor]) -> Result<()> {
        for tensor in tensors {
            let mut values = Vec::<f64>::try_from(&*tensor)?;
            self.all_reduce_sum(&mut values)?;
            tensor.copy_(&(Tensor::from_slice(&values) / self.world_size() as f64));
        }
        Ok(())
    }

    fn all_reduce_sum(&self, values: &mut [f64]) -> Result<()> {
        let all = self.gather(values);
        for (at, value) in values.iter_mut().enumerate() {
            *value = all.iter().map(|values| values[at]).sum();
        }
        Ok(())
    }

    fn agree(&self, flags: Flags) -> Result<Flags> {
        let number = |flag: bool| f64::from(u8::from(flag));
        let own = [
            flags.stop.map_or(0.0, f64::from),
            number(flags.out_of_time),
            number(flags.save),
            number(flags.nonfinite),
        ];
        let all = self.gather(&own);
        let any = |at: usize| all.iter().map(|flags| flags[at]).fold(0.0, f64::max);
        let stop = any(0) as i32;
        Ok(Flags {
            stop: (stop > 0).then_some(stop),
            out_of_time: any(1) > 0.0,
            save: any(2) > 0.0,
            nonfinite: any(3) > 0.0,
        })
    }
}

/// Trains as one rank on four rows in batches of two, and returns its steps, its weight after each batch, and its metrics.
fn train(strategy: &dyn Strategy, val: &[f64]) -> (u64, Vec<f64>, Vec<f64>) {
    let lit = lit();
    let mut loaders = loaders_of(&INPUTS[..4], 2, Shuffle::Full { seed: 5 }, strategy);
    loaders.val = loaders_of(val, 1024, Shuffle::No, strategy).train.into();
    let (config, recorder) = (config(4), Recorder::new(&lit));
    let fit = Fit::new(&config, &lit, &loaders, strategy, None, Value::Null).unwrap();
    let summary = fit.callback(Box::new(recorder.clone())).run().unwrap();
    let events = recorder.take();
    let names = ["train_loss", "train_mae", "val_loss", "val_mse"];
    (summary.steps, events.weights(), names.map(|name| events.metric(name)).concat())
}

/// Trains on two ranks, and expects of each what one process comes to.
fn assert_same_on_two_ranks(val: &'static [f64]) {
    let (steps, weights, metrics) = train(&SingleProcess, val);
    assert_eq!(metrics.len(), 4 * 4);
    let ranks = Thread::group(2).into_iter().map(|rank| thread::spawn(move || train(&rank, val)));
    for rank in ranks.collect::<Vec<_>>() {
        let (own_steps, own_weights, own_metrics) = rank.join().unwrap();
        assert_eq!(own_steps, steps);
        assert_close(&own_weights, &weights);
        assert_close(&own_metrics, &metrics);
    }
}

/// Four rows in batches of two: each rank has one row of each batch.
#[test]
fn two_ranks_come_to_the_weights_and_metrics_of_one_process() {
    assert_same_on_two_ranks(&INPUTS);
}

/// The last batch has one row, which one of the ranks does not have.
#[test]
fn two_ranks_validate_a_batch_that_is_empty_for_one_of_them() {
    assert_same_on_two_ranks(&[1.0; 1025]);
    assert_same_on_two_ranks(&[1.0]);
}
