#!/usr/bin/env bash
# Packs the functions' programs as Lambda takes them: FOLDER/BINARY.zip of FOLDER/BINARY/bootstrap, by default in
# target/lambda, where functions/build.sh leaves the programs. The same program gives the same zip.
set -euo pipefail
folder="${1:-$(dirname "${BASH_SOURCE[0]}")/../../target/lambda}"

python3 - "$folder" <<'EOF'
import sys
import zipfile
from pathlib import Path

programs = sorted(Path(sys.argv[1]).glob("*/bootstrap"))
if not programs:
    sys.exit(f"error: there is no BINARY/bootstrap in {sys.argv[1]}; build them with: bash functions/build.sh")
for program in programs:
    # Neither the file's time nor its mode there; it may be executed, and it is as old as a zip can say.
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    packed = program.parent.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, program.read_bytes())
    print(packed)
EOF
