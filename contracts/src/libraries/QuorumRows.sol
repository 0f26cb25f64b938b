// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice One row of a settlement by quorum: where its 157 bytes start in the calldata. A roster leaf (61: provider
/// 20, owed 12, flat 12, rate 12, epoch 3, lane number 2), then a nonce (32) and a compact signature (64).
type QuorumRow is uint256;

using QuorumRows for QuorumRow global;

/// @title QuorumRows
/// @dev A row is made only from `rows` whose length was checked, so that no read leaves them. Reads are
/// calldataload: slices of calldata check their bounds at every step, which costs a quorum a tenth of its gas.
library QuorumRows {
    uint256 internal constant ROW_BYTES = 157;
    uint256 private constant FUEL_UNIT = 1e9;

    /// @notice Row `i` of `rows`. The caller has checked the length.
    function rowOf(bytes calldata rows, uint256 i) internal pure returns (QuorumRow row) {
        // memory-safe: no memory at all.
        assembly ("memory-safe") {
            row := add(rows.offset, mul(i, 157))
        }
    }

    function provider(QuorumRow row) internal pure returns (address) {
        return address(bytes20(_word(row, 0)));
    }

    function epoch(QuorumRow row) internal pure returns (uint24) {
        return uint24(bytes3(_word(row, 56)));
    }

    function laneNumber(QuorumRow row) internal pure returns (uint16) {
        return uint16(bytes2(_word(row, 59)));
    }

    /// @notice The compact signature: r, then y-parity and s.
    function signature(QuorumRow row) internal pure returns (bytes32 r, bytes32 vs) {
        return (_word(row, 93), _word(row, 125));
    }

    /// @notice The absolute total the row stands for: what was owed before the order, and the order's price.
    function total(QuorumRow row, uint64 fuel) internal pure returns (uint256) {
        uint96 owed = uint96(bytes12(_word(row, 20)));
        uint96 flat = uint96(bytes12(_word(row, 32)));
        uint96 rate = uint96(bytes12(_word(row, 44)));
        // unchecked: three terms below 2^160.
        unchecked {
            return owed + price(flat, rate, fuel);
        }
    }

    /// @notice `flat + ceil(rate * fuel / 10^9)`: `rate` is per Gfuel.
    function price(uint96 flat, uint96 rate, uint64 fuel) internal pure returns (uint256) {
        // unchecked: a product of 96 and 64 bits, and a sum far below 2^256.
        unchecked {
            return flat + (uint256(rate) * fuel + (FUEL_UNIT - 1)) / FUEL_UNIT;
        }
    }

    /// @notice Whether `expected` is the hash of the roster whose leaf i is the next row where bit i of `members` is
    /// set, and the next of `others` where it is clear, and whether that uses up exactly all of both.
    function isRoster(bytes32 expected, uint8 members, bytes calldata rows, bytes32[] calldata others)
        internal
        pure
        returns (bool right)
    {
        uint256 leaves = rows.length / ROW_BYTES + others.length;
        // memory-safe: a leaf is 61 bytes of scratch space, the list of hashes lies above the free pointer.
        assembly ("memory-safe") {
            let list := mload(0x40)
            let row := rows.offset
            let other := others.offset
            for { let i := 0 } lt(i, leaves) { i := add(i, 1) } {
                switch and(shr(i, members), 1)
                case 1 {
                    calldatacopy(0x00, row, 61)
                    mstore(add(list, shl(5, i)), keccak256(0x00, 61))
                    row := add(row, 157)
                }
                default {
                    mstore(add(list, shl(5, i)), calldataload(other))
                    other := add(other, 0x20)
                }
            }
            right := eq(keccak256(list, shl(5, leaves)), expected)
            // As many leaves as rows and others together: if the rows come out even, so do the others.
            right := and(right, eq(row, add(rows.offset, rows.length)))
        }
    }

    /// @notice The hash of the rows' seals, each rebuilt from its row's nonce:
    /// `keccak256(abi.encode(order, provider, resultsRoot, fuel, nonce))`.
    function seals(bytes32 order, bytes32 resultsRoot, uint64 fuel, bytes calldata rows)
        internal
        pure
        returns (bytes32 root)
    {
        uint256 count = rows.length / ROW_BYTES;
        // memory-safe: five words and the list of seals after them lie above the free pointer.
        assembly ("memory-safe") {
            let seal := mload(0x40)
            let list := add(seal, 0xa0)
            mstore(seal, order)
            mstore(add(seal, 0x40), resultsRoot)
            mstore(add(seal, 0x60), and(fuel, 0xffffffffffffffff))
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                let row := add(rows.offset, mul(i, 157))
                mstore(add(seal, 0x20), shr(96, calldataload(row)))
                mstore(add(seal, 0x80), calldataload(add(row, 61)))
                mstore(add(list, shl(5, i)), keccak256(seal, 0xa0))
            }
            root := keccak256(list, shl(5, count))
        }
    }

    function _word(QuorumRow row, uint256 offset) private pure returns (bytes32 word) {
        // memory-safe: no memory at all.
        assembly ("memory-safe") {
            word := calldataload(add(row, offset))
        }
    }
}
