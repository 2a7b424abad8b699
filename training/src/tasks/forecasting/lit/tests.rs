use tch::kind;
use text_recognizer::data::DataSpec;
use text_recognizer::nn::Placement;

use super::*;
use crate::time_series::Scaling;
use crate::time_series::models::{Linear, LinearConfig, Rnn, RnnConfig};

const LOSSES: [LossName; 5] =
    [LossName::Mse, LossName::Mae, LossName::Huber, LossName::Mape, LossName::Smape];

/// Returns a linear model of two columns, windows of 4 rows and 3 steps ahead.
fn lit(loss: LossName, scaling: Scaling) -> LitForecaster {
    let data = DataSpec { input_dims: vec![4, 2], output_dims: vec![3, 2], ..DataSpec::default() };
    let config = LitConfig { loss, ..LitConfig::default() };
    let data = match Quantiles::of(&config).unwrap() {
        Some(quantiles) => quantiles.shapes(data),
        None => data,
    };
    let placement = Placement { kind: Kind::Double, ..Placement::cpu(1) };
    let model = Linear::new(&LinearConfig {}, &data, placement).unwrap();
    let training = Tensor::from_slice(&[1f64, 10.0, 3.0, 50.0]).view([2, 2]);
    LitForecaster::new(Box::new(model), config, Scaler::fit(scaling, &training).unwrap(), 3).unwrap()
}

fn batch(rows: i64) -> Batch {
    tch::manual_seed(rows);
    let values = |steps| Tensor::randn([rows, steps, 2], kind::DOUBLE_CPU);
    Batch { x: values(4), y: values(3), rows: (0..rows).collect() }
}

fn gradients(lit: &LitForecaster, batch: &Batch) -> (f64, i64, Vec<Tensor>) {
    let mut context = ForwardContext::train(0, 0);
    let StepOutput { loss, rows, .. } = lit.step(batch, &mut context).unwrap();
    let grads = context.gradients(&loss, lit.parameters().tensors()).unwrap();
    (loss.double_value(&[]), rows.get().unwrap(), grads)
}

fn assert_close(a: &[Tensor], b: &[Tensor]) {
    for (a, b) in a.iter().zip(b) {
        let difference = (a - b).abs().max().double_value(&[]);
        assert!(difference < 1e-12, "{difference}");
    }
}

/// The rows without a missing target, and those whose targets are all missing.
#[test]
fn masked_rows_have_no_effect_on_loss_and_gradients_of_every_loss() {
    for loss in LOSSES.into_iter().chain([LossName::Quantile]) {
        let (lit, few, more) = (lit(loss, Scaling::Standard).masked(true), batch(5), batch(8));
        let joined = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 0);
        let nan = more.y.full_like(f64::NAN);
        let both = Batch { x: joined(&few.x, &more.x), y: joined(&few.y, &nan), rows: (0..13).collect() };
        let (alone, rows, expected) = gradients(&lit, &few);
        let (masked, masked_rows, got) = gradients(&lit, &both);
        assert_eq!((rows, masked_rows), (5 * 3 * 2, 5 * 3 * 2), "{loss:?}");
        assert!((alone - masked).abs() < 1e-12, "{loss:?}: {masked} is not {alone}");
        assert_close(&expected, &got);
        // A mean over all values, as that of a model without a mask.
        let (plain, _, unmasked) = gradients(&lit.masked(false), &few);
        assert!((alone - plain).abs() < 1e-12, "{loss:?}: {alone} is not {plain}");
        assert_close(&expected, &unmasked);
    }
}

/// Single missing elements: the loss of the others, computed by hand from the prediction.
#[test]
fn masked_elements_add_nothing_to_the_mean_of_every_loss() {
    for loss in LOSSES {
        let (lit, mut batch) = (lit(loss, Scaling::Standard).masked(true), batch(6));
        let missing = [[0, 0, 0], [2, 1, 1], [5, 2, 0]];
        for [row, step, column] in missing {
            let _ = batch.y.get(row).get(step).get(column).fill_(f64::NAN);
        }
        let prediction = lit.forward(&batch.x, &mut ForwardContext::eval()).unwrap().detach();
        let (mut p, mut y) = (Vec::new(), Vec::new());
        for at in 0..36 {
            let target = batch.y.view(-1).double_value(&[at]);
            if !target.is_nan() {
                p.push(prediction.view(-1).double_value(&[at]));
                y.push(target);
            }
        }
        let expected = loss.compute(&Tensor::from_slice(&p), &Tensor::from_slice(&y)).unwrap();
        let (got, values, grads) = gradients(&lit, &batch);
        assert_eq!(values, 33, "{loss:?}");
        assert!((got - expected.double_value(&[])).abs() < 1e-12, "{loss:?}: {got}");
        assert!(grads.iter().all(|grad| grad.isfinite().all().int64_value(&[]) == 1), "{loss:?}");
        batch.y = batch.y.full_like(f64::NAN);
        let (loss, values, grads) = gradients(&lit, &batch);
        assert_eq!((loss, values), (0.0, 0));
        assert!(grads.iter().all(|grad| grad.abs().max().double_value(&[]) == 0.0));
    }
}

