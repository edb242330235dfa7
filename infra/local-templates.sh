#!/usr/bin/env bash
# Makes localstack/templates anew: what the CDK makes of the environment `local`, for the local AWS, which needs no Node.js.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/cdk"
bash ../install.sh > /dev/null
npm run --silent build
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
CDK_OUTDIR="$made" CDK_CONTEXT_JSON='{"environment": "local", "@aws-cdk/core:enablePartitionLiterals": true}' node build/src/app.js
for template in "$made"/*.template.json; do
    name=$(basename "$template" .template.json)
    cp "$template" "../../localstack/templates/$name.json"
    echo "localstack/templates/$name.json"
done
