// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title QuorumRows
/// @notice The packed rows of a settlement by quorum, 157 bytes each: a roster leaf (61: provider 20, owed 12,
/// flat 12, rate 12, epoch 3, lane number 2), then a nonce (32) and a compact signature (64).
library QuorumRows {
    uint256 internal constant ROW_BYTES = 157;
    uint256 private constant LEAF_BYTES = 61;
    uint256 private constant FUEL_UNIT = 1e9;

    /// @notice Row `i` of `rows`. The caller has checked the length.
    function rowOf(bytes calldata rows, uint256 i) internal pure returns (bytes calldata) {
        return rows[i * ROW_BYTES:(i + 1) * ROW_BYTES];
    }

    function provider(bytes calldata row) internal pure returns (address) {
        return address(bytes20(row));
    }

    function epoch(bytes calldata row) internal pure returns (uint24) {
        return uint24(bytes3(row[56:59]));
    }

    function laneNumber(bytes calldata row) internal pure returns (uint16) {
        return uint16(bytes2(row[59:61]));
    }

    function nonce(bytes calldata row) internal pure returns (bytes32) {
        return bytes32(row[61:93]);
    }

    function signature(bytes calldata row) internal pure returns (bytes calldata) {
        return row[93:157];
    }

    /// @notice The absolute total the row stands for: what was owed before the order, and the order's price.
    function total(bytes calldata row, uint64 fuel) internal pure returns (uint256) {
        uint96 owed = uint96(bytes12(row[20:32]));
        uint96 flat = uint96(bytes12(row[32:44]));
        uint96 rate = uint96(bytes12(row[44:56]));
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

    /// @notice The hash of the roster whose leaf i is the next row where bit i of `members` is set, and the next
    /// of `others` where it is clear. The caller has checked that there are as many of each as the bits say.
    function roster(uint8 members, bytes calldata rows, bytes32[] calldata others) internal pure returns (bytes32) {
        uint256 rowIndex;
        uint256 otherIndex;
        bytes32[] memory leaves = new bytes32[](rows.length / ROW_BYTES + others.length);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = (members >> i) & 1 == 1 ? keccak256(rowOf(rows, rowIndex++)[:LEAF_BYTES]) : others[otherIndex++];
        }
        return keccak256(abi.encodePacked(leaves));
    }

    /// @notice The hash of the rows' seals, each rebuilt from its row's nonce.
    function seals(bytes32 order, bytes32 resultsRoot, uint64 fuel, bytes calldata rows)
        internal
        pure
        returns (bytes32)
    {
        bytes32[] memory list = new bytes32[](rows.length / ROW_BYTES);
        for (uint256 i; i < list.length; ++i) {
            bytes calldata row = rowOf(rows, i);
            list[i] = keccak256(abi.encode(order, provider(row), resultsRoot, fuel, nonce(row)));
        }
        return keccak256(abi.encodePacked(list));
    }
}
