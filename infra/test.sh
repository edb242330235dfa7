#!/usr/bin/env bash
# All checks of infra/, offline: types, assertions on the templates of every environment, linters of templates and policies,
# the Terraform module, and that both front ends make the same. --moto also applies things to moto's server.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../scripts/python-cache.sh
python=$(bash install.sh)/bin/python
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

step() {
    echo "-- infra: $* (at ${SECONDS} s)"
}

step "types"
(cd cdk && npm run --silent build)
step "assertions on the templates"
(cd cdk && npm test --silent)
step "templates of each environment"
environments=$("$python" -c 'import json; print(*json.load(open("spec/environments.json")))')
# As infra/terraform/check.sh has it: production pages somebody.
"$python" - spec/environments.json > "$made/environments.json" << 'END'
import json, sys

environments = json.load(open(sys.argv[1]))
for environment in environments.values():
    if environment.get("production"):
        environment["page_emails"] = environment["page_emails"] or ["on-call@example.com"]
json.dump(environments, sys.stdout)
END
# What the programs are is not the templates' concern here.
for program in ingest dispatcher collector sweeper follower notifier proposer; do
    install -D /dev/null "$made/programs/proofyard-$program/bootstrap"
done
# In one process, which makes CDK's validation ready once.
node - "$PWD/cdk/build/src/app.js" "$made" $environments << 'END'
const [app, made, ...environments] = process.argv.slice(2);
for (const environment of environments) {
  const context = { environment, functions: `${made}/programs`, environments: `${made}/environments.json`, '@aws-cdk/core:enablePartitionLiterals': true };
  Object.assign(process.env, { CDK_OUTDIR: `${made}/${environment}`, CDK_CONTEXT_JSON: JSON.stringify(context) });
  delete require.cache[app];
  require(app);
}
END
step "cfn-lint"
"$(dirname "$python")/cfn-lint" --non-zero-exit-code warning "$made"/*/*.template.json
step "policies"
for environment in $environments; do
    "$python" checks/policies.py "$made/$environment"
done
step "Terraform"
bash terraform/check.sh "$made/plans"
step "parity of the CDK and Terraform"
for environment in $environments; do
    if [ -e "$made/plans/$environment.plan.json" ]; then
        echo "$environment:"
        "$python" checks/parity.py "$made/$environment" "$made/plans/$environment.plan.json"
    fi
done
(cd checks && "$python" -m unittest --quiet)
if [ "${1:-}" = --moto ]; then
    step "moto"
    bash checks/moto.sh "$made"
fi
step "done"
