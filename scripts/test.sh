#!/usr/bin/env bash
# All tests: style, lints, what deploys a yard, every crate, pages in a browser, the simulation, whole-system faults, and the demo itself.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh
need cargo-fmt "run: rustup component add rustfmt"
need cargo-clippy "run: rustup component add clippy"

step() {
    echo "== $* (at ${SECONDS} s)"
}

need npm "the checks of infra/ run on Node.js 20 or newer; install it from https://nodejs.org"
need python3 "it runs the local AWS of the tests; on Debian: apt-get install python3 python3-venv"

bash scripts/browser.sh >/dev/null

step "format"
cargo fmt --all --check
step "build"
cargo build --release --locked --workspace --exclude proofyard-simulation --bins
step "lints"
cargo clippy --release --locked --workspace --all-targets -- -D warnings
step "infrastructure"
bash infra/test.sh
step "local AWS"
bash localstack/test.sh
step "tests"
cargo test --release --locked --workspace --exclude proofyard-simulation --no-fail-fast
step "simulation"
cargo test --release --locked -p proofyard-simulation -- --nocapture
step "demo"
demo=$(mktemp -d)
trap 'rm -rf "$demo"' EXIT
# What scripts/demo.sh runs, as built above: that script's own build has fewer programs, so other features of what they
# share, and would build all of that again.
target/release/proofyard demo --data "$demo/yard"
step "done"
