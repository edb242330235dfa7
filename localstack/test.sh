#!/usr/bin/env bash
# Tests the local AWS: the stand-in for AWS Batch, what is made from the spec, and that nothing survives its end.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../scripts/python-cache.sh"
venv=$("$here/venv.sh")
cd "$here" && exec env PYTHONPATH="$here:$here/tests" "$venv/bin/python" -m unittest discover --start-directory tests "$@"
