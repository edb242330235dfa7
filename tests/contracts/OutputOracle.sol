// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// What a proposer sees of an oracle of L2 outputs that takes them one behind another, and pays with what it claimed.
contract OutputOracle {
    error NotBehind(uint256 latest, uint256 block_);
    error UnknownL1Block(uint256 number);
    error NoProof();

    uint256 public latestBlockNumber;
    bytes32 public aggregationVkey;
    mapping(uint256 => bytes32) public outputs;
    mapping(uint256 => uint256) public times;
    uint256 public immutable every;

    constructor(uint256 first, uint256 every_, bytes32 vkey) {
        latestBlockNumber = first;
        every = every_;
        aggregationVkey = vkey;
    }

    function proposeL2OutputV3(
        bytes32 outputRoot,
        uint64,
        address,
        uint256 l2BlockNumber,
        uint256 l1BlockNumber,
        bytes calldata proof,
        address
    ) external payable {
        if (l2BlockNumber != latestBlockNumber + every) revert NotBehind(latestBlockNumber, l2BlockNumber);
        if (blockhash(l1BlockNumber) == 0) revert UnknownL1Block(l1BlockNumber);
        if (proof.length == 0) revert NoProof();
        latestBlockNumber = l2BlockNumber;
        outputs[l2BlockNumber] = outputRoot;
        times[l2BlockNumber] += 1;
    }
}
