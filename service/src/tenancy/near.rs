//! The tenants that a thread has found last, where it finds them again without a word to others.
//!
//! The cache that all threads share takes a quarter of a microsecond for a hit. This takes a third
//! of that, and no two threads touch the same memory.

use std::{
    cell::RefCell,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    cache::{Asked, PLACES},
    shared::Known,
};

thread_local! {
    static NEAR: RefCell<Vec<Option<Entry>>> = RefCell::new((0..PLACES).map(|_| None).collect());
}

/// One for the keys of each place: the last that was found.
struct Entry {
    of: u64,
    key: Box<str>,
    asked: Asked,
    known: Known,
}

/// Which of a process's caches an entry belongs to.
pub(super) struct Near(u64);

impl Near {
    pub(super) fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// What was found for `key`, if that `holds` still.
    pub(super) fn get(
        &self,
        key: &str,
        place: usize,
        holds: impl FnOnce(&Asked) -> bool,
    ) -> Option<Known> {
        NEAR.with_borrow(|near| {
            let entry = near[place].as_ref()?;
            let same = entry.of == self.0 && *entry.key == *key;
            (same && holds(&entry.asked)).then(|| entry.known.clone())
        })
    }

    pub(super) fn put(&self, key: &str, asked: Asked, known: Known) {
        let entry = Entry { of: self.0, key: key.into(), asked, known };
        NEAR.with_borrow_mut(|near| near[asked.key] = Some(entry));
    }
}
