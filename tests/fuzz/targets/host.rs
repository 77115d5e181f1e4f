//! A `Host` header has one meaning, which reads back from its text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tenantry::{Host, Slug};

const BASE: &str = "example.com";

fuzz_target!(|header: &str| {
    let host = Host::parse(header, BASE);
    let lower = header.to_ascii_lowercase();
    match &host {
        Host::Base => assert!(lower.starts_with(BASE), "{header:?}"),
        Host::Slug(slug) => {
            assert!(lower.starts_with(&format!("{slug}.{BASE}")), "{header:?} is {slug}");
            assert!(!Slug::is_reserved(slug.as_str()), "{header:?}");
            assert_eq!(Host::parse(&format!("{slug}.{BASE}"), BASE), host);
        }
        Host::Custom(name) => {
            let name = name.as_str();
            assert!(lower.starts_with(name), "{header:?} is {name}");
            assert!(name != BASE && !name.ends_with(&format!(".{BASE}")), "{header:?} is {name}");
            assert_eq!(Host::parse(name, BASE), host);
        }
        Host::Reserved | Host::Unknown => {}
    }
});