#[test]
fn masked_metrics_are_those_of_the_present_values() {
    let (lit, batch) = (lit(LossName::Mse, Scaling::Standard).masked(true), batch(4));
    let _ = batch.y.select(2, 1).fill_(f64::NAN);
    let output = tch::no_grad(|| lit.step(&batch, &mut ForwardContext::eval())).unwrap();
    let Count::Weights(weights) = &output.metrics[0].count else { panic!("{output:?}") };
    assert_eq!(Vec::<f64>::try_from(weights).unwrap(), [12.0, 0.0]);
    let sums = Vec::<f64>::try_from(&output.metrics[0].sum).unwrap();
    let prediction = lit.predict(&batch.x).unwrap();
    let actual = lit.scaler.inverse(&batch.y).unwrap();
    let errors = (prediction - actual).select(2, 0).abs().sum(Kind::Double).double_value(&[]);
    assert!((sums[0] - errors).abs() < 1e-9 && sums[1] == 0.0, "{sums:?} {errors}");
}

/// Adding a constant to all values of a window adds it to the forecast; with `window`, a factor is a factor of the forecast too.
#[test]
fn scaling_per_window_moves_the_forecast_with_the_window() {
    for (scaling, factor) in [(Scaling::Last, 1.0), (Scaling::Window, 3.0)] {
        let (lit, batch) = (lit(LossName::Mse, scaling), batch(4));
        let scaled = |values: &Tensor| lit.scaler.inverse(values).unwrap();
        let moved = lit.scaler.transform(&(scaled(&batch.x) * factor + 1000.0)).unwrap();
        let (before, after) = (lit.predict(&batch.x).unwrap(), lit.predict(&moved).unwrap());
        let difference = (before * factor + 1000.0 - after).abs().max().double_value(&[]);
        // RevIN adds 1e-5 to the variance.
        assert!(difference < 1e-2, "{scaling:?}: {difference}");
        let output = tch::no_grad(|| lit.step(&batch, &mut ForwardContext::eval())).unwrap();
        let expected = lit.scaler.transform(&lit.predict(&batch.x).unwrap()).unwrap();
        let expected = LossName::Mse.compute(&expected, &batch.y).unwrap().double_value(&[]);
        assert!(
            (output.loss.double_value(&[]) - expected).abs() < 1e-9,
            "{scaling:?}: the loss is in scaled units"
        );
    }
}

#[test]
fn advice_is_to_scale_large_values_that_are_not_scaled() {
    let of = |scaling, factor: f64| {
        let Batch { x, y, rows } = batch(4);
        lit(LossName::Mse, scaling).advice(&Batch { x: x * factor, y, rows })
    };
    assert!(of(Scaling::None, 1e4).unwrap().starts_with("--scaling standard, because the values reach "));
    assert_eq!(of(Scaling::None, 1.0), None);
    assert_eq!(of(Scaling::Standard, 1e4), None);
}

/// The mean 3.1 and the std of these values have no exact scaled value of 0 in single precision.
#[test]
fn metrics_of_targets_of_zero_leave_them_out_of_relative_errors() {
    let values = Tensor::from_slice(&[0.1f64, 1e5, 3.3, 70.0, 0.0, 0.7, 2.9, 13.0]).view([4, 2]);
    let scaler = Scaler::fit(Scaling::Standard, &values).unwrap();
    let lit = LitForecaster { scaler, ..lit(LossName::Mse, Scaling::Standard) };
    let target = Tensor::from_slice(&[0.0f64, 5.0, 2.0, 0.0, 0.0, 0.0]).view([1, 3, 2]);
    let rounded =
        |values: &Tensor| lit.scaler.transform(values).unwrap().to_kind(Kind::Float).to_kind(Kind::Double);
    let batch = Batch { x: batch(1).x, y: rounded(&target), rows: vec![0] };
    let output = tch::no_grad(|| lit.step(&batch, &mut ForwardContext::eval())).unwrap();
    let at = lit.metrics.iter().position(|metric| metric.name() == "mape").unwrap();
    let Count::Weights(weights) = &output.metrics[at].count else { panic!("{output:?}") };
    assert_eq!(Vec::<f64>::try_from(weights).unwrap(), [1.0, 1.0]);
}

