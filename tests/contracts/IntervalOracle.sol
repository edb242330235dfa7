// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// What a proposer sees of an oracle that takes an output once enough blocks have passed since the last one: any later block does.
contract IntervalOracle {
    error TooEarly(uint256 next, uint256 number);
    error NoProof();

    uint256 public latestBlockNumber;
    uint256 public proposals;
    uint256 public immutable every;
    mapping(uint256 => uint256) public times;
    mapping(uint256 => uint256) public timestampOf;

    constructor(uint256 first, uint256 every_) {
        latestBlockNumber = first;
        every = every_;
    }

    function nextBlockNumber() public view returns (uint256) {
        return latestBlockNumber + every;
    }

    function proposeL2Output(bytes32, uint256 l2BlockNumber, uint256 l2Timestamp, bytes calldata proof) external {
        if (l2BlockNumber < nextBlockNumber()) revert TooEarly(nextBlockNumber(), l2BlockNumber);
        if (proof.length == 0) revert NoProof();
        latestBlockNumber = l2BlockNumber;
        proposals += 1;
        times[l2BlockNumber] += 1;
        timestampOf[l2BlockNumber] = l2Timestamp;
    }
}
