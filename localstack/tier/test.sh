#!/usr/bin/env bash
# Tests what makes functions of LocalStack processes of this machine; `bash scripts/test.sh tier` runs this, and a whole yard on
# LocalStack. Without a Python 3.13 it is skipped, which is said; not so where CI=true.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../../scripts/python-cache.sh"
venv=$("$here/../venv.sh" tier) || {
    code=$?
    [ "$code" = 3 ] || exit "$code"
    echo "SKIPPED: tests on LocalStack, for the reason above" >&2
    exit 0
}
cd "$here" && exec env PYTHONPATH="$here" "$venv/bin/python" -m unittest discover --start-directory tests "$@"
