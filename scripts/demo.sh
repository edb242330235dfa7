#!/usr/bin/env bash
# Builds Proofyard and its Miden prover, and proves a small recorded chain. Arguments go to `proofyard demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh
cargo build --release --locked -p proofyard -p proofyard-miden
exec target/release/proofyard demo "$@"
