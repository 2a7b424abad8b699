use super::*;
use crate::time_series::{
    CsvConfig, Fill, Scaling, SplitPoint, SyntheticConfig, Timestamps, parse_csv, synthetic,
};

fn config() -> WindowConfig {
    crate::testing::windows(&[])
}

fn module(config: WindowConfig) -> Result<SeriesDataModule> {
    let baselines = BaselineConfig::default();
    SeriesDataModule::new(synthetic(&SyntheticConfig::default())?, config, baselines, Target::AfterWindow)
}

#[test]
fn setup_with_the_defaults_has_980_training_and_461_validation_windows() {
    let module = module(config()).unwrap();
    let splits = module.setup().unwrap();
    assert_eq!((splits.train.len(), splits.val.len()), (980, 461));
    let (_, y) = splits.val.slice(0, 461).unwrap();
    assert_eq!(y.view(-1).to_kind(Kind::Double), module.series().values.narrow(0, 1000, 461).view(-1));
    let (x, y) = splits.train.slice(979, 1).unwrap();
    assert_eq!((x.size(), y.size()), (vec![1, 20, 1], vec![1, 1, 1]));
    assert_eq!(y.double_value(&[0, 0, 0]), module.series().column(0).unwrap()[999]);
}

#[test]
fn setup_with_share_and_test_time_has_three_splits() {
    let config = WindowConfig {
        split_time: SplitPoint::Share(0.5),
        test_time: Some(SplitPoint::Row(1400)),
        horizon: 3,
        ..config()
    };
    let splits = module(config).unwrap().setup().unwrap();
    assert_eq!(
        (splits.train.len(), splits.val.len(), splits.test.unwrap().len()),
        (731 - 22, 1400 - 731 - 2, 61 - 2)
    );
}

#[test]
fn scaling_is_fitted_on_the_training_split_only() {
    let module = module(WindowConfig { scaling: Scaling::Minmax, ..config() }).unwrap();
    let (x, _) = module.setup().unwrap().train.slice(0, 980).unwrap();
    assert!(x.min().double_value(&[]) >= 0.0 && x.max().double_value(&[]) <= 1.0);
    let (_, y) = module.setup().unwrap().val.slice(0, 461).unwrap();
    assert!(y.max().double_value(&[]) > 1.0);
}

/// Returns a module over 40 rows with gaps at the rows 10, 20, 21 and 33, split at row 30.
fn with_gaps(fill: Fill) -> SeriesDataModule {
    let gaps = [10, 20, 21, 33];
    let values: Vec<f64> = (0..40).map(|t| if gaps.contains(&t) { f64::NAN } else { f64::from(t) }).collect();
    let values = Tensor::from_slice(&values).view([-1, 1]);
    let series = Series::new(Timestamps::counted(40), vec!["v".into()], true, values).unwrap();
    let config = WindowConfig { split_time: SplitPoint::Row(30), window_size: 5.into(), fill, ..config() };
    SeriesDataModule::new(series, config, BaselineConfig::default(), Target::AfterWindow).unwrap()
}

#[test]
fn windows_of_a_series_with_gaps_are_complete_and_their_targets_are_not_filled() {
    for (fill, train, val) in [(Fill::None, 25 - 6 - 7, 10 - 6), (Fill::Forward, 25 - 3, 10 - 1)] {
        let module = with_gaps(fill);
        let splits = module.setup().unwrap();
        assert_eq!((splits.train.len(), splits.val.len()), (train, val), "{fill:?}");
        for split in [splits.train, splits.val] {
            let (x, y) = split.slice(0, split.len() as i64).unwrap();
            let missing = |x: &Tensor| x.isnan().sum(Kind::Int64).int64_value(&[]);
            assert_eq!((missing(&x), missing(&y)), (0, 0), "{fill:?}");
        }
        assert!(module.has_missing());
        assert_eq!(module.series().notes.len(), 1);
    }
    // The rows 30 to 32 come before the gap at row 33; the windows of the rows 33 to 38 are left out.
    let module = with_gaps(Fill::None);
    assert_eq!(
        [0, 1, 3, 4].map(|windows| module.rows_of(&module.validation(), windows).unwrap()),
        [0, 1, 3, 10]
    );
}

