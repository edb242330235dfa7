#!/usr/bin/env bash
# Installs what the CDK and the checks of infra/ need, each in its own folder, where it is not there yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! command -v node >/dev/null || [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -lt 20 ]; then
    echo "proofyard: the CDK runs on Node.js 20 or newer; install it from https://nodejs.org" >&2
    exit 2
fi
if ! cmp -s cdk/package-lock.json cdk/node_modules/.installed; then
    (cd cdk && npm ci --no-audit --no-fund)
    cp cdk/package-lock.json cdk/node_modules/.installed
fi
