// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// One claim about a rollup's state.
contract DisputeGame {
    uint256 public immutable l2BlockNumber;
    bytes32 public immutable rootClaim;
    address public immutable proposer;

    constructor(uint256 block_, bytes32 root, address proposer_) {
        l2BlockNumber = block_;
        rootClaim = root;
        proposer = proposer_;
    }
}

/// What a proposer of an OP stack chain with validity proofs sees of a dispute game factory: its calls, and what they ask for.
contract DisputeGames {
    error IncorrectBondAmount();
    error GameAlreadyExists(bytes32 id);
    error WrongParent(uint32 parent);

    DisputeGame[] private all;
    mapping(bytes32 => bool) private exists;
    mapping(uint32 => uint256) public initBonds;

    constructor(uint256 anchor) {
        initBonds[42] = 0.01 ether;
        all.push(new DisputeGame(anchor, 0, msg.sender));
    }

    function create(uint32 gameType, bytes32 rootClaim, bytes calldata extraData) external payable returns (address) {
        if (msg.value != initBonds[gameType]) revert IncorrectBondAmount();
        bytes32 id = keccak256(abi.encode(gameType, rootClaim, extraData));
        if (exists[id]) revert GameAlreadyExists(id);
        uint32 parent = uint32(bytes4(extraData[32:36]));
        if (parent != all.length - 1) revert WrongParent(parent);
        exists[id] = true;
        all.push(new DisputeGame(uint256(bytes32(extraData[0:32])), rootClaim, msg.sender));
        return address(all[all.length - 1]);
    }

    function gameCount() external view returns (uint256) {
        return all.length;
    }

    function gameAtIndex(uint256 index) external view returns (uint32 gameType, uint64 timestamp, address proxy) {
        return (42, 0, address(all[index]));
    }
}
