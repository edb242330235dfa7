#!/usr/bin/env bash
# All tests, or the steps that are named; `bash scripts/test.sh --help` tells which there are. What each of them needs of this
# machine is looked for first.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/need.sh
need cargo-fmt "run: rustup component add rustfmt"
need cargo-clippy "run: rustup component add clippy"

need npm "the checks of infra/ run on Node.js 20 or newer; install it from https://nodejs.org"
need python3 "it runs the local AWS of the tests; on Debian: apt-get install python3 python3-venv"

bash scripts/browser.sh >/dev/null
exec python3 scripts/test.py "$@"
