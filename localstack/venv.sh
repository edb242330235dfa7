#!/usr/bin/env bash
# Makes the Python environment of the local AWS where there is none, or where what it needs has changed; prints its place.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv="$here/../target/local-aws"
wanted="$here/requirements.txt"
if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    command -v python3 >/dev/null || { echo "python3 is needed for the local AWS: apt-get install python3 python3-venv" >&2; exit 2; }
    mkdir -p "$here/../target"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || { echo "python3 cannot make an environment: apt-get install python3-venv" >&2; exit 2; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$venv/requirements.txt"
fi
cd "$venv" && pwd
