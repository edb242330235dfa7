#!/usr/bin/env bash
# Makes the Python environment of the local AWS where there is none, or where what it needs has changed; prints its place.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
wanted="$here/requirements.txt"
mkdir -p "$here/../target"
target=$(cd "$here/../target" && pwd)
venv="$target/localstack-venv"

if ! command -v python3 >/dev/null || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "the local AWS needs Python 3.11 or newer: apt-get install python3 python3-venv" >&2
    exit 2
fi

# Several may start at once; one makes it, the others wait.
exec 9>"$venv.lock"
flock 9
if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    echo "making $venv" >&2
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || { echo "python3 cannot make an environment: apt-get install python3-venv" >&2; exit 2; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" >&2
    cp "$wanted" "$venv/requirements.txt"
fi
echo "$venv"
