//! The query of a list is refused, or reads back as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenantry::page::PageRequest;

fuzz_target!(|query: &str| {
    let Ok(page) = serde_urlencoded::from_str::<PageRequest>(query) else { return };
    let after = page.after.map(|after| format!("after={after}&")).unwrap_or_default();
    let written = format!("{after}limit={}", page.limit);
    assert_eq!(serde_urlencoded::from_str::<PageRequest>(&written).ok(), Some(page));
});
