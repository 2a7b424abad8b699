//! Splits of data sets, and conversion of strings to labels.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use crate::data::{BaseDataset, Dataset};
use crate::error::{Error, Result};
use crate::rng;

/// Splits a data set at random into `floor(fraction * n)` rows and the others; the same seed gives the same split.
///
/// The rows of both splits keep their order.
///
/// ```
/// use text_recognizer::data::{BaseDataset, Dataset, split_dataset};
/// use text_recognizer::tch::{Tensor, kind};
///
/// let dataset = BaseDataset::new(Tensor::rand([10, 4], kind::FLOAT_CPU), Tensor::arange(10, kind::INT64_CPU), vec![])?;
/// let (train, val) = split_dataset(&dataset, 0.8, 42)?;
/// assert_eq!((train.len(), val.len()), (8, 2));
/// # Ok::<(), text_recognizer::Error>(())
/// ```
///
/// # Errors
/// Fails if `fraction` is outside of `0..=1`.
pub fn split_dataset(dataset: &BaseDataset, fraction: f64, seed: u64) -> Result<(BaseDataset, BaseDataset)> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(Error::invalid("fraction", fraction, "0 to 1"));
    }
    let mut rows = rng::permutation(dataset.len(), seed, 0);
    let (first, second) = rows.split_at_mut((fraction * dataset.len() as f64) as usize);
    first.sort_unstable();
    second.sort_unstable();
    Ok((dataset.select(first)?, dataset.select(second)?))
}

/// Converts strings to rows of labels, `[strings, length]` of int64: `<S>`, the characters, `<E>`, then `<P>` to the end.
///
/// The label of a character is its position in `mapping`, which must also contain the three tokens.
///
/// ```
/// use text_recognizer::data::convert_strings_to_labels;
///
/// let mapping = ["<S>", "<E>", "<P>", "a", "b"].map(String::from);
/// let labels = convert_strings_to_labels(&["ab", "b"], &mapping, 5)?;
/// assert_eq!(Vec::<Vec<i64>>::try_from(labels)?, [[0, 3, 4, 1, 2], [0, 4, 1, 2, 2]]);
/// # Ok::<(), text_recognizer::Error>(())
/// ```
///
/// # Errors
/// Fails if a string is longer than `length - 2` characters, or contains a character that is not in `mapping`; the message has
/// the string and the character.
pub fn convert_strings_to_labels(
    strings: &[impl AsRef<str>],
    mapping: &[String],
    length: usize,
) -> Result<Tensor> {
    let labels: HashMap<&str, i64> = mapping.iter().map(String::as_str).zip(0..).collect();
    let token = |token: &str| {
        let label = labels.get(token).copied();
        label.ok_or_else(|| {
            Error::invalid("the mapping", "without ".to_owned() + token, "<S>, <E> and <P> among the classes")
        })
    };
    let (start, end, padding) = (token("<S>")?, token("<E>")?, token("<P>")?);
    let mut rows = vec![padding; strings.len() * length];
    for (index, string) in strings.iter().map(AsRef::as_ref).enumerate() {
        let characters = string.chars().count();
        if characters + 2 > length {
            return Err(Error::invalid(
                format!("string {index}, {string:?},"),
                format!("{characters} characters long"),
                format!("at most {} (the length {length} without <S> and <E>)", length.saturating_sub(2)),
            ));
        }
        let row = &mut rows[index * length..];
        row[0] = start;
        for (at, character) in string.chars().enumerate() {
            row[at + 1] = *labels.get(character.encode_utf8(&mut [0; 4]) as &str).ok_or_else(|| {
                Error::invalid(
                    format!("character {at} of string {index}, {string:?},"),
                    format!("{character:?}"),
                    "a character of the mapping",
                )
            })?;
        }
        row[characters + 1] = end;
    }
    let shape = [strings.len() as i64, length as i64];
    match rows.is_empty() {
        true => Ok(Tensor::f_zeros(shape, (Kind::Int64, Device::Cpu))?),
        false => Ok(Tensor::from_slice(&rows).f_view(shape)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: i64) -> BaseDataset {
        let data = Tensor::arange(n, tch::kind::FLOAT_CPU).view([n, 1]);
        BaseDataset::new(data, Tensor::arange(n, tch::kind::INT64_CPU), vec![]).unwrap()
    }

    fn targets(dataset: &BaseDataset) -> Vec<i64> {
        Vec::try_from(dataset.targets()).unwrap()
    }

    #[test]
    fn split_dataset_keeps_each_row_once_and_is_repeatable() {
        let (first, second) = split_dataset(&numbers(10), 0.79, 3).unwrap();
        assert_eq!((first.len(), second.len()), (7, 3));
        let mut all = [targets(&first), targets(&second)].concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_eq!(targets(&first), targets(&split_dataset(&numbers(10), 0.79, 3).unwrap().0));
        let chosen = |seed| targets(&split_dataset(&numbers(1000), 0.5, seed).unwrap().0);
        assert_ne!(chosen(3), chosen(4));
        assert!(chosen(3).is_sorted());
        assert_ne!(chosen(3), (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn split_dataset_fraction_at_bounds_gives_empty_split_and_outside_fails() {
        let (none, all) = split_dataset(&numbers(3), 0.0, 1).unwrap();
        assert_eq!((none.len(), all.len()), (0, 3));
        assert_eq!(split_dataset(&numbers(3), 1.0, 1).unwrap().0.len(), 3);
        for fraction in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(split_dataset(&numbers(3), fraction, 1).unwrap_err().to_string().contains("fraction is"));
        }
    }

    fn mapping() -> Vec<String> {
        ["<B>", "<S>", "<E>", "<P>", "a", "b", "é"].map(String::from).to_vec()
    }

    #[test]
    fn convert_strings_to_labels_adds_tokens_and_padding() {
        let labels = convert_strings_to_labels(&["ab", "", "éab"], &mapping(), 5).unwrap();
        assert_eq!((labels.size(), labels.kind()), (vec![3, 5], Kind::Int64));
        let rows = Vec::<Vec<i64>>::try_from(labels).unwrap();
        assert_eq!(rows, [[1, 4, 5, 2, 3], [1, 2, 3, 3, 3], [1, 6, 4, 5, 2]]);
        assert_eq!(convert_strings_to_labels(&[""; 0], &mapping(), 5).unwrap().size(), [0, 5]);
    }

    #[test]
    fn convert_strings_to_labels_string_that_does_not_fit_fails_with_its_name() {
        let error = |strings: &[&str], mapping: &[String], length| {
            convert_strings_to_labels(strings, mapping, length).unwrap_err().to_string()
        };
        let long = error(&["ab", "aba"], &mapping(), 4);
        assert!(long.contains("string 1, \"aba\", is 3 characters long: expected at most 2"), "{long}");
        let unknown = error(&["ab", "béx"], &mapping(), 9);
        assert!(unknown.contains("character 2 of string 1, \"béx\", is 'x'"), "{unknown}");
        assert!(error(&[""], &mapping(), 0).contains("at most 0"));
        assert!(error(&["a"], &mapping()[..3], 9).contains("without <P>"));
    }
}
