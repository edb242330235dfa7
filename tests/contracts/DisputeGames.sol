// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

/// What a proposer of an OP stack chain with validity proofs sees of a dispute game factory: its calls, and what they ask for.
contract DisputeGames {
    error WrongBond(uint256 sent, uint256 wanted);
    error GameExists(bytes32 id);
    error WrongParent(uint32 parent);

    struct Game {
        uint32 kind;
        bytes32 root;
        uint256 block_;
        uint32 parent;
        address proposer;
    }

    Game[] private all;
    mapping(bytes32 => uint256) private indexOf;
    mapping(uint32 => uint256) public initBonds;

    constructor() {
        initBonds[42] = 0.01 ether;
    }

    function create(uint32 gameType, bytes32 rootClaim, bytes calldata extraData) external payable returns (address) {
        if (msg.value != initBonds[gameType]) revert WrongBond(msg.value, initBonds[gameType]);
        bytes32 id = keccak256(abi.encode(gameType, rootClaim, extraData));
        if (indexOf[id] != 0) revert GameExists(id);
        uint256 block_ = uint256(bytes32(extraData[0:32]));
        uint32 parent = uint32(bytes4(extraData[32:36]));
        // The first game has no parent, and says so by the greatest number.
        if (all.length == 0 ? parent != type(uint32).max : parent != all.length - 1) revert WrongParent(parent);
        all.push(Game(gameType, rootClaim, block_, parent, msg.sender));
        indexOf[id] = all.length;
        return address(uint160(all.length));
    }

    function games(uint32 gameType, bytes32 rootClaim, bytes calldata extraData)
        external
        view
        returns (address proxy, uint64 timestamp)
    {
        uint256 index = indexOf[keccak256(abi.encode(gameType, rootClaim, extraData))];
        return (address(uint160(index)), index == 0 ? 0 : uint64(block.timestamp));
    }

    function gameCount() external view returns (uint256) {
        return all.length;
    }

    function game(uint256 index) external view returns (uint256 block_, bytes32 root, address proposer) {
        return (all[index].block_, all[index].root, all[index].proposer);
    }
}
