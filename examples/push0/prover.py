#!/usr/bin/env python3
"""Provers as push0's executors start them: one program, one JSON file in, one JSON file out.

    prover.py partition  --input-path IN.json --output-path OUT.json --blocks FILE
    prover.py prove-step -i IN.json -o OUT.json
    prover.py join       -i IN.json -o OUT.json
    prover.py verify     -i IN.json -o OUT.json --blocks FILE

- partition reads a block number and writes a list of steps: {"block": N, "step_id": I, "payload": ...}.
- prove-step reads one of them and writes a step proof: {"group_id": N, "task_id": I, "data": ...}.
- join reads the list of step proofs, in the order of the steps, and writes the proof: {"block": N, "proof": ..., "prover": ...}.
- verify is Proofyard's: it reads a verify request (docs/prover-protocol.md) and writes the proof's public values.

push0 names a block by its number alone, so whoever partitions must find the block elsewhere: here in FILE, a file of
recorded blocks, or, without --blocks, the file that PUSH0_BLOCKS names.

These are stand-ins without soundness: a step's "proof" is a SHA-256 digest over its block's hash and its transactions'
hashes, which anyone can make, and the verifier makes it once more and compares. It takes as long as proving.
"""

import argparse
import hashlib
import json
import os
import sys

STEP_TRANSACTIONS = 8  # as many as one step proves
PROVER = "push0-example"
INPUT_BYTES = 1 << 30  # no file that is read whole may be larger


class Refused(Exception):
    """The input cannot be worked on; the message says why."""


