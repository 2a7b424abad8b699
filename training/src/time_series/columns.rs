//! Matches the columns of a series with those that a model was trained on.

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};

use crate::format::listed;

/// The columns that a model was trained on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The names, in the order of the model.
    pub names: Vec<String>,
    /// Whether the names come from the source of the series. They do not for a file without a header, whose columns get numbers
    /// as names. `None` if a checkpoint of an earlier version does not have this.
    pub named: Option<bool>,
}

impl Columns {
    /// Returns for each column of the model its index in `found`, the names of the columns of a series. `named` is whether these
    /// names come from the source of the series.
    ///
    /// Names are compared if both sides have them. Otherwise the columns are in the order of the model.
    ///
    /// # Errors
    /// Fails with both lists if `found` lacks a name, has it twice, or, without names, has another number of columns.
    pub fn find(&self, found: &[&str], named: bool) -> Result<Vec<usize>> {
        if found.iter().eq(&self.names) {
            return Ok((0..found.len()).collect());
        }
        let both = || format!("found {}, expected {}", listed(found), listed(&self.names));
        if !named || self.named == Some(false) {
            ensure!(
                found.len() == self.names.len(),
                "cannot match {} columns with the {} of the model by position: {}; try --value_columns",
                found.len(),
                self.names.len(),
                both()
            );
            return Ok((0..found.len()).collect());
        }
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (column, name) in found.iter().enumerate() {
            places.entry(name).or_default().push(column);
        }
        let each = self.names.iter().map(|name| match places.get(name.as_str()).map(Vec::as_slice) {
            Some([column]) => Ok(*column),
            Some([one, other, ..]) => bail!(
                "cannot match column {name} of the model: found columns {one} and {other} of this name, expected one; try \
                 --value_columns with the number of one of them"
            ),
            _ => bail!(
                "cannot match column {name} of the model: {}; try a file whose columns have the names of the model",
                both()
            ),
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str], named: Option<bool>) -> Columns {
        Columns { names: names.iter().map(ToString::to_string).collect(), named }
    }

    #[test]
    fn find_with_names_ignores_the_order_and_other_columns() {
        for named in [Some(true), None] {
            let model = columns(&["a", "b"], named);
            assert_eq!(model.find(&["a", "b"], true).unwrap(), [0, 1]);
            assert_eq!(model.find(&["b", "a"], true).unwrap(), [1, 0]);
            assert_eq!(model.find(&["c", "b", "d", "a"], true).unwrap(), [3, 1]);
            assert_eq!(model.find(&["0", "1"], false).unwrap(), [0, 1]);
        }
    }

    #[test]
    fn find_without_names_is_by_position() {
        let model = columns(&["1", "2"], Some(false));
        assert_eq!(model.find(&["y", "x"], true).unwrap(), [0, 1]);
        assert_eq!(model.find(&["2", "1"], false).unwrap(), [0, 1]);
    }

    #[test]
    fn find_of_other_columns_is_an_error_with_both_lists() {
        let cases: [(Columns, &[&str], bool, &[&str]); 6] = [
            (columns(&["a", "b"], Some(true)), &["a", "c"], true, &["column b", "found a, c, expected a, b"]),
            (columns(&["a", "b"], None), &["b"], true, &["column a", "found b, expected a, b"]),
            (
                columns(&["a"], Some(true)),
                &["0", "1"],
                false,
                &["2 columns with the 1", "found 0, 1, expected a"],
            ),
            (columns(&["sales"], Some(false)), &["a", "b"], true, &["found a, b, expected sales"]),
            (
                columns(&["a", "b"], Some(true)),
                &["b", "a", "a"],
                true,
                &["columns 1 and 2", "--value_columns"],
            ),
            (columns(&["a", "a"], Some(true)), &["b", "a", "a"], true, &["columns 1 and 2"]),
        ];
        for (model, found, named, parts) in cases {
            let error = model.find(found, named).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        assert_eq!(columns(&["a", "a"], Some(true)).find(&["a", "a"], true).unwrap(), [0, 1]);
    }
}
