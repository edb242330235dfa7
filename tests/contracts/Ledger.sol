// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// Counts what it is called with, so that a test sees a call that came twice.
contract Ledger {
    error Again(uint256 height);
    error Closed(uint256 since);
    error TooCheap(uint256 sent, uint256 price);

    mapping(uint256 => uint256) public times;
    mapping(uint256 => bytes32) public proofHash;
    uint256 public latest;
    uint256 public calls;
    uint256 public price;
    uint256 public closedSince;
    /// A test sets it where it lies, in slot 6, behind what was sent already.
    bool public takesOne;

    function submit(uint256 height, bytes calldata proof) external payable {
        if (closedSince != 0) revert Closed(closedSince);
        if (takesOne && times[height] != 0) revert Again(height);
        if (msg.value < price) revert TooCheap(msg.value, price);
        times[height] += 1;
        calls += 1;
        proofHash[height] = keccak256(proof);
        if (height > latest) latest = height;
    }

    function close(uint256 since) external {
        closedSince = since;
    }

    function ask(uint256 wei_) external {
        price = wei_;
    }

    function state() external view returns (uint256 height, bool isOpen) {
        return (latest, closedSince == 0);
    }
}
