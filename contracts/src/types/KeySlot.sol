// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice A bound key in one word: u160 owner | u1 revoked. Zero while the key belongs to itself (SYM-05a).
type KeySlot is uint256;

using KeySlotLibrary for KeySlot global;

/// @title KeySlotLibrary
library KeySlotLibrary {
    uint256 private constant REVOKED = 1 << 160;

    function boundTo(address owner_) internal pure returns (KeySlot) {
        return KeySlot.wrap(uint160(owner_));
    }

    /// @notice The owner, for ever; zero while there is none.
    function owner(KeySlot slot) internal pure returns (address) {
        return address(uint160(KeySlot.unwrap(slot)));
    }

    /// @notice True once the owner ended new earmarks for the key.
    function isRevoked(KeySlot slot) internal pure returns (bool) {
        return KeySlot.unwrap(slot) & REVOKED != 0;
    }

    function withRevoked(KeySlot slot) internal pure returns (KeySlot) {
        return KeySlot.wrap(KeySlot.unwrap(slot) | REVOKED);
    }
}
