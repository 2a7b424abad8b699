//! Classical seasonal decomposition, and a test for seasons.

/// The two forms of a seasonal component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It is added to the rest.
    Additive,
    /// It is multiplied with the rest.
    Multiplicative,
}

impl Form {
    /// Returns the name, as in a note.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Additive => "additive",
            Self::Multiplicative => "multiplicative",
        }
    }
}

/// Returns the seasonal component of each of `season` positions, from the first row on: the mean difference to (or ratio of) a
/// centered moving average over a season. Additive components have mean 0, multiplicative ones mean 1. This is the classical
/// decomposition (Hyndman and Athanasopoulos, "Forecasting: Principles and Practice", 2021, section 3.4).
///
/// `values` are at least two seasons, and not 0 on average over a season if the form is multiplicative.
pub fn components(values: &[f64], season: usize, form: Form) -> Vec<f64> {
    let half = season / 2;
    let mut sums = vec![0.0; season];
    let mut counts = vec![0.0; season];
    // The sum of the rows within half a season of `row`. An even season has half of the weight at both ends.
    let mut sum: f64 = values[..=2 * half].iter().sum();
    for row in half..values.len() - half {
        if row > half {
            sum += values[row + half] - values[row - half - 1];
        }
        let ends =
            if season.is_multiple_of(2) { (values[row - half] + values[row + half]) / 2.0 } else { 0.0 };
        let trend = (sum - ends) / season as f64;
        sums[row % season] += match form {
            Form::Additive => values[row] - trend,
            Form::Multiplicative => values[row] / trend,
        };
        counts[row % season] += 1.0;
    }
    let means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect();
    let mean = means.iter().sum::<f64>() / season as f64;
    match form {
        Form::Additive => means.iter().map(|value| value - mean).collect(),
        Form::Multiplicative => means.iter().map(|value| value / mean).collect(),
    }
}

/// Returns whether the autocorrelation at the lag `season` is significant, at the level of 90 % of the M4 competition: greater
/// than 1.645 of its standard errors (Fiorucci et al., "Models for optimising the theta method and their relationship to state
/// space models", 2016).
pub fn is_seasonal(values: &[f64], season: usize) -> bool {
    if season < 4 || values.len() / 2 < season {
        return false;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let centered: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let variance: f64 = centered.iter().map(|value| value * value).sum();
    let correlation = |lag: usize| {
        centered[lag..].iter().zip(&centered).map(|(later, earlier)| later * earlier).sum::<f64>() / variance
    };
    let squares: f64 = (1..season).map(|lag| correlation(lag).powi(2)).sum();
    let error = ((1.0 + 2.0 * squares) / values.len() as f64).sqrt();
    correlation(season).abs() / error > 1.644_853_626_951_472_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_a_line_with_a_season_are_the_season() {
        for season in [4, 5] {
            let shape = |row: usize| (row % season) as f64 - (season - 1) as f64 / 2.0;
            let sum: Vec<f64> = (0..4 * season).map(|row| 3.0 * row as f64 + shape(row)).collect();
            let found = components(&sum, season, Form::Additive);
            assert!((0..season).all(|row| (found[row] - shape(row)).abs() < 1e-9), "{found:?}");
            let factor = |row: usize| 1.0 + shape(row) / 10.0;
            let product: Vec<f64> = (0..4 * season).map(|row| 7.0 * factor(row)).collect();
            let found = components(&product, season, Form::Multiplicative);
            assert!((0..season).all(|row| (found[row] - factor(row)).abs() < 1e-9), "{found:?}");
        }
    }

    #[test]
    fn is_seasonal_is_false_for_constant_short_and_aperiodic_values() {
        let wave: Vec<f64> = (0..60).map(|row| f64::from(row % 6)).collect();
        assert!(is_seasonal(&wave, 6));
        let noise: Vec<f64> = (0..60_u64).map(|row| (row * row * 7_919 % 101) as f64).collect();
        assert!(!is_seasonal(&noise, 6));
        assert!(!is_seasonal(&wave[..11], 6));
        assert!(!is_seasonal(&[2.0; 60], 6));
    }
}
