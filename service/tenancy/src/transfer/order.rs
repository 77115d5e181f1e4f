//! The order of tables by their foreign keys.

use std::collections::{BTreeMap, BTreeSet};

/// Tables in an order in which each follows those that it refers to, and the cycles that prevent
/// it for some of them. A reference of a table to itself does not count as a cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) tables: Vec<String>,
    /// Each table refers to the next one, and the last one to the first.
    pub(super) cycles: Vec<Vec<String>>,
}

impl Order {
    /// `references` are pairs of a table and one that it refers to. Tables that do not depend on
    /// each other are in the order of their names.
    pub(super) fn of(tables: &[String], references: &[(String, String)]) -> Self {
        let known: BTreeSet<&str> = tables.iter().map(String::as_str).collect();
        let mut waits: BTreeMap<&str, BTreeSet<&str>> =
            known.iter().map(|table| (*table, BTreeSet::new())).collect();
        let mut followers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (table, referenced) in references {
            if table != referenced
                && known.contains(referenced.as_str())
                && waits.get_mut(table.as_str()).is_some_and(|it| it.insert(referenced))
            {
                followers.entry(referenced).or_default().push(table);
            }
        }
        let mut ready: BTreeSet<&str> =
            waits.iter().filter(|(_, on)| on.is_empty()).map(|(table, _)| *table).collect();
        let mut order = Self::default();
        while !waits.is_empty() {
            let next = ready.pop_first().or_else(|| order.break_cycle(&waits));
            let Some(table) = next else { break };
            waits.remove(table);
            order.tables.push(table.to_owned());
            for follower in followers.get(table).into_iter().flatten() {
                if let Some(on) = waits.get_mut(follower) {
                    on.remove(table);
                    if on.is_empty() {
                        ready.insert(follower);
                    }
                }
            }
        }
        order
    }

    /// Every table waits for another one: finds a cycle and returns its last table in the order of
    /// references, which may come first.
    fn break_cycle<'a>(&mut self, waits: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<&'a str> {
        let mut path: Vec<&str> = vec![*waits.keys().next()?];
        loop {
            let next = *waits.get(path.last()?)?.first()?;
            let Some(start) = path.iter().position(|table| *table == next) else {
                path.push(next);
                continue;
            };
            let cycle = path.split_off(start);
            self.cycles.push(cycle.iter().map(|table| (*table).to_owned()).collect());
            return cycle.last().copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(tables: &str, references: &[(&str, &str)]) -> Order {
        let tables: Vec<String> = tables.split(' ').map(str::to_owned).collect();
        let references: Vec<_> =
            references.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Order::of(&tables, &references)
    }

    #[test]
    fn referenced_tables_come_first() {
        let found = order("a b c d", &[("a", "c"), ("c", "d"), ("a", "a"), ("b", "other")]);
        assert_eq!(found.tables, ["b", "d", "c", "a"]);
        assert_eq!(found.cycles, Vec::<Vec<String>>::new());
    }

    #[test]
    fn cycles_are_named() {
        let found = order("a b c d", &[("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]);
        assert_eq!(found.cycles, [["b", "c"]]);
        assert_eq!(found.tables, ["c", "b", "a", "d"]);
    }

    proptest! {
        #[test]
        fn every_table_is_there_once(
            references in prop::collection::vec((0_usize..9, 0_usize..9), 0..30),
        ) {
            let tables: Vec<String> = (0..9).map(|number| format!("t{number}")).collect();
            let pairs: Vec<_> = references
                .iter()
                .map(|(a, b)| (tables[*a].clone(), tables[*b].clone()))
                .collect();
            let found = Order::of(&tables, &pairs);
            let mut sorted = found.tables.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&sorted, &tables);
            let place = |name: &String| found.tables.iter().position(|it| it == name);
            let late = pairs.iter().filter(|(a, b)| a != b && place(a) < place(b)).count();
            prop_assert_eq!(late == 0, found.cycles.is_empty());
        }
    }
}
