//! Running means of losses and metrics.

use tch::{Device, Kind, Tensor};

use super::count::Count;
use crate::error::Result;

/// A running mean that does not synchronize with the device: on the CPU it sums in double precision; on other devices it sums
/// on the device until [`Running::parts`] or [`Running::mean`] is called.
#[derive(Debug, Default)]
pub struct Running {
    /// The sum and the weight of each group; empty before the first batch.
    parts: Vec<[f64; 2]>,
    /// The sums and the weights that are still on the device.
    pending: [Option<Tensor>; 2],
}

impl Running {
    /// Continues from the sums and weights of [`Running::parts`].
    pub fn from_parts(parts: Vec<[f64; 2]>) -> Self {
        Self { parts, ..Self::default() }
    }

    /// Adds a sum of `count` terms, or the sums and weights of all groups.
    ///
    /// # Errors
    /// Fails if `sum` is neither a scalar nor `[groups]`.
    pub fn add(&mut self, sum: &Tensor, count: impl Into<Count>) -> Result<()> {
        self.add_part(SUM, sum)?;
        match count.into() {
            Count::Known(count) => {
                self.add_numbers(WEIGHT, &[count as f64]);
                Ok(())
            }
            Count::OnDevice(count) | Count::Weights(count) => self.add_part(WEIGHT, &count),
        }
    }

    /// Adds the mean of `count` terms. The mean of no terms adds nothing, also if it is NaN.
    ///
    /// # Errors
    /// Fails if `mean` is not a scalar.
    pub fn add_mean(&mut self, mean: &Tensor, count: impl Into<Count>) -> Result<()> {
        match count.into() {
            Count::Known(0) => Ok(()),
            Count::Known(count) if mean.device() == Device::Cpu => {
                self.add_numbers(SUM, &[mean.f_double_value(&[])? * count as f64]);
                self.add_numbers(WEIGHT, &[count as f64]);
                Ok(())
            }
            Count::Known(count) => self.add(&(mean.detach() * count as f64), count),
            Count::OnDevice(count) | Count::Weights(count) => {
                let sum = mean.detach().f_mul(&count)?;
                self.add(&sum.f_where_self(&count.f_ne(0)?, &sum.f_zeros_like()?)?, Count::OnDevice(count))
            }
        }
    }

    fn add_part(&mut self, part: usize, values: &Tensor) -> Result<()> {
        if values.device() != Device::Cpu {
            let pending = &mut self.pending[part];
            let values = values.detach();
            *pending = Some(pending.as_ref().map(|sum| sum.f_add(&values)).transpose()?.unwrap_or(values));
        } else if values.dim() == 0 {
            self.add_numbers(part, &[values.f_double_value(&[])?]);
        } else {
            self.add_numbers(part, &Vec::<f64>::try_from(values.f_to_kind(Kind::Double)?)?);
        }
        Ok(())
    }

    fn add_numbers(&mut self, part: usize, values: &[f64]) {
        self.parts.resize(self.parts.len().max(values.len()), [0.0; 2]);
        for (group, value) in self.parts.iter_mut().zip(values) {
            group[part] += value;
        }
    }

    /// Returns the sum and the weight of each group so far. Synchronizes with the device.
    pub fn parts(&mut self) -> &[[f64; 2]] {
        for (part, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let values = pending.map(|values| values.to_device(Device::Cpu).view([-1]));
            let numbers = values
                .iter()
                .flat_map(|values| (0..values.numel() as i64).map(|at| values.double_value(&[at])));
            self.add_numbers(part, &numbers.collect::<Vec<_>>());
        }
        &self.parts
    }

    /// Returns the mean, with equal weight of all groups; `None` if their weights are 0. Synchronizes with the device.
    pub fn mean(&mut self) -> Option<f64> {
        mean_of_groups(self.parts(), |mean| mean)
    }
}

/// The places of the sum and of the weight in the parts of a group.
const SUM: usize = 0;
const WEIGHT: usize = 1;

/// Returns the mean of the values of all groups whose weight is not 0; `None` if there is none. `finish` returns the value of a
/// group from its mean, as [`Metric::finish`](super::Metric::finish).
pub fn mean_of_groups(parts: &[[f64; 2]], finish: impl Fn(f64) -> f64) -> Option<f64> {
    let values = parts.iter().filter(|[_, weight]| *weight != 0.0).map(|[sum, weight]| finish(sum / weight));
    let (total, groups) = values.fold((0.0, 0u32), |(total, groups), value| (total + value, groups + 1));
    (groups > 0).then(|| total / f64::from(groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_from_parts_continues_mean() {
        let mut running = Running::default();
        running.add(&Tensor::from(3.0), 2).unwrap();
        let mut resumed = Running::from_parts(running.parts().to_vec());
        resumed.add(&Tensor::from(5.0), 2).unwrap();
        assert_eq!(resumed.mean(), Some(2.0));
    }
}
