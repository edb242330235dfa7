#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER where all is built from nothing and linted: Clippy's driver is rustc, and lints besides, so that nothing
# is read a second time. (Other shells would drop the variables of Cargo's whose names have hyphens.) What others wrote is compiled as ever. Cargo knows no difference: what is built so is built for all.
if [ -n "${CARGO_PRIMARY_PACKAGE:-}" ]; then
    exec clippy-driver "$@" -D warnings
fi
exec "$@"
