// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice One channel in one word: u96 allocated | u96 claimed | u24 epoch | u40 expiry. Low bits first.
type ChannelSlot is uint256;

/// @notice A storage pointer to one is hashed once for a read and a write.
struct Channel {
    ChannelSlot slot;
}

using ChannelSlotLibrary for ChannelSlot global;

/// @title ChannelSlotLibrary
library ChannelSlotLibrary {
    uint256 private constant CLAIMED_AT = 96;
    uint256 private constant EPOCH_AT = 192;
    uint256 private constant EXPIRY_AT = 216;
    uint256 private constant CLAIMED_MASK = uint256(type(uint96).max) << CLAIMED_AT;

    function pack(uint96 allocated_, uint96 claimed_, uint24 epoch_, uint40 expiry_)
        internal
        pure
        returns (ChannelSlot)
    {
        return ChannelSlot.wrap(
            uint256(allocated_) | (uint256(claimed_) << CLAIMED_AT) | (uint256(epoch_) << EPOCH_AT)
                | (uint256(expiry_) << EXPIRY_AT)
        );
    }

    /// @notice Everything ever earmarked and not released, in base units.
    function allocated(ChannelSlot slot) internal pure returns (uint96) {
        return uint96(ChannelSlot.unwrap(slot));
    }

    /// @notice Everything ever paid from this channel, in base units.
    function claimed(ChannelSlot slot) internal pure returns (uint96) {
        return uint96(ChannelSlot.unwrap(slot) >> CLAIMED_AT);
    }

    /// @notice How many releases the channel has seen.
    function epoch(ChannelSlot slot) internal pure returns (uint24) {
        return uint24(ChannelSlot.unwrap(slot) >> EPOCH_AT);
    }

    /// @notice From this second on the owner may release.
    function expiry(ChannelSlot slot) internal pure returns (uint40) {
        return uint40(ChannelSlot.unwrap(slot) >> EXPIRY_AT);
    }

    function withClaimed(ChannelSlot slot, uint96 total) internal pure returns (ChannelSlot) {
        return ChannelSlot.wrap((ChannelSlot.unwrap(slot) & ~CLAIMED_MASK) | (uint256(total) << CLAIMED_AT));
    }
}
