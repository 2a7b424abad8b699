//! Nonlinear least squares with bounds: the method of Levenberg and Marquardt, with steps that are cut at the bounds.

/// The errors of parameters; `None` for parameters without finite errors.
type Residuals<'a> = dyn Fn(&[f64]) -> Option<Vec<f64>> + 'a;

/// A problem of least squares.
pub struct Problem<'a> {
    /// Returns the errors, whose sum of squares is minimized.
    pub residuals: &'a Residuals<'a>,
    /// The smallest and the greatest value of each parameter.
    pub bounds: &'a [[f64; 2]],
    /// The order of magnitude of each parameter, for numeric derivatives.
    pub scales: &'a [f64],
}

/// The most steps.
const MOST_STEPS: usize = 100;
/// The relative decrease of the sum of squares that ends the search.
const SMALL: f64 = 1e-10;
/// The step of numeric derivatives, relative to the scale of a parameter.
const DIFFERENCE: f64 = 1e-7;

/// Returns the smallest sum of squares that is found from `x` on, and its parameters. Returns `None` if `x` has no finite errors.
pub fn minimize(problem: &Problem<'_>, mut x: Vec<f64>) -> Option<(f64, Vec<f64>)> {
    let mut errors = (problem.residuals)(&x)?;
    let mut sum = squares(&errors);
    let mut damping = 1e-3;
    for _ in 0..MOST_STEPS {
        let Some(columns) = derivatives(problem, &x, &errors) else { break };
        let gradient: Vec<f64> = columns.iter().map(|column| dot(column, &errors)).collect();
        let mut products: Vec<Vec<f64>> =
            columns.iter().map(|a| columns.iter().map(|b| dot(a, b)).collect()).collect();
        hold_at_bounds(problem.bounds, &x, &gradient, &mut products);
        let before = sum;
        while damping < 1e12 {
            let moved = moved(problem.bounds, &x, &gradient, &products, damping);
            let better = moved.and_then(|moved| {
                let errors = (problem.residuals)(&moved)?;
                let sum = squares(&errors);
                Some((sum, moved, errors))
            });
            if let Some((smaller, moved, of_moved)) = better.filter(|(smaller, ..)| *smaller < sum) {
                (sum, x, errors) = (smaller, moved, of_moved);
                damping = (damping / 5.0).max(1e-12);
                break;
            }
            damping *= 4.0;
        }
        if before - sum <= SMALL * before {
            break;
        }
    }
    Some((sum, x))
}

fn squares(values: &[f64]) -> f64 {
    dot(values, values)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the derivatives of the errors for each parameter, by differences towards the middle of the bounds.
fn derivatives(problem: &Problem<'_>, x: &[f64], errors: &[f64]) -> Option<Vec<Vec<f64>>> {
    let columns = (0..x.len()).map(|index| {
        let size = DIFFERENCE * problem.scales[index].max(x[index].abs());
        let forward = x[index] + size <= problem.bounds[index][1];
        let of = |size: f64| {
            let mut near = x.to_vec();
            near[index] += size;
            let changed = (problem.residuals)(&near)?;
            Some(changed.iter().zip(errors).map(|(changed, error)| (changed - error) / size).collect())
        };
        if forward { of(size).or_else(|| of(-size)) } else { of(-size) }
    });
    columns.collect()
}

/// Removes the parameters from the equations that would leave their bounds.
fn hold_at_bounds(bounds: &[[f64; 2]], x: &[f64], gradient: &[f64], products: &mut [Vec<f64>]) {
    for (index, [low, high]) in bounds.iter().enumerate() {
        let leaves =
            (x[index] <= *low && gradient[index] > 0.0) || (x[index] >= *high && gradient[index] < 0.0);
        if leaves {
            products.iter_mut().for_each(|row| row[index] = 0.0);
            products[index].fill(0.0);
        }
    }
}

/// Returns the parameters after a step, within the bounds; `None` if the equations have no solution.
fn moved(
    bounds: &[[f64; 2]],
    x: &[f64],
    gradient: &[f64],
    products: &[Vec<f64>],
    damping: f64,
) -> Option<Vec<f64>> {
    let mut damped = products.to_vec();
    let mut right = Vec::with_capacity(x.len());
    for (index, row) in damped.iter_mut().enumerate() {
        // A parameter without an effect stays as it is.
        let free = row[index] > 0.0;
        right.push(if free { -gradient[index] } else { 0.0 });
        row[index] = if free { row[index] * (1.0 + damping) } else { 1.0 };
    }
    let step = solve(damped, right)?;
    let moved = x.iter().zip(&step).zip(bounds);
    let moved: Vec<f64> = moved.map(|((x, step), [low, high])| (x + step).clamp(*low, *high)).collect();
    moved.iter().all(|value| value.is_finite()).then_some(moved)
}

/// Solves `a x = b` for a symmetric positive definite matrix, by its Cholesky decomposition; `None` for another matrix.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Option<Vec<f64>> {
    let size = b.len();
    for row in 0..size {
        for column in 0..=row {
            let rest = a[row][column] - dot(&a[row][..column], &a[column][..column]);
            if row == column {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                a[row][row] = rest.sqrt();
            } else {
                a[row][column] = rest / a[column][column];
            }
        }
        b[row] = (b[row] - dot(&a[row][..row], &b[..row])) / a[row][row];
    }
    for row in (0..size).rev() {
        let rest: f64 = (row + 1..size).map(|below| a[below][row] * b[below]).sum();
        b[row] = (b[row] - rest) / a[row][row];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimize_finds_the_minimum_of_the_rosenbrock_function() {
        let residuals = |x: &[f64]| Some(vec![10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]]);
        let bounds = [[f64::NEG_INFINITY, f64::INFINITY]; 2];
        let problem = Problem { residuals: &residuals, bounds: &bounds, scales: &[1.0; 2] };
        let (sum, x) = minimize(&problem, vec![-1.2, 1.0]).unwrap();
        assert!(sum < 1e-12 && x.iter().all(|x| (x - 1.0).abs() < 1e-6), "{sum} {x:?}");
    }

    #[test]
    fn minimize_with_bounds_ends_at_the_best_bound() {
        let residuals = |x: &[f64]| Some(vec![x[0] + x[1] - 5.0, x[1] - 1.0, x[2] * 0.0]);
        let bounds = [[0.0, 2.0], [0.0, 10.0], [0.0, 1.0]];
        let problem = Problem { residuals: &residuals, bounds: &bounds, scales: &[1.0; 3] };
        let (_, x) = minimize(&problem, vec![1.0, 0.0, 0.5]).unwrap();
        assert!((x[0] - 2.0).abs() < 1e-9 && (x[1] - 2.0).abs() < 1e-6 && x[2] == 0.5, "{x:?}");
    }

    #[test]
    fn minimize_without_finite_errors_is_none() {
        let residuals = |_: &[f64]| None;
        let problem = Problem { residuals: &residuals, bounds: &[[0.0, 1.0]], scales: &[1.0] };
        assert!(minimize(&problem, vec![0.5]).is_none());
    }
}
