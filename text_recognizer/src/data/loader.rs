//! Batches of a data set, in an order that is a pure function of (seed, epoch).
//!
//! The data sets are in memory on the training device. To gather a batch there takes some tens of microseconds, less than to
//! get it from another thread, so there are no workers and there is no prefetching.

use std::ops::Range;
use std::rc::Rc;

use tch::{Device, Tensor};

use crate::data::sampler::Shard;
use crate::data::{Batch, Dataset, Shuffle};
use crate::error::{Error, Result};

/// A loader, which serves a data set in batches.
#[derive(Debug)]
pub struct DataLoader {
    dataset: Rc<dyn Dataset>,
    batch_size: usize,
    shuffle: Shuffle,
    limit: usize,
    shard: Shard,
}

impl DataLoader {
    /// Creates a loader of `dataset` in batches of `batch_size` rows; the last batch of an epoch may be smaller.
    ///
    /// # Errors
    /// Fails if the data set is empty, or if `batch_size` or the size of a shuffle buffer is 0.
    pub fn new(dataset: Box<dyn Dataset>, batch_size: usize, shuffle: Shuffle) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::invalid("batch_size", 0, "at least 1"));
        }
        if let Shuffle::Buffer { size: 0, .. } = shuffle {
            return Err(Error::invalid("shuffle_buffer", 0, "at least 1"));
        }
        if dataset.is_empty() {
            return Err(Error::invalid("the data set", "empty", "at least one row"));
        }
        Ok(Self { dataset: dataset.into(), batch_size, shuffle, limit: usize::MAX, shard: Shard::WHOLE })
    }

    /// Limits an epoch to `batches` batches.
    pub fn limit(mut self, batches: usize) -> Self {
        self.limit = batches;
        self
    }

    /// Limits each batch to the rows of rank `rank` of `world_size` processes.
    ///
    /// The batches of all ranks with the same index together are the batch of that index of a loader without a shard, so
    /// `batch_size` counts the rows of all ranks, and every rank has the same number of batches. Sizes differ by at most one
    /// row; a last batch of fewer rows than ranks is empty for some ranks.
    ///
    /// # Errors
    /// Fails if `rank` is not less than `world_size`.
    pub fn shard(mut self, rank: usize, world_size: usize) -> Result<Self> {
        self.shard = Shard::new(rank, world_size)?;
        Ok(self)
    }

    /// Returns a second loader of the same data set, which is not copied.
    pub fn share(&self) -> Self {
        Self { dataset: Rc::clone(&self.dataset), ..*self }
    }

    /// Returns the number of batches per epoch.
    pub fn len(&self) -> usize {
        self.dataset.len().div_ceil(self.batch_size).min(self.limit)
    }

    /// Returns whether an epoch has no batch, which happens only with a limit of zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of rows that an epoch serves, to this rank if the loader has a shard.
    pub fn rows(&self) -> usize {
        (0..self.len()).map(|batch| self.range(batch).len()).sum()
    }

    /// Returns the positions in the epoch's order of the rows of batch `batch`.
    fn range(&self, batch: usize) -> Range<usize> {
        let start = batch * self.batch_size;
        self.shard.of(start..(start + self.batch_size).min(self.dataset.len()))
    }

    /// Returns the number of rows in a batch, of all ranks together.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Returns the data set.
    pub fn dataset(&self) -> &dyn Dataset {
        &*self.dataset
    }

    /// Returns the device of the batches.
    pub fn device(&self) -> Device {
        self.dataset.device()
    }

    /// Returns the batches of epoch `epoch`, from batch `first` on (`first > 0` continues an interrupted epoch).
    pub fn epoch(&self, epoch: u64, first: usize) -> EpochBatches<'_> {
        let order = (self.shuffle != Shuffle::No)
            .then(|| Tensor::from_slice(&self.shuffle.order(self.dataset.len(), epoch)));
        // One copy to the device per epoch, not one per batch; none for a data set on the CPU.
        let indices = order.as_ref().map(|order| order.to_device(self.device()));
        EpochBatches { loader: self, order, indices, next: first }
    }
}

/// The batches of one epoch.
#[derive(Debug)]
pub struct EpochBatches<'a> {
    loader: &'a DataLoader,
    /// The positions of the rows; `None` if they are served in the data set's own order.
    order: Option<Tensor>,
    /// `order` on the device.
    indices: Option<Tensor>,
    next: usize,
}

