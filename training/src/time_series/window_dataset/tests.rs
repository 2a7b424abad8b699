use super::*;

const NAN: f32 = f32::NAN;

fn ten() -> Tensor {
    Tensor::arange(10, tch::kind::FLOAT_CPU)
}

fn rows(tensor: &Tensor) -> Vec<Vec<f32>> {
    Vec::try_from(tensor.flatten(1, -1)).unwrap()
}

fn column(values: &[f32]) -> Tensor {
    Tensor::from_slice(values).view([-1, 1])
}

#[test]
fn complete_windows_leave_out_missing_inputs_and_targets_without_a_value() {
    let values = column(&[0.0, 1.0, 2.0, NAN, 4.0, 5.0, 6.0, 7.0, NAN, NAN]);
    let layout = Layout { window_size: 2, horizon: 2, shift: 1, stride: 1, sequence: false };
    let dataset = WindowDataset::complete(&values, &values, &[], layout).unwrap();
    let (x, y) = dataset.slice(0, dataset.len() as i64).unwrap();
    assert_eq!(rows(&x), [[0.0, 1.0], [1.0, 2.0], [4.0, 5.0], [5.0, 6.0]]);
    assert_eq!(format!("{:?}", rows(&y)), "[[2.0, NaN], [NaN, 4.0], [6.0, 7.0], [7.0, NaN]]");
    assert_eq!((dataset.left_out(), dataset.index(2).unwrap()), (3, 4));
    let (x, _) = dataset.gather(&Tensor::from_slice(&[3i64, 0])).unwrap();
    assert_eq!(rows(&x), [[5.0, 6.0], [0.0, 1.0]]);
    let double = Box::new(dataset).to(Device::Cpu, Kind::Double).unwrap();
    assert_eq!((double.len(), double.slice(2, 1).unwrap().0.double_value(&[0, 1, 0])), (4, 5.0));
}

#[test]
fn complete_windows_of_every_layout_equal_those_of_a_filter() {
    let missing = [4usize, 11, 12, 20, 37];
    let values: Vec<f32> = (0..40).map(|row| if missing.contains(&row) { NAN } else { row as f32 }).collect();
    let values = column(&values);
    for (window_size, horizon, shift, stride, sequence) in [
        (1, 1, 1, 1, false),
        (3, 2, 1, 2, false),
        (4, 1, 3, 1, true),
        (2, 3, 2, 3, false),
        (3, 1, 1, 2, true),
    ] {
        let layout = Layout { window_size, horizon, shift, stride, sequence };
        let all = WindowDataset::new(&values, layout).unwrap();
        let (x, y) = all.slice(0, all.len() as i64).unwrap();
        let (x, y) = (rows(&x), rows(&y));
        let expected: Vec<usize> = (0..x.len())
            .filter(|&at| x[at].iter().all(|x| !x.is_nan()) && y[at].iter().any(|y| !y.is_nan()))
            .collect();
        let dataset = WindowDataset::complete(&values, &values, &[], layout).unwrap();
        let used: Vec<usize> = (0..dataset.len()).map(|at| dataset.index(at).unwrap()).collect();
        assert_eq!(used, expected, "{layout:?}");
    }
}

#[test]
fn complete_windows_of_filled_inputs_have_no_filled_target() {
    let (filled, values) = (column(&[0.0, 1.0, 1.0, 3.0, 4.0]), column(&[0.0, 1.0, NAN, 3.0, 4.0]));
    let layout = Layout { window_size: 2, horizon: 1, shift: 1, stride: 1, sequence: false };
    let dataset = WindowDataset::complete(&filled, &values, &[], layout).unwrap();
    let (x, y) = dataset.slice(0, dataset.len() as i64).unwrap();
    assert_eq!((rows(&x), rows(&y)), (vec![vec![1.0, 1.0], vec![1.0, 3.0]], vec![vec![3.0], vec![4.0]]));
    let ahead = [false, false, true, false, false];
    let dataset = WindowDataset::complete(&filled, &values, &ahead, layout).unwrap();
    assert_eq!((dataset.len(), dataset.index(0).unwrap()), (1, 2));
}

#[test]
fn complete_windows_of_a_series_with_too_many_gaps_are_an_error() {
    let values = column(&[0.0, NAN, 2.0, NAN, 4.0]);
    let layout = Layout { window_size: 2, horizon: 1, shift: 1, stride: 1, sequence: false };
    let error = WindowDataset::complete(&values, &values, &[], layout).unwrap_err().to_string();
    assert!(error.contains("--fill forward"), "{error}");
}

