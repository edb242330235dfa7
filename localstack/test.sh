#!/usr/bin/env bash
# Tests the stand-in for AWS Batch, and that what was started is gone when it should be.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=$("$here/venv.sh")
cd "$here" && exec env PYTHONPATH="$here" "$venv/bin/python" -m unittest discover --start-directory tests "$@"
