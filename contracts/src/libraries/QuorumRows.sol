// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../interfaces/IVault.sol";
import {Signatures} from "./Signatures.sol";

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
    /// @notice The most replicas an order may have, reserves included.
    uint256 internal constant MAX_REPLICAS = 8;

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

    /// @notice Who signed `result` with the row's compact signature (r, then y-parity and s); zero if nobody did.
    function signer(QuorumRow row, bytes32 result) internal view returns (address) {
        return Signatures.recover(result, _word(row, 93), _word(row, 125));
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

    /// @notice Any two quorums of one roster must share a member (SYM-08a).
    function checkShape(uint8 quorum, uint8 members, uint256 rowBytes, uint256 others)
        internal
        pure
        returns (uint256 count)
    {
        // unchecked: lengths of calldata, far below 2^64 (the decoder refuses others); twice a byte.
        unchecked {
            count = rowBytes / ROW_BYTES;
            uint256 replicas = count + others;
            if (quorum < 2) revert IVault.QuorumTooSmall(quorum);
            if (replicas > MAX_REPLICAS) revert IVault.TooManyReplicas(replicas);
            if (2 * uint256(quorum) <= replicas) revert IVault.QuorumNotMajority(quorum, replicas);
            if (count < quorum) revert IVault.NotEnoughRows(count, quorum);
            if (rowBytes % ROW_BYTES != 0) revert IVault.BadRow(count);
            if (members >> replicas != 0) revert IVault.BadRoster();
        }
    }

    /// @notice One walk over the roster, whose leaf i is the next row where bit i of `members` is set, and whose hash is
    /// the next of `others` where it is clear.
    /// @return right Whether `roster` is the hash of these leaves, and the walk used up exactly all of both.
    /// @return seals The hash of the rows' seals, each rebuilt from its row's nonce:
    /// `keccak256(abi.encode(order, provider, resultsRoot, fuel, nonce))`.
    function walk(
        bytes32 roster,
        bytes32 order,
        bytes32 resultsRoot,
        uint64 fuel,
        uint8 members,
        bytes calldata rows,
        bytes32[] calldata others
    ) internal pure returns (bool right, bytes32 seals) {
        uint256 count = rows.length / ROW_BYTES;
        // As many leaves as rows and others together: if the rows come out even, so do the others.
        uint256 bits = uint256(members) | (1 << (count + others.length));
        // memory-safe: a leaf is 61 bytes of scratch space; above the free pointer lie the five words of a seal, then
        // the list of leaves (the caller has checked that there are at most 8), then the list of seals.
        assembly ("memory-safe") {
            let seal := mload(0x40)
            let leaves := add(seal, 0xa0)
            let list := add(seal, 0x1a0)
            let row := rows.offset
            let other := others.offset
            mstore(seal, order)
            mstore(add(seal, 0x40), resultsRoot)
            mstore(add(seal, 0x60), and(fuel, 0xffffffffffffffff))
            for {} gt(bits, 1) { bits := shr(1, bits) } {
                switch and(bits, 1)
                case 1 {
                    calldatacopy(0x00, row, 61)
                    mstore(leaves, keccak256(0x00, 61))
                    mstore(add(seal, 0x20), shr(96, mload(0x00)))
                    mstore(add(seal, 0x80), calldataload(add(row, 61)))
                    mstore(list, keccak256(seal, 0xa0))
                    list := add(list, 0x20)
                    row := add(row, 157)
                }
                default {
                    mstore(leaves, calldataload(other))
                    other := add(other, 0x20)
                }
                leaves := add(leaves, 0x20)
            }
            let first := add(seal, 0xa0)
            right := eq(keccak256(first, sub(leaves, first)), roster)
            right := and(right, eq(row, add(rows.offset, rows.length)))
            first := add(seal, 0x1a0)
            seals := keccak256(first, sub(list, first))
        }
    }

    function _word(QuorumRow row, uint256 offset) private pure returns (bytes32 word) {
        // memory-safe: no memory at all.
        assembly ("memory-safe") {
            word := calldataload(add(row, offset))
        }
    }
}
