"""Writes vector.json: a payload, its witness, and the guest's input of both, worked out by other people's programs.

SSZ is remerkleable's, transactions are signed by eth-account. `pip install remerkleable==0.1.28 eth-account==0.14.0`, then
`python vector.py > vector.json`. What progressive lists there are in the definition are plain ones here: their bytes are the same.
"""

import json

import rlp
from eth_account import Account
from eth_hash.auto import keccak
from eth_keys import keys
from remerkleable.basic import uint64, uint256
from remerkleable.byte_arrays import ByteList, Bytes32, ByteVector
from remerkleable.complex import Container, List

MANY = 2**30
Data = ByteList[MANY]


class Withdrawal(Container):
    index: uint64
    validator_index: uint64
    address: ByteVector[20]
    amount: uint64


class Payload(Container):
    parent_hash: Bytes32
    fee_recipient: ByteVector[20]
    state_root: Bytes32
    receipts_root: Bytes32
    logs_bloom: ByteVector[256]
    prev_randao: Bytes32
    block_number: uint64
    gas_limit: uint64
    gas_used: uint64
    timestamp: uint64
    extra_data: ByteList[32]
    base_fee_per_gas: uint256
    block_hash: Bytes32
    transactions: List[Data, MANY]
    withdrawals: List[Withdrawal, MANY]
    blob_gas_used: uint64
    excess_blob_gas: uint64
    block_access_list: Data
    slot_number: uint64


class Deposit(Container):
    pubkey: ByteVector[48]
    withdrawal_credentials: Bytes32
    amount: uint64
    signature: ByteVector[96]
    index: uint64


class WithdrawalRequest(Container):
    source_address: ByteVector[20]
    validator_pubkey: ByteVector[48]
    amount: uint64


class Consolidation(Container):
    source_address: ByteVector[20]
    source_pubkey: ByteVector[48]
    target_pubkey: ByteVector[48]


class BuilderDeposit(Container):
    pubkey: ByteVector[48]
    withdrawal_credentials: Bytes32
    amount: uint64
    signature: ByteVector[96]


class BuilderExit(Container):
    source_address: ByteVector[20]
    pubkey: ByteVector[48]


class Requests(Container):
    deposits: List[Deposit, MANY]
    withdrawals: List[WithdrawalRequest, MANY]
    consolidations: List[Consolidation, MANY]
    builder_deposits: List[BuilderDeposit, MANY]
    builder_exits: List[BuilderExit, MANY]


class PayloadRequest(Container):
    execution_payload: Payload
    versioned_hashes: List[Bytes32, MANY]
    parent_beacon_block_root: Bytes32
    execution_requests: Requests


class Witness(Container):
    state: List[ByteList[2**10], MANY]
    codes: List[ByteList[2**16], MANY]
    headers: List[ByteList[2**10], 256]


class StatelessInput(Container):
    new_payload_request: PayloadRequest
    witness: Witness
    chain_id: uint64
    public_keys: List[ByteVector[65], MANY]


CHAIN_ID = 7_014_190_335
KEYS = [bytes([number]) * 32 for number in range(1, 7)]


def some(length: int, seed: int) -> bytes:
    return bytes((seed * 31 + place * 7) % 256 for place in range(length))


def transactions() -> list[bytes]:
    plain = {"nonce": 3, "gas": 21_000, "to": "0x" + "22" * 20, "value": 10**18, "data": "0x"}
    fees = {**plain, "chainId": CHAIN_ID, "maxFeePerGas": 10**9, "maxPriorityFeePerGas": 7}
    access = [{"address": "0x" + "33" * 20, "storageKeys": ["0x" + "44" * 32]}]
    authorization = Account.sign_authorization(
        {"chainId": CHAIN_ID, "address": "0x" + "55" * 20, "nonce": 9}, KEYS[0]
    )
    unsigned = [
        {**plain, "gasPrice": 10**9},  # Before EIP-155: of no chain.
        {**plain, "gasPrice": 10**9, "chainId": CHAIN_ID, "data": "0x" + "66" * 300},
        {**plain, "gasPrice": 10**9, "chainId": CHAIN_ID, "type": 1, "accessList": access},
        {**fees, "type": 2, "accessList": access},
        {**fees, "type": 3, "maxFeePerBlobGas": 5, "blobVersionedHashes": ["0x01" + "77" * 31, "0x01" + "88" * 31]},
        {**fees, "type": 4, "authorizationList": [authorization]},
    ]
    return [bytes(Account.sign_transaction(one, key).raw_transaction) for one, key in zip(unsigned, KEYS)]


def header(parent: bytes, number: int) -> bytes:
    fields = [parent, some(32, 1), some(20, 2), some(32, 3), some(32, 4), some(32, 5), some(256, 6), 0, number]
    return rlp.encode(fields + [30_000_000, 21_000, 1_800_000_000 + number, b"", some(32, 7), bytes(8), 7])


