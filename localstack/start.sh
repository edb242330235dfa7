#!/usr/bin/env bash
# Starts a local AWS on loopback with everything a yard needs, and stops it when this ends. See README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../scripts/python-cache.sh"
venv=$("$here/venv.sh")
exec env PYTHONPATH="$here" "$venv/bin/python" -m local_aws "$@"
