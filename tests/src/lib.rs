//! Integration tests of Tenantry are in `tests/it`, benchmarks in `benches`.