/// Expected values by hand from the outputs of the network.
#[test]
fn quantiles_have_the_pinball_loss_of_the_present_values_and_do_not_cross() {
    for scaling in [Scaling::Standard, Scaling::Window, Scaling::Last] {
        let (lit, batch) = (lit(LossName::Quantile, scaling).masked(true), batch(6));
        let _ = batch.y.get(2).get(1).get(1).fill_(f64::NAN);
        let outputs = lit.forward(&batch.x, &mut ForwardContext::eval()).unwrap().detach();
        let outputs = outputs.view([6, 3, 3, 2]);
        let mut expected = 0.0;
        for (at, quantile) in [0.1, 0.5, 0.9].into_iter().enumerate() {
            let errors = &batch.y - outputs.select(2, at as i64);
            let losses = (&errors * quantile).maximum(&(&errors * (quantile - 1.0)));
            expected +=
                losses.nansum([0, 1, 2].as_slice(), false, Kind::Double).double_value(&[]) / 35.0 / 3.0;
        }
        let (got, values, grads) = gradients(&lit, &batch);
        assert_eq!(values, 35, "{scaling:?}");
        assert!((got - expected).abs() < 1e-12, "{scaling:?}: {got} is not {expected}");
        assert!(grads.iter().all(|grad| grad.isfinite().all().int64_value(&[]) == 1), "{scaling:?}");

        let made = lit.predict(&batch.x).unwrap();
        assert_eq!(made.size(), [6, 3, 6]);
        let crosses =
            |values: &Tensor| (values.diff::<Tensor>(1, 2, None, None).min()).double_value(&[]) < 0.0;
        assert!(crosses(&outputs) && !crosses(&made.view([6, 3, 3, 2])), "{scaling:?}");
        let sorted = lit.scaler.inverse(&outputs.sort(2, false).0.flatten(1, 2)).unwrap();
        let difference = (sorted.view([6, 3, 6]) - &made).abs().max().double_value(&[]);
        assert!(difference < 1e-9, "{scaling:?}: {difference}");
        // The metrics are those of the median.
        let output = tch::no_grad(|| lit.step(&batch, &mut ForwardContext::eval())).unwrap();
        let errors = (made.narrow(2, 2, 2) - lit.scaler.inverse(&batch.y).unwrap()).abs();
        let expected = errors.nansum([0, 1].as_slice(), false, Kind::Double);
        let difference = (&output.metrics[0].sum - expected).abs().max().double_value(&[]);
        assert!(difference < 1e-9, "{scaling:?}: {difference}");
    }
}

#[test]
fn quantiles_at_each_step_of_a_sequence_forecast_its_end() {
    let data = DataSpec { input_dims: vec![4, 2], output_dims: vec![1, 2, 3], ..DataSpec::default() };
    let placement = Placement { kind: Kind::Double, ..Placement::cpu(1) };
    let config = RnnConfig { sequence_loss: true, ..RnnConfig::default() };
    let model = Rnn::new(&config, &data, placement).unwrap();
    let config = LitConfig { loss: LossName::Quantile, ..LitConfig::default() };
    let scaler = Scaler::fit(Scaling::None, &Tensor::zeros([2, 2], kind::DOUBLE_CPU)).unwrap();
    let lit = LitForecaster::new(Box::new(model), config, scaler, 1).unwrap();
    let Batch { x, rows, .. } = batch(5);
    let batch = Batch { y: x.shallow_clone(), x, rows };
    assert!(gradients(&lit, &batch).0 > 0.0);
    let outputs = lit.model.forward(&batch.x, &mut ForwardContext::eval()).unwrap();
    assert_eq!(outputs.size(), [5, 4, 6]);
    let last = outputs.narrow(1, 3, 1).view([5, 1, 3, 2]).sort(2, false).0.view([5, 1, 6]);
    assert_eq!(lit.predict(&batch.x).unwrap(), last);
}
