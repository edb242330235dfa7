//! Nothing but tests: see `tests/examples`.
