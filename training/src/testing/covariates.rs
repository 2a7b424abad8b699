//! Properties of covariates: a window has only what is known at its origin, and a forecast of the future is that of the rows.

use std::rc::Rc;

use proptest::prelude::*;
use tch::{Kind, Tensor};
use text_recognizer::data::{DataModule, Dataset};
use text_recognizer::lit_models::{LitConfig, LossName};
use text_recognizer::nn::Placement;

use super::properties::cases;
use crate::tasks::LitForecaster;
use crate::time_series::models::{Linear, LinearConfig};
use crate::time_series::{
    BaselineConfig, Calendar, CovariateValues, CsvConfig, Fill, Forecaster, NetworkForecaster, Roles,
    Scaling, Series, SeriesDataModule, SplitPoint, Target, Timestamps, WindowConfig, parse_csv,
};

const ROWS: usize = 60;
const SPLIT: usize = 40;

/// The inputs of a window: the target, two past covariates, of which the second is the number of the row, and a future covariate.
const ROW: i64 = 2;

/// Returns a series whose values are `value(row, column)`, NaN where `missing` is true.
fn series(value: impl Fn(usize, usize) -> f64, missing: &[bool]) -> Series {
    let cell = |at: usize| {
        let (row, column) = (at / 4, at % 4);
        match column as i64 {
            ROW => row as f64,
            _ if missing[at] => f64::NAN,
            _ => value(row, column),
        }
    };
    let values: Vec<f64> = (0..ROWS * 4).map(cell).collect();
    let all = Tensor::from_slice(&values).view([-1, 4]);
    let roles = Roles { past: vec!["p".into(), "row".into()], future: vec!["f".into()], ..Roles::default() };
    let (values, timestamps, covariates, _) =
        CovariateValues::split(&all, Rc::new(Timestamps::counted(ROWS)), roles).unwrap();
    let series = Series::new(timestamps, vec!["y".into()], true, values).unwrap();
    series.with_covariates(covariates).unwrap()
}

fn config(window_size: usize, horizon: usize, stride: usize, fill: Fill) -> WindowConfig {
    let parse = |text: &str| text.parse().unwrap();
    WindowConfig {
        split_time: SplitPoint::Row(SPLIT),
        test_time: None,
        end_time: None,
        refit_on_all: false,
        window_size: window_size.into(),
        horizon,
        shift: 1,
        stride,
        shuffle_buffer: parse("full"),
        reshuffle_each_iteration: true,
        scaling: Scaling::None,
        fill,
    }
}

/// Returns the windows of all splits, `[windows, window_size, inputs]`.
fn windows(series: Series, config: &WindowConfig) -> Option<Vec<Tensor>> {
    let baselines = BaselineConfig { season: Some(7), ..BaselineConfig::default() };
    let module = SeriesDataModule::new(series, config.clone(), baselines, Target::AfterWindow).ok()?;
    let splits = module.setup().ok()?;
    let all = |split: &dyn Dataset| split.slice(0, split.len() as i64).unwrap().0;
    Some(vec![all(&*splits.train), all(&*splits.val)])
}

