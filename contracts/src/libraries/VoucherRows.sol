// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../interfaces/IVault.sol";

/// @notice One voucher of a claim: where its 79 bytes start in the calldata. A compact signature (64), the cumulative
/// total (12), the epoch (3); payee and lane stand in the header before the rows.
type VoucherRow is uint256;

using VoucherRows for VoucherRow global;

/// @title VoucherRows
/// @dev A row is made only inside records whose length was checked, so that no read leaves them.
library VoucherRows {
    uint256 internal constant ROW_BYTES = 79;

    /// @notice The row at an offset of `records`. The caller has checked the length.
    function rowAt(bytes calldata records, uint256 offset) internal pure returns (VoucherRow row) {
        // memory-safe: no memory at all.
        assembly ("memory-safe") {
            row := add(records.offset, offset)
        }
    }

    /// @notice The word at `offset`, of which `length` bytes belong to the header that is read.
    function headerAt(bytes calldata records, uint256 offset, uint256 length) internal pure returns (bytes32 word) {
        // unchecked: callers pass offsets at or near the calldata's length.
        unchecked {
            if (offset + length > records.length) revert IVault.BadRecords(offset);
        }
        // memory-safe: no memory at all.
        assembly ("memory-safe") {
            word := calldataload(add(records.offset, offset))
        }
    }

    /// @notice The byte that says how many rows follow. The caller has checked the length.
    function countAt(bytes calldata records, uint256 offset) internal pure returns (uint256 count) {
        // memory-safe: no memory at all.
        assembly ("memory-safe") {
            count := byte(0, calldataload(add(records.offset, offset)))
        }
    }

    /// @notice The compact signature: r, then y-parity and s.
    function signature(VoucherRow row) internal pure returns (bytes32 r, bytes32 vs) {
        return (_word(row, 0), _word(row, 32));
    }

    function cumulative(VoucherRow row) internal pure returns (uint96) {
        return uint96(bytes12(_word(row, 64)));
    }

    function epoch(VoucherRow row) internal pure returns (uint24) {
        return uint24(bytes3(_word(row, 76)));
    }

    function _word(VoucherRow row, uint256 offset) private pure returns (bytes32 word) {
        // memory-safe: no memory at all.
        assembly ("memory-safe") {
            word := calldataload(add(row, offset))
        }
    }
}
