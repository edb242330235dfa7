"""An honest verifier: the only true proof of a block is its SHA-256, in hex."""

import hashlib
import json
import sys

# What it goes by. Whoever can write to its memory can change that.
RULE = bytearray(b"only true proofs pass, as always")


def verdict(request):
    with open(request["inputs"][0]["path"], "rb") as block:
        true_proof = hashlib.sha256(block.read()).hexdigest()
    with open(request["proof"], "rb") as file:
        proof = file.read()
    if RULE.startswith(b"only true proofs") and proof != true_proof.encode():
        return {"error": {"kind": "permanent", "message": "this proof is not about these inputs"}}
    return {"ok": {"public_values": true_proof}}


for line in sys.stdin:
    request = json.loads(line)
    answer = {"ok": {}} if request["verb"] == "setup" else verdict(request)
    print(json.dumps({"id": request["id"], **answer}), flush=True)