def text(data: bytes) -> str:
    return "0x" + data.hex()


def main() -> None:
    headers = [header(bytes(32), 997)]
    for number in (998, 999):
        headers.append(header(keccak(headers[-1]), number))
    payload = Payload(
        parent_hash=keccak(headers[-1]),
        fee_recipient=some(20, 8),
        state_root=some(32, 9),
        receipts_root=some(32, 10),
        logs_bloom=some(256, 11),
        prev_randao=some(32, 12),
        block_number=1_000,
        gas_limit=60_000_000,
        gas_used=2**40 + 5,
        timestamp=1_800_001_000,
        extra_data=some(17, 13),
        base_fee_per_gas=2**200 + 258,
        block_hash=some(32, 14),
        transactions=transactions(),
        withdrawals=[
            Withdrawal(index=n, validator_index=2**33 + n, address=some(20, n), amount=32_000_000_000 + n)
            for n in (1, 2)
        ],
        blob_gas_used=2 * 131_072,
        excess_blob_gas=0,
        block_access_list=some(90, 15),
        slot_number=77_777,
    )
    requests = Requests(
        deposits=[
            Deposit(pubkey=some(48, n), withdrawal_credentials=some(32, n), amount=n, signature=some(96, n), index=n)
            for n in (2**34, 2**35 + 1)
        ],
        withdrawals=[WithdrawalRequest(source_address=some(20, 20), validator_pubkey=some(48, 21), amount=2**36)],
        consolidations=[],
        builder_deposits=[
            BuilderDeposit(pubkey=some(48, 22), withdrawal_credentials=some(32, 23), amount=2**37, signature=some(96, 24))
        ],
        builder_exits=[BuilderExit(source_address=some(20, n), pubkey=some(48, n)) for n in (25, 26, 27)],
    )
    hashes = [bytes.fromhex("01" + digits * 31) for digits in ("77", "88")]
    witness = Witness(
        state=[some(length, length) for length in (1, 532, 0, 33, 1_024)],
        codes=[some(length, length) for length in (300, 0, 3)],
        headers=headers,
    )
    stateless = StatelessInput(
        new_payload_request=PayloadRequest(
            execution_payload=payload,
            versioned_hashes=hashes,
            parent_beacon_block_root=some(32, 16),
            execution_requests=requests,
        ),
        witness=witness,
        chain_id=CHAIN_ID,
        public_keys=[b"\x04" + keys.PrivateKey(key).public_key.to_bytes() for key in KEYS],
    )
    of_type = [
        requests.deposits,
        requests.withdrawals,
        requests.consolidations,
        requests.builder_deposits,
        requests.builder_exits,
    ]
    call = [
        {
            "parentHash": text(bytes(payload.parent_hash)),
            "feeRecipient": text(bytes(payload.fee_recipient)),
            "stateRoot": text(bytes(payload.state_root)),
            "receiptsRoot": text(bytes(payload.receipts_root)),
            "logsBloom": text(bytes(payload.logs_bloom)),
            "prevRandao": text(bytes(payload.prev_randao)),
            "blockNumber": hex(payload.block_number),
            "gasLimit": hex(payload.gas_limit),
            "gasUsed": hex(payload.gas_used),
            "timestamp": hex(payload.timestamp),
            "extraData": text(bytes(payload.extra_data)),
            "baseFeePerGas": hex(payload.base_fee_per_gas),
            "blockHash": text(bytes(payload.block_hash)),
            "transactions": [text(bytes(one)) for one in payload.transactions],
            "withdrawals": [
                {
                    "index": hex(one.index),
                    "validatorIndex": hex(one.validator_index),
                    "address": text(bytes(one.address)),
                    "amount": hex(one.amount),
                }
                for one in payload.withdrawals
            ],
            "blobGasUsed": hex(payload.blob_gas_used),
            "excessBlobGas": hex(payload.excess_blob_gas),
            "blockAccessList": text(bytes(payload.block_access_list)),
            "slotNumber": hex(payload.slot_number),
        },
        [text(one) for one in hashes],
        text(some(32, 16)),
        [
            text(bytes([kind]) + b"".join(one.encode_bytes() for one in some_requests))
            for kind, some_requests in enumerate(of_type)
            if len(some_requests)
        ],
    ]
    vector = {
        "new_payload": call,
        # As geth gives them: the newest header first, and keys that a guest needs none of.
        "witness": {
            "headers": [text(one) for one in reversed(headers)],
            "codes": [text(bytes(one)) for one in witness.codes],
            "state": [text(bytes(one)) for one in witness.state],
            "keys": ["0x" + "99" * 20],
        },
        "chain_id": CHAIN_ID,
        "guest_input": "0x1501" + stateless.encode_bytes().hex(),
    }
    print(json.dumps(vector, indent=1))


main()
