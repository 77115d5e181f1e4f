//! The text of an API key.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tenantry::fuzz_key(text));