def main(arguments):
    options = parse(arguments)
    try:
        made = options.work(read_json(options.input_path), options)
        write(options.output_path, canonical(made))
    except (Refused, OSError) as error:
        print(f"{options.verb}: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, work in VERBS.items():
        verb = verbs.add_parser(name)
        verb.set_defaults(work=work)
        verb.add_argument("-i", "--input-path", required=True)
        verb.add_argument("-o", "--output-path", required=True)
        if name in ("partition", "verify"):
            verb.add_argument("--blocks", default=os.environ.get("PUSH0_BLOCKS"))
    return parser.parse_args(arguments)


def partition(number, options):
    if type(number) is not int or number < 0:
        raise Refused(f"the input is no block number: {shown(number)}")
    return steps_of(find_block(number, options.blocks))


def prove_step(step, _options):
    payload = member(step, "payload", dict)
    block, step_id = member(step, "block", int), member(step, "step_id", int)
    data = {name: member(payload, name, kind) for name, kind in FACTS.items()}
    hashes = member(payload, "transactions", list)
    if len(hashes) != data["to"] - data["from"]:
        said = f"from {data['from']} to {data['to']}"
        raise Refused(f"step {step_id} of block {block} has {len(hashes)} transactions, not those {said}")
    digest = hashlib.sha256(step_values(block, step_id, data))
    for transaction in hashes:
        digest.update(hash_bytes(transaction))
    return {"group_id": block, "task_id": step_id, "data": {**data, "digest": digest.hexdigest()}}


def join(proofs, _options):
    if not isinstance(proofs, list) or not proofs:
        raise Refused("the input is no list of step proofs")
    blocks = {member(proof, "group_id", int) for proof in proofs}
    if len(blocks) != 1:
        raise Refused(f"these step proofs are of several blocks: {sorted(blocks)}")
    digest, begin = hashlib.sha256(), 0
    first = member(proofs[0], "data", dict)
    for index, proof in enumerate(proofs):
        data = member(proof, "data", dict)
        if (member(proof, "task_id", int), member(data, "from", int)) != (index, begin):
            raise Refused(f"step proof {index} is out of order or leaves transactions out")
        if member(data, "block_hash", str) != member(first, "block_hash", str):
            raise Refused(f"step proof {index} is of another block")
        digest.update(hash_bytes(member(data, "digest", str)))
        begin = member(data, "to", int)
    proof = {
        "chain_id": member(first, "chain_id", int),
        "block_hash": first["block_hash"],
        "transactions": begin,
        "digest": digest.hexdigest(),
    }
    return {"block": blocks.pop(), "proof": proof, "prover": PROVER}


def verify(request, options):
    """A step proof is checked against its step, a block's proof against the block itself: no partition is believed."""
    inputs = member(request, "inputs", list)
    proof = read(member(request, "proof", str))
    if len(inputs) == 1 and inputs[0].get("kind") == "data":
        made = prove_step(element(inputs[0]), options)
        values = step_values(made["group_id"], made["task_id"], made["data"]) + hash_bytes(made["data"]["digest"])
    else:
        given = [read(member(one, "path", str)) for one in inputs]
        step_proofs = [prove_step(step, options) for step in steps_of(named_block(given, options.blocks))]
        if given != [canonical(step_proof) for step_proof in step_proofs]:
            raise Refused("these are not the step proofs of their block")
        made = join(step_proofs, options)
        values = joined_values(made)
    if proof != canonical(made):
        raise Refused("this proof is not about these inputs")
    return {"public_values": values.hex()}


VERBS = {"partition": partition, "prove-step": prove_step, "join": join, "verify": verify}
FACTS = {"chain_id": int, "block_hash": str, "from": int, "to": int}


def find_block(number, path):
    """The last one of this number in the file: of two branches, the one that the chain went on with."""
    if path is None:
        raise Refused("name the file of recorded blocks with --blocks or in PUSH0_BLOCKS")
    found = None
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            recorded = json.loads(line)
            if "block" in recorded and int(recorded["block"]["number"], 16) == number:
                found = recorded
    if found is None:
        raise Refused(f"{path} has no block {number}")
    return found


def named_block(step_proofs, path):
    if not step_proofs:
        raise Refused("the request has no inputs")
    return find_block(member(parse_json(step_proofs[0], "a step proof"), "group_id", int), path)


def steps_of(recorded):
    block = recorded["block"]
    hashes = [one if isinstance(one, str) else one["hash"] for one in block["transactions"]]
    # A block without transactions has one step, which proves that.
    begins = range(0, max(len(hashes), 1), STEP_TRANSACTIONS)
    return [
        {
            "block": int(block["number"], 16),
            "step_id": step_id,
            "payload": {
                "chain_id": recorded["chain_id"],
                "block_hash": block["hash"],
                "from": begin,
                "to": min(begin + STEP_TRANSACTIONS, len(hashes)),
                "transactions": hashes[begin : begin + STEP_TRANSACTIONS],
            },
        }
        for step_id, begin in enumerate(begins)
    ]


def step_values(block, step_id, data):
    """Canonical bytes: chain id, block, step, from, to (8 bytes each, big-endian), the block's hash."""
    numbers = (data["chain_id"], block, step_id, data["from"], data["to"])
    return b"".join([*map(big_endian, numbers), hash_bytes(data["block_hash"])])


def joined_values(made):
    """Canonical bytes: chain id, block, transactions (8 bytes each, big-endian), the block's hash, the digest."""
    proof = made["proof"]
    numbers = (proof["chain_id"], made["block"], proof["transactions"])
    hashes = (proof["block_hash"], proof["digest"])
    return b"".join([*map(big_endian, numbers), *map(hash_bytes, hashes)])


def big_endian(number):
    if not 0 <= number < 1 << 64:
        raise Refused(f"{number} does not fit into 8 bytes")
    return number.to_bytes(8, "big")


def hash_bytes(text):
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except (AttributeError, ValueError):
        found = b""
    if len(found) != 32:
        raise Refused(f"this is no hash of 32 bytes: {shown(text)}")
    return found


def member(of, name, kind):
    value = of.get(name) if isinstance(of, dict) else None
    if type(value) is not kind:
        raise Refused(f"`{name}` is missing in {shown(of)}, or is no {kind.__name__}")
    return value


def element(one):
    """An input's element, or all of it."""
    content = read_json(member(one, "path", str))
    index = one.get("index")
    if index is None:
        return content
    if not isinstance(content, list) or type(index) is not int or not 0 <= index < len(content):
        raise Refused(f"{one['path']} has no element {index}")
    return content[index]


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def read_json(path):
    return parse_json(read(path), path)


def parse_json(content, name):
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name} is no JSON: {error}") from error


def read(path):
    with open(path, "rb") as file:
        content = file.read(INPUT_BYTES + 1)
    if len(content) > INPUT_BYTES:
        raise Refused(f"{path} is larger than {INPUT_BYTES} bytes")
    return content


def write(path, content):
    """Whole or not at all."""
    with open(path + ".part", "wb") as file:
        file.write(content)
    os.rename(path + ".part", path)


def shown(value):
    return repr(value)[:80]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
