#!/usr/bin/env bash
# Makes the Python environment of the local AWS, or with `tier` that of LocalStack itself, where there is none or where what
# it needs has changed; prints its place. Ends with 3 where no Python 3.13 is here, and tests may go on without LocalStack.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$here/../target"
target=$(cd "$here/../target" && pwd)

works() {
    "$1" -c "import ensurepip, sys, venv; sys.exit(not sys.version_info[:2] $2)" >/dev/null 2>&1
}

find_python313() {
    local named="${PROOFYARD_PYTHON313:-}" candidate
    if [ -n "$named" ]; then
        works "$named" "== (3, 13)" && echo "$named" && return
        echo "PROOFYARD_PYTHON313 is $named, which is no Python 3.13 with venv; name another one, or unset it" >&2
        exit 2
    fi
    # pyenv puts a python3.13 into PATH that may refuse to run.
    for candidate in python3.13 \
        "$(pyenv root 2>/dev/null)"/versions/3.13*/bin/python3.13 "$(uv python find 3.13 2>/dev/null)"; do
        works "$candidate" "== (3, 13)" && echo "$candidate" && return
    done
    echo "LocalStack needs Python 3.13 with venv, and none is here: get one with \`uv python install 3.13\` or" \
        "\`pyenv install 3.13\`, or name one with PROOFYARD_PYTHON313" >&2
    # Where all tests are to run, nothing is skipped.
    [ "${CI:-}" = true ] && exit 2
    exit 3
}

case "${1:-}" in
    "")
        venv="$target/localstack-venv" wanted="$here/requirements.txt" python=python3
        if ! works python3 ">= (3, 11)"; then
            echo "the local AWS needs Python 3.11 or newer with venv: apt-get install python3 python3-venv" >&2
            exit 2
        fi
        ;;
    tier)
        venv="$target/localstack-tier-venv" wanted="$here/tier/requirements.txt" python=
        ;;
    *)
        echo "usage: venv.sh [tier]" >&2
        exit 2
        ;;
esac

# Several may start at once; one makes it, the others wait.
exec 9>"$venv.lock"
flock 9
if ! [ -x "$venv/bin/python" ] || ! cmp -s "$wanted" "$venv/requirements.txt"; then
    python=${python:-$(find_python313)}
    echo "making $venv" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --requirement "$wanted" >&2
    cp "$wanted" "$venv/requirements.txt"
fi
echo "$venv"