#[test]
fn new_with_values_beyond_single_precision_is_a_note_or_an_error() {
    let module = |values: &[f64], scaling| {
        let values = Tensor::from_slice(values).view([-1, 1]);
        let series = Series::new(Timestamps::counted(40), vec!["id".into()], true, values).unwrap();
        let config =
            WindowConfig { split_time: SplitPoint::Row(30), window_size: 5.into(), scaling, ..config() };
        SeriesDataModule::new(series, config, BaselineConfig::default(), Target::AfterWindow)
    };
    let counter: Vec<f64> = (0..40).map(|t| 1e8 + f64::from(t)).collect();
    let noted = module(&counter, Scaling::None).unwrap();
    assert!(noted.series().notes[0].contains("rounded values of id"), "{:?}", noted.series().notes);
    let scaled = module(&counter, Scaling::Standard).unwrap();
    assert!(scaled.series().notes.is_empty());
    let (x, _) = scaled.setup().unwrap().train.slice(0, 1).unwrap();
    let steps =
        Vec::<f64>::try_from(x.to_kind(Kind::Double).diff::<Tensor>(1, 1, None, None).view(-1)).unwrap();
    assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-6), "{steps:?}");
    let huge: Vec<f64> = (0..40).map(|t| 1e300 * f64::from(t)).collect();
    let error = module(&huge, Scaling::None).unwrap_err().to_string();
    assert!(error.contains("column id is 39") && error.contains("--scaling standard"), "{error}");
}

/// Returns a module over 60 days of sales that follow a promotion, split at row 40, and changes its flags.
fn with_covariates(
    change: impl Fn(&mut CsvConfig, &mut WindowConfig),
    target: Target,
) -> Result<SeriesDataModule> {
    let rows = (0..60).map(|t| {
        let promo = if t == 5 { String::new() } else { u8::from(t % 5 == 0).to_string() };
        let sales = 100 + 50 * u8::from(t % 5 == 0);
        format!("2024-{:02}-{:02},{sales},{promo},{}\n", 1 + t / 31, 1 + t % 31, 7 + t)
    });
    let text = "day,sales,promo,heat\n".to_owned() + &rows.collect::<String>();
    let mut csv = CsvConfig::default();
    csv.roles.past_covariates = vec!["heat".into()];
    csv.roles.future_covariates = vec!["promo".into()];
    let windows =
        WindowConfig { split_time: SplitPoint::Row(40), window_size: 6.into(), horizon: 3, ..config() };
    let mut windows = WindowConfig { scaling: Scaling::Window, ..windows };
    change(&mut csv, &mut windows);
    let series = parse_csv(text.as_bytes(), &csv, "x.csv".as_ref()).unwrap();
    SeriesDataModule::new(series, windows, BaselineConfig::default(), target)
}

#[test]
fn windows_with_covariates_have_their_scaled_values_and_those_with_a_missing_one_are_left_out() {
    let module = with_covariates(|_, _| {}, Target::AfterWindow).unwrap();
    let spec = module.spec();
    assert_eq!((spec.input_dims, spec.output_dims), (vec![6, 3], vec![3, 1]));
    assert_eq!(spec.mapping, ["sales"]);
    let train = module.setup().unwrap().train;
    // Without the windows whose led promotion is that of row 5: they begin at row 0, 1 and 2.
    assert_eq!((train.len(), module.has_missing()), (40 - 8 - 3, true));
    let (x, _) = train.slice(0, train.len() as i64).unwrap();
    for column in [1, 2] {
        let values = x.select(2, column);
        let mean = values.mean(Kind::Double).double_value(&[]).abs();
        assert!(mean < 0.5 && values.abs().max().double_value(&[]) < 2.5, "{column}: {values}");
    }
    let filled = with_covariates(|_, windows| windows.fill = Fill::Forward, Target::AfterWindow).unwrap();
    assert_eq!(filled.setup().unwrap().train.len(), 40 - 8);
    assert!(filled.series().notes.iter().any(|note| note.contains("filled 1 of 1 value of covariates")));
}

/// With `sequence_loss`, the covariate of each time step is that of its target.
#[test]
fn windows_with_a_target_at_each_step_have_the_covariate_of_the_target() {
    let change = |_: &mut CsvConfig, windows: &mut WindowConfig| {
        *windows =
            WindowConfig { horizon: 1, scaling: Scaling::None, fill: Fill::Forward, ..windows.clone() };
    };
    let module = with_covariates(change, Target::EachStep).unwrap();
    let (x, y) = module.setup().unwrap().train.slice(6, 1).unwrap();
    assert_eq!(y.select(2, 0), x.select(2, 2) * 50.0 + 100.0);
}