impl Iterator for EpochBatches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.loader.len() {
            return None;
        }
        let range = self.loader.range(self.next);
        self.next += 1;
        let (start, length) = (range.start as i64, range.len() as i64);
        let xy = match &self.indices {
            Some(indices) => self.loader.dataset.gather(&indices.narrow(0, start, length)),
            None => self.loader.dataset.slice(start, length),
        };
        let batch = || {
            let (x, y) = xy?;
            let positions = match &self.order {
                Some(order) => Vec::try_from(order.f_narrow(0, start, length)?)?,
                None => (start..start + length).collect(),
            };
            Ok(Batch { x, y, rows: self.loader.dataset.ids(&positions)? })
        };
        Some(batch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BaseDataset;

    fn loader(n: i64, batch_size: usize, shuffle: Shuffle) -> DataLoader {
        let data = Tensor::arange(n, tch::kind::FLOAT_CPU).view([n, 1]);
        let targets = Tensor::arange(n, tch::kind::INT64_CPU);
        let dataset = BaseDataset::new(data, targets, vec![]).unwrap();
        DataLoader::new(Box::new(dataset), batch_size, shuffle).unwrap()
    }

    fn rows(loader: &DataLoader, epoch: u64, first: usize) -> Vec<Vec<i64>> {
        loader.epoch(epoch, first).map(|b| Vec::<i64>::try_from(b.unwrap().y).unwrap()).collect()
    }

    #[test]
    fn epoch_partial_last_batch_is_kept() {
        assert_eq!(rows(&loader(5, 2, Shuffle::No), 0, 0), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn epoch_without_reshuffle_repeats_first_order() {
        let loader = loader(103, 8, Shuffle::Buffer { seed: 1, size: 50, reshuffle: false });
        let first = rows(&loader, 0, 0);
        assert_ne!(first.concat(), (0..103).collect::<Vec<_>>());
        assert_eq!(first, rows(&loader, 7, 0));
    }

    #[test]
    fn epoch_each_shuffle_serves_rows_once_and_is_repeatable() {
        for shuffle in [
            Shuffle::Full { seed: 7 },
            Shuffle::Buffer { seed: 7, size: 10, reshuffle: true },
            Shuffle::Buffer { seed: 7, size: 1000, reshuffle: true },
        ] {
            let loader = loader(103, 8, shuffle);
            let order = rows(&loader, 0, 0).concat();
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..103).collect::<Vec<_>>(), "{shuffle:?}");
            assert_eq!(order, rows(&loader, 0, 0).concat(), "{shuffle:?}");
            assert_ne!(order, rows(&loader, 1, 0).concat(), "{shuffle:?}");
        }
    }

    #[test]
    fn epoch_buffer_moves_rows_forward_by_less_than_its_size() {
        let order =
            rows(&loader(100, 100, Shuffle::Buffer { seed: 1, size: 10, reshuffle: true }), 0, 0).concat();
        assert!(order.iter().enumerate().all(|(at, &row)| row < at as i64 + 10));
        assert_eq!(
            rows(&loader(9, 9, Shuffle::Buffer { seed: 1, size: 1, reshuffle: true }), 0, 0).concat(),
            (0..9).collect::<Vec<_>>()
        );
    }

    #[test]
    fn epoch_from_later_batch_serves_same_batches() {
        let loader = loader(20, 3, Shuffle::Full { seed: 3 });
        assert_eq!(rows(&loader, 4, 2), rows(&loader, 4, 0)[2..]);
    }

    #[test]
    fn shard_batches_of_all_ranks_are_global_batches() {
        for shuffle in [Shuffle::No, Shuffle::Full { seed: 3 }] {
            // The last batch has 2 rows.
            let global = loader(20, 6, shuffle);
            for world_size in [1, 2, 3, 4] {
                let shards: Vec<_> =
                    (0..world_size).map(|rank| global.share().shard(rank, world_size).unwrap()).collect();
                let batches: Vec<_> = shards.iter().map(|shard| rows(shard, 1, 0)).collect();
                for (at, expected) in rows(&global, 1, 0).iter().enumerate() {
                    let union = batches.iter().flat_map(|batches| batches[at].clone());
                    assert!(union.eq(expected.iter().copied()), "{shuffle:?}, {world_size}: batch {at}");
                }
                assert!(batches.iter().all(|batches| batches.len() == global.len()));
                assert_eq!(shards.iter().map(DataLoader::rows).sum::<usize>(), 20);
                assert!(shards.iter().zip(&batches).all(|(s, b)| s.rows() == b.concat().len()));
            }
        }
        let last = loader(20, 6, Shuffle::No).shard(3, 4).unwrap().epoch(0, 3).next().unwrap().unwrap();
        assert!(last.is_empty() && last.x.size() == [0, 1]);
        assert!(loader(20, 6, Shuffle::No).shard(4, 4).is_err());
    }

    #[test]
    fn new_impossible_sizes_fail_and_limit_counts() {
        let limited = loader(20, 3, Shuffle::No).limit(2);
        assert_eq!((limited.len(), limited.rows()), (2, 6));
        let dataset = || {
            Box::new(
                BaseDataset::new(
                    Tensor::zeros([0, 1], tch::kind::FLOAT_CPU),
                    Tensor::zeros([0], tch::kind::INT64_CPU),
                    vec![],
                )
                .unwrap(),
            )
        };
        assert!(DataLoader::new(dataset(), 1, Shuffle::No).unwrap_err().to_string().contains("empty"));
        assert!(DataLoader::new(dataset(), 0, Shuffle::No).unwrap_err().to_string().contains("batch_size"));
    }
}
