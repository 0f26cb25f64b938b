// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../interfaces/IVault.sol";

/// @notice One account in one word: u96 balance | u96 stake | u40 unbonding at | u1 bound | u1 owns keys.
/// Low bits first. The two flags copy what the key table says, so that a caller's own slot answers
/// "may this account act?" without a second storage read.
type AccountSlot is uint256;

/// @notice A storage pointer to one is hashed once for a read and a write.
struct Account {
    AccountSlot slot;
}

using AccountSlotLibrary for AccountSlot global;

/// @title AccountSlotLibrary
library AccountSlotLibrary {
    uint256 private constant STAKE_AT = 96;
    uint256 private constant UNBONDING_AT = 192;
    uint256 private constant STAKE_MASK = uint256(type(uint96).max) << STAKE_AT;
    uint256 private constant UNBONDING_MASK = uint256(type(uint40).max) << UNBONDING_AT;
    uint256 private constant BOUND = 1 << 232;
    uint256 private constant OWNS_KEYS = 1 << 233;

    /// @notice Free base units.
    function balance(AccountSlot slot) internal pure returns (uint96) {
        return uint96(AccountSlot.unwrap(slot));
    }

    /// @notice Staked base units.
    function stake(AccountSlot slot) internal pure returns (uint96) {
        return uint96(AccountSlot.unwrap(slot) >> STAKE_AT);
    }

    /// @notice When the stake may be withdrawn, in seconds; zero while no timer runs.
    function unbondingAt(AccountSlot slot) internal pure returns (uint40) {
        return uint40(AccountSlot.unwrap(slot) >> UNBONDING_AT);
    }

    /// @notice True when this account is a key bound to an owner.
    function isBound(AccountSlot slot) internal pure returns (bool) {
        return AccountSlot.unwrap(slot) & BOUND != 0;
    }

    /// @notice True when some key is bound to this account.
    function ownsKeys(AccountSlot slot) internal pure returns (bool) {
        return AccountSlot.unwrap(slot) & OWNS_KEYS != 0;
    }

    /// @notice The slot with `amount` added to the balance, its lowest bits. Reverts where a hostile token made sums
    /// overflow that cannot otherwise.
    function plus(AccountSlot slot, uint256 amount) internal pure returns (AccountSlot) {
        // unchecked: amounts are sums of a few hundred values of 96 bits.
        unchecked {
            uint256 sum = slot.balance() + amount;
            if (sum > type(uint96).max) revert IVault.AmountTooLarge(sum);
            return AccountSlot.wrap(AccountSlot.unwrap(slot) + amount);
        }
    }

    function withBalance(AccountSlot slot, uint96 amount) internal pure returns (AccountSlot) {
        return AccountSlot.wrap((AccountSlot.unwrap(slot) & ~uint256(type(uint96).max)) | amount);
    }

    function withStake(AccountSlot slot, uint96 amount) internal pure returns (AccountSlot) {
        return AccountSlot.wrap((AccountSlot.unwrap(slot) & ~STAKE_MASK) | (uint256(amount) << STAKE_AT));
    }

    function withUnbondingAt(AccountSlot slot, uint40 time) internal pure returns (AccountSlot) {
        return AccountSlot.wrap((AccountSlot.unwrap(slot) & ~UNBONDING_MASK) | (uint256(time) << UNBONDING_AT));
    }

    function withBound(AccountSlot slot) internal pure returns (AccountSlot) {
        return AccountSlot.wrap(AccountSlot.unwrap(slot) | BOUND);
    }

    function withOwnsKeys(AccountSlot slot) internal pure returns (AccountSlot) {
        return AccountSlot.wrap(AccountSlot.unwrap(slot) | OWNS_KEYS);
    }
}
