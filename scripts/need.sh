# Sourced by the other scripts: says what is missing on this machine, and how to get it.

need() {
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "proofyard: $1 is missing; $2" >&2
        exit 2
    fi
}

need cargo "install Rust from https://rustup.rs, then open a new shell"
need cc "install a C compiler (on Debian: apt-get install build-essential)"
