// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// What a proposer sees of an oracle of L2 outputs whose proofs have an L1 block among their inputs: the block's hash is put on record
/// first, while the chain still knows it, and no output is taken with another block.
contract SuccinctOracle {
    error L1BlockHashNotAvailable(uint256 number);
    error L1BlockHashNotCheckpointed(uint256 number);
    error ConfigNotKnown(bytes32 name);
    error NotNext(uint256 latest, uint256 number);
    error NoProof();

    uint256 public latestBlockNumber;
    uint256 public checkpoints;
    uint256 public immutable every;
    /// Nothing is put on record while it is set.
    bool public isClosed;
    mapping(uint256 => bytes32) public historicBlockHashes;
    mapping(uint256 => uint256) public times;
    mapping(uint256 => uint256) public l1BlockOf;
    mapping(uint256 => bytes32) public proofHash;

    constructor(uint256 first, uint256 every_) {
        latestBlockNumber = first;
        every = every_;
    }

    function close(uint256 flag) external {
        isClosed = flag != 0;
    }

    function checkpointBlockHash(uint256 number) external {
        bytes32 hash = blockhash(number);
        if (hash == 0 || isClosed) revert L1BlockHashNotAvailable(number);
        historicBlockHashes[number] = hash;
        checkpoints += 1;
    }

    function proposeL2Output(
        bytes32 configName,
        bytes32,
        uint256 l2BlockNumber,
        uint256 l1BlockNumber,
        bytes calldata proof,
        address
    ) external {
        if (configName != "main") revert ConfigNotKnown(configName);
        if (l2BlockNumber != latestBlockNumber + every) revert NotNext(latestBlockNumber, l2BlockNumber);
        if (historicBlockHashes[l1BlockNumber] == 0) revert L1BlockHashNotCheckpointed(l1BlockNumber);
        if (proof.length == 0) revert NoProof();
        latestBlockNumber = l2BlockNumber;
        times[l2BlockNumber] += 1;
        l1BlockOf[l2BlockNumber] = l1BlockNumber;
        proofHash[l2BlockNumber] = keccak256(proof);
    }
}