#[test]
fn window_dataset_of_each_layout_has_the_expected_rows() {
    let series = Tensor::arange(20, tch::kind::FLOAT_CPU).view([10, 2]); // row t is [2t, 2t + 1]
    let layout = Layout { window_size: 3, horizon: 2, shift: 2, stride: 1, sequence: false };
    let dataset = WindowDataset::new(&series, layout).unwrap();
    let (x, y) = dataset.gather(&Tensor::from_slice(&[1i64])).unwrap();
    assert_eq!(
        (rows(&x), rows(&y)),
        (vec![vec![4.0, 5.0, 6.0, 7.0, 8.0, 9.0]], vec![vec![10.0, 11.0, 12.0, 13.0]])
    );
    assert_eq!(dataset.len(), 3);
    let strided = WindowDataset::new(&series, Layout { stride: 2, shift: 1, horizon: 1, ..layout }).unwrap();
    let (x, y) = strided.slice(0, 1).unwrap();
    assert_eq!((rows(&x), rows(&y)), (vec![vec![0.0, 1.0, 4.0, 5.0, 8.0, 9.0]], vec![vec![12.0, 13.0]]));
    let sequence = WindowDataset::new(&series, Layout { horizon: 1, sequence: true, ..layout }).unwrap();
    let (_, y) = sequence.slice(0, 1).unwrap();
    assert_eq!(rows(&y), [[2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]);
}

#[test]
fn window_dataset_is_a_view_and_converts_to_another_dtype() {
    let series = Tensor::arange(1000, tch::kind::FLOAT_CPU).view([1000, 1]);
    let layout = Layout { window_size: 100, horizon: 1, shift: 1, stride: 1, sequence: false };
    let dataset = WindowDataset::new(&series, layout).unwrap();
    assert_eq!(dataset.x.data_ptr(), series.data_ptr());
    let double = Box::new(dataset).to(Device::Cpu, Kind::Double).unwrap();
    let (x, y) = double.gather(&Tensor::from_slice(&[7i64, 899])).unwrap();
    assert_eq!((x.double_value(&[1, 99, 0]), y.double_value(&[0, 0, 0])), (998.0, 107.0));
    assert_eq!(x.kind(), Kind::Double);
}

#[test]
fn window_longer_than_the_series_is_an_error_with_both_lengths() {
    let layout = Layout { window_size: 10, horizon: 1, shift: 1, stride: 1, sequence: false };
    let error = WindowDataset::new(&ten().view([10, 1]), layout).unwrap_err().to_string();
    assert!(error.contains("series is 10:") && error.contains("at least 11"), "{error}");
}

#[test]
fn batch_of_a_narrowed_series_is_contiguous() {
    let wide = Tensor::arange(60, tch::kind::FLOAT_CPU).view([12, 5]);
    let narrow = wide.narrow(1, 1, 3).narrow(0, 2, 10); // row t is [5t + 11, 5t + 12, 5t + 13]
    let layout = Layout { window_size: 2, horizon: 1, shift: 1, stride: 3, sequence: false };
    let dataset = WindowDataset::new(&narrow, layout).unwrap();
    let (x, y) = dataset.gather(&Tensor::from_slice(&[1i64])).unwrap();
    assert_eq!(
        (rows(&x), rows(&y)),
        (vec![vec![16.0, 17.0, 18.0, 31.0, 32.0, 33.0]], vec![vec![46.0, 47.0, 48.0]])
    );
    assert!(x.is_contiguous() && y.is_contiguous());
}

#[test]
fn windows_of_many_series_are_those_of_each_series() {
    let missing = [4usize, 17, 30];
    let values: Vec<f32> = (0..36).map(|row| if missing.contains(&row) { NAN } else { row as f32 }).collect();
    let (values, ranges) = (column(&values), [0..9usize, 9..18, 18..36]);
    for (window_size, horizon, shift, stride) in [(2, 1, 1, 1), (2, 2, 3, 1), (3, 1, 1, 2), (1, 1, 2, 1)] {
        let layout = Layout { window_size, horizon, shift, stride, sequence: false };
        let firsts = Tensor::from_slice(&[0i64, 9, 18]);
        let statics = Tensor::from_slice(&[0.5f32, 1.5, 2.5]).view([3, 1]);
        let owners = Owners { firsts, statics };
        let (all, left_out) = WindowDataset::of_many(&values, &values, &[], layout, &ranges, owners).unwrap();
        let (mut expected, mut incomplete) = (Vec::new(), 0);
        for (series, range) in ranges.iter().enumerate() {
            let own = values.narrow(0, range.start as i64, range.len() as i64);
            let dataset = WindowDataset::complete(&own, &own, &[], layout).unwrap();
            incomplete += dataset.left_out();
            let (x, _) = dataset.slice(0, dataset.len() as i64).unwrap();
            let with_static = |row: Vec<f32>| row.iter().flat_map(|x| [*x, series as f32 + 0.5]).collect();
            expected.extend(rows(&x).into_iter().map(with_static).collect::<Vec<Vec<f32>>>());
        }
        let (x, _) = all.slice(0, all.len() as i64).unwrap();
        assert_eq!((rows(&x), left_out), (expected, incomplete), "{layout:?}");
        let ids = all.ids(&[0, all.len() as i64 - 1]).unwrap();
        assert_eq!(ids, [x.double_value(&[0, 0, 0]) as i64, x.double_value(&[-1, 0, 0]) as i64]);
    }
}
