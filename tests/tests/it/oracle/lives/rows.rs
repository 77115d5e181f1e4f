//! The rows of one client, as far as they are known.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// The name of a row, or none if it does not exist.
pub type Value = Option<String>;

#[derive(Debug, Default)]
pub struct Rows {
    /// What each row may be: one value, or several after a request whose outcome is unknown.
    by_id: BTreeMap<Uuid, BTreeSet<Value>>,
    /// Names of rows that may have been created, with an id that is unknown.
    maybe: BTreeSet<String>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn id(&self, index: usize) -> Option<Uuid> {
        self.by_id.keys().nth(index).copied()
    }

    /// A request has set the row.
    pub fn set(&mut self, id: Uuid, value: Value) {
        self.by_id.insert(id, BTreeSet::from([value]));
    }

    /// A request may have set the row.
    pub fn may_be(&mut self, id: Uuid, value: Value) {
        self.by_id.entry(id).or_default().insert(value);
    }

    /// A row may have been created.
    pub fn may_exist(&mut self, name: String) {
        self.maybe.insert(name);
    }

    /// A read has found this value, which is then known. Returns whether it is possible.
    pub fn found(&mut self, id: Uuid, value: Value) -> bool {
        let possible = match (self.by_id.get(&id), &value) {
            (Some(values), _) => values.contains(&value),
            (None, Some(name)) => self.maybe.remove(name),
            (None, None) => true,
        };
        if possible {
            self.set(id, value);
        }
        possible
    }

    /// A list has found these rows. Returns the differences.
    pub fn found_all(&mut self, found: &BTreeMap<Uuid, String>) -> Vec<String> {
        let mut faults = Vec::new();
        for (id, name) in found {
            if !self.found(*id, Some(name.clone())) {
                faults.push(format!("{name:?} ({id}), should be {:?}", self.by_id.get(id)));
            }
        }
        let absent: Vec<Uuid> =
            self.by_id.keys().filter(|id| !found.contains_key(*id)).copied().collect();
        for id in absent {
            if !self.found(id, None) {
                faults.push(format!("no {id}, should be {:?}", self.by_id.get(&id)));
            }
        }
        // A request whose outcome is unknown may still arrive, but only until its server ends it.
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[(Uuid, &str)]) -> BTreeMap<Uuid, String> {
        rows.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
    }

    #[test]
    fn a_lost_row_a_foreign_value_and_a_deleted_row_are_differences() {
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let mut rows = Rows::default();
        rows.set(one, Some("a".to_owned()));
        rows.set(two, None);
        assert!(rows.found_all(&list(&[(one, "a")])).is_empty());
        assert_eq!(rows.found_all(&list(&[])).len(), 1);
        assert_eq!(rows.found_all(&list(&[(one, "b")])).len(), 1);
        assert_eq!(rows.found_all(&list(&[(one, "a"), (two, "a")])).len(), 1);
    }

    #[test]
    fn an_unknown_outcome_is_either_until_it_is_read() {
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let mut rows = Rows::default();
        rows.set(one, Some("a".to_owned()));
        rows.may_be(one, Some("b".to_owned()));
        rows.may_exist("c".to_owned());
        assert!(rows.found_all(&list(&[(one, "b"), (two, "c")])).is_empty());
        assert!(!rows.found(one, Some("a".to_owned())));
        assert_eq!(rows.found_all(&list(&[(one, "b")])).len(), 1);
    }
}
