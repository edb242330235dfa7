#!/usr/bin/env bash
# Checks the Terraform module without AWS and without a network, and plans each environment: check.sh FOLDER writes
# FOLDER/ENVIRONMENT.plan.json. It writes nowhere else, so that all else runs on a copy, there.
set -euo pipefail

if ! command -v terraform > /dev/null; then
    echo "SKIPPED: terraform is not installed, so the Terraform module is not checked"
    exit 0
fi
if [ $# -ne 1 ]; then
    echo "usage: check.sh FOLDER" >&2
    exit 2
fi
infra="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
mkdir -p "$1"
out="$(cd "$1" && pwd)"
copy="$out/copy"
log="$out/log.txt"
account=123456789012
: > "$log"

source "$infra/terraform/offline.sh"

# Runs a step, says how long it took, and shows what it printed only if it failed.
step() {
    local name="$1" start=${EPOCHREALTIME/./} ms
    shift
    if ! "$@" > "$out/step.txt" 2>&1; then
        cat "$out/step.txt"
        echo "FAILED: $name" >&2
        exit 1
    fi
    cat "$out/step.txt" >> "$log"
    ms=$(((${EPOCHREALTIME/./} - start) / 1000))
    printf '%-32s %3d.%03d s\n' "$name" $((ms / 1000)) $((ms % 1000))
}

module() { TF_DATA_DIR="$out/data/module" terraform -chdir="$copy/terraform" "$@" -no-color; }
example() { TF_DATA_DIR="$out/data/example" terraform -chdir="$copy/terraform/example" "$@" -no-color; }

plan() {
    example plan -input=false -out="$out/$2.plan" \
        -var environment="$1" -var account="$account" -var offline=true -var functions=../tests/functions &&
        example show -json "$out/$2.plan" > "$out/$2.plan.json"
}

# What is refused, end to end: no plan, and the place.
refuses() {
    sed -i 's/"visibility_s": [0-9]*/"visibility_s": 1/' "$copy/spec/yard.json"
    ! plan "$1" refused && grep --quiet '/queue_defaults/visibility_s is 1;' "$out/step.txt"
}

rm -rf "$copy" "$out"/*.plan "$out"/*.plan.json
mkdir "$copy"
cp -R "$infra/spec" "$infra/terraform" "$copy"

# The environments that are kept here page nobody yet, and production must.
python3 - "$copy/spec/environments.json" << 'END'
import json, pathlib, sys

file = pathlib.Path(sys.argv[1])
environments = json.loads(file.read_text())
for environment in environments.values():
    if environment.get("production"):
        environment["page_emails"] = environment["page_emails"] or ["on-call@example.com"]
file.write_text(json.dumps(environments))
END

step fmt terraform fmt -check -recursive -diff "$infra/terraform"
step "init, module" module "${init[@]}"
step "init, example" example "${init[@]}"
step "validate, module" module validate
step "validate, example" example validate
step "test, module" module test
step "test, example" example test
for environment in $(python3 -c 'import json, sys; print(*json.load(open(sys.argv[1])))' "$infra/spec/environments.json"); do
    step "plan, $environment" plan "$environment" "$environment"
    grep '^Plan:' "$out/step.txt"
done
step "refuses a broken spec" refuses "$environment"
