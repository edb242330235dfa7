#!/usr/bin/env bash
# Builds the functions for Lambda, alone and small: target/lambda/<function>/bootstrap, for x86-64. Prints each one's size
# and hash; the hash is the program's, since a zip's differs from build to build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv="$PWD/target/lambda-venv"
wanted=functions/requirements.txt

if ! cmp -s "$wanted" "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$venv/requirements.txt"
fi

functions=(proofyard-ingest proofyard-dispatcher proofyard-collector proofyard-sweeper)
# The client of nodes, and that of whoever is told, have others build more of the crates that all of them need.
apart=(proofyard-follower proofyard-notifier)
# It alone holds keys, and what signs with them.
with_keys=(proofyard-proposer)
# In one build, so that what they share is compiled once; and without the rest of the workspace, whose programs need more
# of the same crates.
PATH="$venv/bin:$PATH" cargo lambda build --locked --profile lambda "${functions[@]/#/--package=}"
PATH="$venv/bin:$PATH" cargo lambda build --locked --profile lambda "${apart[@]/#/--package=}"
PATH="$venv/bin:$PATH" cargo lambda build --locked --profile lambda "${with_keys[@]/#/--package=}"

for function in "${functions[@]}" "${apart[@]}" "${with_keys[@]}"; do
    program="target/lambda/$function/bootstrap"
    printf '%s  %d bytes  %s\n' "$function" "$(stat --format %s "$program")" "$(sha256sum "$program" | cut -d ' ' -f 1)"
done
