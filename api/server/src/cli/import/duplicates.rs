use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, Hash, RandomState},
};

use tenantry::{Hostname, Slug};

/// Which slugs and host names the file has had, and where.
///
/// Kept as hashes of 128 bits, so that a million lines take some hundred megabytes whatever their
/// names. That two of so many have the same hash will not be seen in anybody's lifetime.
#[derive(Default)]
pub(super) struct Duplicates {
    keys: [RandomState; 2],
    lines: HashMap<u128, u64>,
}

impl Duplicates {
    /// The line that had this slug first, if it was not this one.
    pub(super) fn slug(&mut self, slug: &Slug, line: u64) -> Option<u64> {
        self.note(("slug", slug.as_str()), line)
    }

    /// The line that had this host name first, if it was not this one.
    pub(super) fn hostname(&mut self, hostname: &Hostname, line: u64) -> Option<u64> {
        self.note(("host name", hostname.as_str()), line)
    }

    fn note(&mut self, what: impl Hash, line: u64) -> Option<u64> {
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(&what)));
        match self.lines.entry(high << 64 | low) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(place) => {
                place.insert(line);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Duplicates;

    #[test]
    fn the_first_line_keeps_what_it_has() {
        let mut duplicates = Duplicates::default();
        let (slug, host) = ("acme".parse().unwrap(), "acme.example.org".parse().unwrap());
        assert_eq!(duplicates.slug(&slug, 2), None);
        assert_eq!(duplicates.hostname(&host, 3), None);
        assert_eq!((duplicates.slug(&slug, 4), duplicates.slug(&slug, 5)), (Some(2), Some(2)));
        assert_eq!(duplicates.hostname(&host, 6), Some(3));
        assert_eq!(duplicates.slug(&"acme-2".parse().unwrap(), 7), None);
    }
}
