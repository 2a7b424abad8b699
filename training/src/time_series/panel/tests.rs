use tch::Kind;
use text_recognizer::data::DataModule;

use super::*;
use crate::flags::Auto;
use crate::time_series::{BaselineConfig, CsvConfig, Scaling, Target, WindowConfig, parse_panel};

fn config() -> WindowConfig {
    crate::testing::windows(&["--split_time=0.8", "--window_size=3", "--horizon=2", "--shuffle_buffer=full"])
}

/// Returns series of these lengths. The value of row `row` of series `at` is `1000 at + row`, and a static covariate is `10 at`.
fn panel(lengths: &[usize]) -> Panel {
    let row = |at: usize, row: usize| format!("s{at},{},{row},{}\n", 10 * at, 1000 * at + row);
    let rows = lengths.iter().enumerate().flat_map(|(at, &length)| (0..length).map(move |t| row(at, t)));
    let mut csv = CsvConfig::default();
    csv.roles.series_column = vec!["key".into()];
    csv.roles.static_covariates = vec!["size".into()];
    csv.time_column = vec!["t".into()];
    let text = "key,size,t,v\n".to_owned() + &rows.collect::<String>();
    parse_panel(text.as_bytes(), &csv, "x.csv".as_ref()).unwrap()
}

fn module(lengths: &[usize], config: WindowConfig) -> Result<PanelDataModule> {
    PanelDataModule::new(panel(lengths), config, BaselineConfig::default(), Target::AfterWindow)
}

#[test]
fn windows_of_many_series_lie_in_one_series_and_its_split() {
    let lengths = [20, 4, 10, 40];
    let module = module(&lengths, config()).unwrap();
    assert_eq!(module.short(), ["s1"]);
    let spec = module.spec();
    assert_eq!((spec.input_dims, spec.output_dims), (vec![3, 2], vec![2, 1]));
    let splits = module.setup().unwrap();
    // The splits are at the rows 16, 8 and 32; a window and its target have five rows.
    assert_eq!((splits.train.len(), splits.val.len()), (12 + 4 + 28, 3 + 1 + 7));
    for (split, is_val) in [(splits.train, false), (splits.val, true)] {
        let (x, y) = split.slice(0, split.len() as i64).unwrap();
        for at in 0..x.size()[0] {
            let window: Vec<f64> = Vec::try_from(x.get(at).select(1, 0).to_kind(Kind::Double)).unwrap();
            let target: Vec<f64> = Vec::try_from(y.get(at).select(1, 0).to_kind(Kind::Double)).unwrap();
            let all = [window, target].concat();
            assert!(all.windows(2).all(|pair| pair[1] == pair[0] + 1.0), "{all:?}");
            let (series, split) =
                ((all[0] / 1000.0) as usize, (lengths[(all[0] / 1000.0) as usize] * 4 / 5) as f64);
            let rows = (all[0] % 1000.0, all[3] % 1000.0, all[4] % 1000.0);
            assert_eq!(rows.1 >= split, is_val, "{all:?}");
            assert!(is_val || rows.2 < split, "{all:?}");
            // The static covariates 0, 20 and 30, scaled.
            let expected = (10.0 * series as f64 - 50.0 / 3.0) / (1400.0f64 / 9.0).sqrt();
            assert!((x.double_value(&[at, 2, 1]) - expected).abs() < 1e-6, "{expected}");
        }
    }
}

#[test]
fn scaling_and_units_are_those_of_each_series() {
    let module = module(&[20, 40], WindowConfig { scaling: Scaling::Standard, ..config() }).unwrap();
    let train = module.setup().unwrap().train;
    let (x, _) = train.slice(0, train.len() as i64).unwrap();
    assert!(x.select(2, 0).abs().max().double_value(&[]) < 2.0);
    let positions = [0, 12, 39];
    let ids = train.ids(&positions).unwrap();
    assert_eq!(ids, [0, 20, 20 + 27]);
    let (x, _) = train.gather(&tch::Tensor::from_slice(&positions)).unwrap();
    let (shift, scale) = module.units().unwrap().of_rows(&ids, &x.to_kind(Kind::Double)).unwrap();
    let values = x.narrow(2, 0, 1).to_kind(Kind::Double) * scale + shift;
    let first: Vec<f64> = Vec::try_from(values.select(1, 0).view(-1)).unwrap();
    assert!([0.0, 1000.0, 1027.0].iter().zip(&first).all(|(a, b)| (a - b).abs() < 1e-3), "{first:?}");
    assert_eq!(module.extras().scalers.len(), 2);
}

#[test]
fn series_that_are_all_too_short_are_an_error_with_the_lengths() {
    let error = module(&[5, 6], config()).unwrap_err().to_string();
    assert!(
        error.contains("the longest has 6 rows, expected at least 5 before the split and 2 after"),
        "{error}"
    );
    let auto = WindowConfig { window_size: Auto::AUTO, ..config() };
    assert!(module(&[50, 3, 2], auto).is_ok());
}

#[test]
fn identity_of_many_series_changes_with_names_and_values() {
    let identity = |lengths: &[usize]| module(lengths, config()).unwrap().identity().unwrap().unwrap();
    assert_eq!(identity(&[20, 30]), identity(&[20, 30]));
    assert_ne!(identity(&[20, 30]), identity(&[30, 20]));
    assert_eq!(identity(&[20]).columns, ["key", "v", "size"]);
}
