#!/usr/bin/env bash
# Installs what the CDK and the checks of infra/ need, each in its own folder, where it is not there yet. Prints the place
# of the checks' Python environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! command -v node >/dev/null || [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -lt 20 ]; then
    echo "proofyard: the CDK runs on Node.js 20 or newer; install it from https://nodejs.org" >&2
    exit 2
fi
if ! cmp -s cdk/package-lock.json cdk/node_modules/.installed; then
    (cd cdk && npm ci --no-audit --no-fund >&2)
    cp cdk/package-lock.json cdk/node_modules/.installed
fi

mkdir -p ../target
venv=$(cd ../target && pwd)/infra-venv
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || { echo "proofyard: python3 cannot make an environment: apt-get install python3-venv" >&2; exit 2; }
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt >&2
    cp requirements.txt "$venv/requirements.txt"
fi
echo "$venv"
