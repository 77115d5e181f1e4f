//! The manifest of an exported tenant.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| tenantry::fuzz_manifest(text));
