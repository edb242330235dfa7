#!/usr/bin/env bash
# Applies what both front ends make to moto's server, which has AWS Batch: moto.sh FOLDER, which holds the templates of each
# environment, in FOLDER/ENVIRONMENT. It writes to FOLDER/moto and target/moto-venv. moto runs no function and no job.
set -euo pipefail
if [ $# -ne 1 ]; then
    echo "usage: moto.sh FOLDER" >&2
    exit 2
fi
infra="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
folder="$(cd "$1" && pwd)"
out="$folder/moto"
copy="$out/copy"
venv="$infra/../target/moto-venv"
account=123456789012

if ! cmp -s "$infra/checks/moto-requirements.txt" "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$infra/checks/moto-requirements.txt"
    cp "$infra/checks/moto-requirements.txt" "$venv/requirements.txt"
fi

rm -rf "$out"
mkdir "$out"
: > "$out/server.txt"
"$venv/bin/moto_server" --host 127.0.0.1 --port 0 > "$out/server.txt" 2>&1 &
server=$!
stop() {
    kill "$server" 2> "$out/kill.txt" || true
    wait "$server" 2> "$out/kill.txt" || true
}
trap stop EXIT
endpoint=
for _ in {1..300}; do
    endpoint=$(sed -n 's|.*Running on \(http://127.0.0.1:[0-9]*\).*|\1|p' "$out/server.txt")
    if [ -n "$endpoint" ] || ! kill -0 "$server"; then
        break
    fi
    sleep 0.1
done
if [ -z "$endpoint" ]; then
    cat "$out/server.txt"
    echo "FAILED: moto's server does not start" >&2
    exit 1
fi

for environment in dev prod; do
    "$venv/bin/python" "$infra/checks/moto_deploy.py" "$endpoint" "$folder/$environment"
done

if ! command -v terraform > /dev/null; then
    echo "SKIPPED: terraform is not installed, so the Terraform module is not applied to moto"
    exit 0
fi
source "$infra/terraform/offline.sh"
# Nobody's, should something reach AWS after all.
export AWS_ACCESS_KEY_ID=moto AWS_SECRET_ACCESS_KEY=moto AWS_EC2_METADATA_DISABLED=true
unset AWS_SESSION_TOKEN AWS_PROFILE

example() { timeout 300 terraform -chdir="$copy/terraform/example" "$@" -no-color; }
yard=(-input=false -var environment=dev -var "account=$account" -var functions=../tests/functions)

# Runs a step into OUT/step.txt; what it exits with must be among the first argument.
step() {
    local may="$1" name="$2" start=${EPOCHREALTIME/./} code=0 ms
    shift 2
    "$@" > "$out/step.txt" 2>&1 || code=$?
    if [[ " $may " != *" $code "* ]]; then
        cat "$out/step.txt"
        echo "FAILED: $name" >&2
        exit 1
    fi
    ms=$(((${EPOCHREALTIME/./} - start) / 1000))
    printf 'Terraform, dev, %s: %d.%d s\n' "$name" $((ms / 1000)) $((ms % 1000 / 100))
}

mkdir "$copy"
cp -R "$infra/spec" "$infra/terraform" "$copy"
bash "$copy/terraform/zip.sh" "$copy/terraform/tests/functions" > "$out/zip.txt"
cat > "$copy/terraform/example/moto_override.tf" << HCL
provider "aws" {
  s3_use_path_style = true
  max_retries       = 1

  endpoints {
$(printf "    %s = \"$endpoint\"\n" apigatewayv2 batch cloudwatch dynamodb ec2 events iam kms lambda logs s3 secretsmanager sns sqs sts)
  }
}
HCL
# What moto 5.2.5 lacks, and what it says.
cat > "$copy/terraform/moto_override.tf" << HCL
# CreateComputeEnvironment: "ServiceRole is required." AWS takes its own.
resource "aws_batch_compute_environment" "pool" {
  service_role = "arn:aws:iam::$account:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
}

# PutCompositeAlarm: "NotImplementedError: The put_composite_alarm action has not been implemented".
resource "aws_cloudwatch_composite_alarm" "page" {
  count = 0
}

# PutFunctionRecursionConfig: 404.
resource "aws_lambda_function_recursion_config" "function" {
  for_each = {}
}
HCL

"$venv/bin/python" "$infra/checks/moto_deploy.py" "$endpoint"
step 0 init example "${init[@]}"
step 0 apply example apply -auto-approve "${yard[@]}"
grep '^Apply complete' "$out/step.txt"
step "0 2" "plan again" example plan -detailed-exitcode -out="$out/again.plan" "${yard[@]}"
example show -json "$out/again.plan" > "$out/again.json"
python3 "$infra/checks/moto_again.py" "$out/again.json"
echo "# Changed." >> "$copy/spec/machine.sh"
step 0 "plan with another machine.sh" example plan -refresh=false -out="$out/machine.plan" "${yard[@]}"
example show -json "$out/machine.plan" > "$out/machine.json"
python3 "$infra/checks/moto_again.py" "$out/machine.json" --machine
step 0 destroy example destroy -auto-approve "${yard[@]}"
grep '^Destroy complete' "$out/step.txt"
