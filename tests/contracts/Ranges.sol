// SPDX-License-Identifier: Apache-2.0 OR MIT
pragma solidity ^0.8.20;

interface IRangeVerifier {
    function requireValid(bytes calldata proof, bytes calldata publicValues) external view;
}

/// @notice How far a chain is proved: takes a range's proof only where the one before it ended.
contract Ranges {
    error NotNext(uint64 chainId, uint64 from, bytes32 pre);

    event Proved(uint64 from, uint64 to, bytes32 post);

    IRangeVerifier public immutable verifier;
    uint64 public immutable chainId;
    uint64 public next;
    bytes32 public state;

    constructor(IRangeVerifier verifier_, uint64 chainId_, uint64 next_, bytes32 state_) {
        verifier = verifier_;
        chainId = chainId_;
        next = next_;
        state = state_;
    }

    function submit(bytes calldata proof, bytes calldata publicValues) external {
        // First: it checks the lengths.
        verifier.requireValid(proof, publicValues);
        uint64 chainIdProved = uint64(bytes8(publicValues[0:8]));
        uint64 from = uint64(bytes8(publicValues[8:16]));
        uint64 to = uint64(bytes8(publicValues[16:24]));
        bytes32 pre = bytes32(publicValues[24:56]);
        if (chainIdProved != chainId || from != next || pre != state) revert NotNext(chainIdProved, from, pre);
        next = to + 1;
        state = bytes32(publicValues[56:88]);
        emit Proved(from, to, state);
    }
}
