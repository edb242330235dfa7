#!/usr/bin/env bash
# Prints where this machine's Chromium is, for the tests of pages; installs Debian's where there is none and that can
# be done. Calls that come at once wait for each other.
set -euo pipefail

find_browser() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        if command -v "$name"; then
            return 0
        fi
    done
    return 1
}

if find_browser; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "proofyard: no Chromium or Chrome is here, and the tests of pages need one; on Debian: apt-get install chromium" >&2
    exit 2
fi
exec 9>"${TMPDIR:-/tmp}/proofyard-browser.lock"
flock 9
if ! find_browser; then
    echo "proofyard: installing Debian's chromium, which the tests of pages need" >&2
    {
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium
    } >&2 9>&-
    find_browser
fi