proptest! {
    #![proptest_config(cases(128))]

    /// All values that are not known before row `first` change: the windows that end before it must not.
    #[test]
    fn window_has_no_value_that_is_not_known_at_its_origin(
        (horizon, more, stride) in (1..5usize, 0..4usize, 1..4usize),
        missing in proptest::collection::vec(prop::bool::weighted(0.08), ROWS * 4),
        first in 1..ROWS,
        fill in prop::sample::select(vec![Fill::None, Fill::Forward, Fill::Interpolate, Fill::Seasonal]),
    ) {
        let config = config(horizon + more, horizon, stride, fill);
        let value = |row: usize, column: usize| (row * 10 + column) as f64;
        let changed = |row: usize, column: usize| {
            let known = if column == 3 { first + horizon * stride } else { first };
            value(row, column) + if row >= known { 1e4 } else { 0.0 }
        };
        let both = (windows(series(value, &missing), &config), windows(series(changed, &missing), &config));
        let (Some(before), Some(after)) = both else { return Ok(()) };
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!(before.size(), after.size());
            let last = before.select(2, ROW).select(1, before.size()[1] - 1);
            let known = last.lt(first as f64);
            let at_origin = |x: &Tensor| x.index_select(0, &known.nonzero().view(-1));
            prop_assert_eq!(at_origin(before), at_origin(after));
            if missing.contains(&true) {
                continue;
            }
            // A place of a window has the values of its row, and what is known beforehand of the row that is the lead later.
            let rows = before.select(2, ROW);
            let lead = (horizon * stride) as f64;
            let inputs = [(0, &rows * 10.0), (1, &rows * 10.0 + 1.0), (3, (&rows + lead) * 10.0 + 3.0)];
            for (column, expected) in inputs {
                prop_assert_eq!(before.select(2, column), expected);
            }
        }
    }

    /// A forecast after the end of a shorter series is that of the same origin in the whole series.
    #[test]
    fn forecast_of_the_future_is_that_of_the_rows(
        (horizon, more, stride) in (1..5usize, 0..4usize, 1..4usize), row in 45..50usize, per_window: bool,
    ) {
        let line = |t| {
            let (month, day) = (1 + t / 31, 1 + t % 31);
            format!("2024-{month:02}-{day:02},{},{},{}\n", t * t % 17, t % 5, t * 3 % 7)
        };
        let rows = (0..ROWS).map(line);
        let text = "day,y,p,f\n".to_owned() + &rows.collect::<String>();
        let mut csv = CsvConfig::default();
        csv.roles.past_covariates = vec!["p".into()];
        csv.roles.future_covariates = vec!["f".into()];
        csv.roles.calendar = vec![Calendar::Weekday, Calendar::Day];
        csv.roles.fourier = vec!["5:2".parse().unwrap()];
        let series = parse_csv(text.as_bytes(), &csv, "x.csv".as_ref()).unwrap();
        let scaling = if per_window { Scaling::Window } else { Scaling::Standard };
        let config = WindowConfig { scaling, ..config(horizon + more, horizon, stride, Fill::None) };
        let module = SeriesDataModule::new(series, config, BaselineConfig::default(), Target::AfterWindow).unwrap();
        let data = module.spec();
        prop_assert_eq!(&data.input_dims, &[(horizon + more) as i64, 3 + 4 + 4]);
        prop_assert_eq!(&data.output_dims, &[horizon as i64, 1]);
        let placement = Placement { kind: Kind::Double, ..Placement::cpu(1) };
        let model = Linear::new(&LinearConfig {}, &data, placement).unwrap();
        let lit = LitConfig { loss: LossName::Mse, ..LitConfig::default() };
        let scaler = module.scaler().clone();
        let lit = LitForecaster::new(Box::new(model), lit, scaler.clone(), horizon as i64).unwrap();
        let covariates = module.covariates().cloned();
        let lit = Rc::new(lit);
        let forecaster =
            NetworkForecaster { lit, data, scaler, covariates, statics: None, quantiles: None, stride, batch_size: 8 };
        let steps = forecaster.forecast_rows(module.series(), row..row + (horizon - 1) * stride + 1).unwrap();
        // The first window ends `stride` rows before its first forecast.
        let origin = module.series().head(row + 1 - stride).unwrap();
        let future = forecaster.forecast_future(&origin, horizon).unwrap();
        prop_assert_eq!(future.size(), [horizon as i64, 1]);
        for (step, made) in steps.iter().enumerate() {
            let got = made.double_value(&[(step * stride) as i64, 0]);
            let expected = future.double_value(&[step as i64, 0]);
            prop_assert!((got - expected).abs() < 1e-9, "step {step}: {got} is not {expected}");
        }
    }
}