#[test]
fn window_shorter_than_the_horizon_is_an_error_only_with_inputs_that_are_known_beforehand() {
    let short = |_: &mut CsvConfig, windows: &mut WindowConfig| windows.window_size = 2.into();
    let error = with_covariates(short, Target::AfterWindow).unwrap_err().to_string();
    assert!(error.contains("window_size is 2: expected at least the horizon, 3"), "{error}");
    let only_past = |csv: &mut CsvConfig, windows: &mut WindowConfig| {
        windows.window_size = 2.into();
        csv.roles.future_covariates = Vec::new();
    };
    assert!(with_covariates(only_past, Target::AfterWindow).is_ok());
    let auto = |_: &mut CsvConfig, windows: &mut WindowConfig| {
        *windows = WindowConfig { window_size: Auto::AUTO, horizon: 16, ..windows.clone() };
    };
    assert_eq!(with_covariates(auto, Target::AfterWindow).unwrap().window_size(), 16);
}

#[test]
fn identity_of_a_series_changes_with_each_covariate() {
    let identity = |change: fn(&mut CsvConfig)| {
        let module = with_covariates(|csv, _| change(csv), Target::AfterWindow).unwrap();
        module.identity().unwrap().unwrap()
    };
    let (first, same) = (identity(|_| {}), identity(|_| {}));
    assert_eq!(first, same);
    assert_eq!(first.columns, ["sales", "heat", "promo"]);
    assert_ne!(first, identity(|csv| csv.na = vec!["66".into()]));
}

#[test]
fn check_horizon_of_more_forecasts_than_memory_is_an_error() {
    let config = WindowConfig { horizon: 1 << 20, ..config() };
    let error = check_horizon(&config, 1 << 21, 1).unwrap_err().to_string();
    assert!(error.contains("validation split is 2199023255552: expected at most"), "{error}");
    assert!(check_horizon(&config, usize::MAX, usize::MAX).is_err());
}

#[test]
fn setup_with_zero_rows_for_a_baseline_is_an_error() {
    let of = |change: fn(&mut BaselineConfig)| {
        let mut baselines = BaselineConfig::default();
        change(&mut baselines);
        let series = synthetic(&SyntheticConfig::default()).unwrap();
        SeriesDataModule::new(series, config(), baselines, Target::AfterWindow).unwrap_err().to_string()
    };
    assert!(of(|baselines| baselines.season = Some(0)).contains("season is 0: expected at least 1"));
    assert!(of(|baselines| baselines.average = 0).contains("average is 0"));
    assert!(of(|baselines| baselines.difference_average = 0).contains("difference_average is 0"));
    assert!(of(|baselines| baselines.past_average = 0).contains("past_average is 0"));
}

#[test]
fn setup_with_impossible_split_or_window_is_an_error_with_the_value() {
    let cases = [
        (WindowConfig { split_time: SplitPoint::Row(1461), ..config() }, "1461"),
        (WindowConfig { split_time: SplitPoint::Row(0), ..config() }, "split_time"),
        (WindowConfig { test_time: Some(SplitPoint::Row(900)), ..config() }, "test_time"),
        (WindowConfig { window_size: 1000.into(), ..config() }, "series is 1000:"),
        (WindowConfig { window_size: 0.into(), ..config() }, "window_size"),
        (WindowConfig { horizon: 0, ..config() }, "horizon"),
        (WindowConfig { shift: 0, ..config() }, "shift"),
        (WindowConfig { stride: 0, ..config() }, "stride"),
        (WindowConfig { horizon: 462, ..config() }, "461 rows long: expected at least 462 rows"),
        (WindowConfig { horizon: 3, stride: 300, ..config() }, "expected at least 601 rows"),
        (
            WindowConfig { horizon: usize::MAX, ..config() },
            "horizon is 18446744073709551615: expected at most",
        ),
        (WindowConfig { horizon: i64::MAX as usize, stride: 9, ..config() }, "rows for a horizon of"),
    ];
    for (config, expected) in cases {
        let error = module(config.clone()).and_then(|module| module.setup()).unwrap_err().to_string();
        assert!(error.contains(expected), "{config:?}: {error}");
    }
}
