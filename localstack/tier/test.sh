#!/usr/bin/env bash
# Tests on LocalStack itself, without Docker: its functions as processes, then a whole yard. Without a Python 3.13 they are
# skipped, which is said; not so where CI=true.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$("$here/../venv.sh" tier) || {
    code=$?
    [ "$code" = 3 ] || exit "$code"
    echo "SKIPPED: tests on LocalStack, for the reason above" >&2
    exit 0
}
PYTHONPATH="$here" "$venv/bin/python" -m unittest discover --start-directory "$here/tests"
cd "$here/../.." && exec cargo test --release --locked --workspace --exclude proofyard-simulation --test localstack
