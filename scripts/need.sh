# Sourced by the other scripts: says what is missing on this machine, and how to get it.

need() {
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "proofyard: $1 is missing; $2" >&2
        exit 2
    fi
}

need cargo "install Rust from https://rustup.rs, then open a new shell"
need cc "install a C compiler (on Debian: apt-get install build-essential)"

wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
found=$(cargo --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "proofyard: Rust $wanted or newer is needed, and this is $found; run: rustup update stable" >&2
    exit 2
fi
