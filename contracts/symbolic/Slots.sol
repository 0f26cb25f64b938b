// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../src/interfaces/IVault.sol";
import {QuorumRows} from "../src/libraries/QuorumRows.sol";
import {AccountSlot, AccountSlotLibrary} from "../src/types/AccountSlot.sol";
import {ChannelSlot, ChannelSlotLibrary} from "../src/types/ChannelSlot.sol";
import {KeySlot, KeySlotLibrary} from "../src/types/KeySlot.sol";
import {Lane, LaneLibrary} from "../src/types/Lane.sol";

/// @notice Symbolic properties of the packed words, and of royalties and prices at their edges: every argument takes every
/// value. Only `assert` counts. Where products are divided, see Arithmetic.sol.
contract SlotsCheck {
    /* ---------- accounts ---------- */

    function check_account_balance_is_read_as_written(uint256 word, uint96 x) external pure {
        assert(AccountSlot.wrap(word).withBalance(x).balance() == x);
    }

    function check_account_balance_touches_nothing_else(uint256 word, uint96 x) external pure {
        assert(AccountSlot.unwrap(AccountSlot.wrap(word).withBalance(x)) >> 96 == word >> 96);
    }

    function check_account_stake_is_read_as_written(uint256 word, uint96 x) external pure {
        assert(AccountSlot.wrap(word).withStake(x).stake() == x);
    }

    function check_account_stake_touches_nothing_else(uint256 word, uint96 x) external pure {
        uint256 mask = uint256(type(uint96).max) << 96;
        assert(AccountSlot.unwrap(AccountSlot.wrap(word).withStake(x)) & ~mask == word & ~mask);
    }

    function check_account_timer_is_read_as_written(uint256 word, uint40 x) external pure {
        assert(AccountSlot.wrap(word).withUnbondingAt(x).unbondingAt() == x);
    }

    function check_account_timer_touches_nothing_else(uint256 word, uint40 x) external pure {
        uint256 mask = uint256(type(uint40).max) << 192;
        assert(AccountSlot.unwrap(AccountSlot.wrap(word).withUnbondingAt(x)) & ~mask == word & ~mask);
    }

    function check_account_flags_do_not_touch_money(uint256 word) external pure {
        AccountSlot slot = AccountSlot.wrap(word);
        AccountSlot both = slot.withBound().withOwnsKeys();
        assert(both.isBound() && both.ownsKeys());
        assert(both.balance() == slot.balance() && both.stake() == slot.stake());
        assert(both.unbondingAt() == slot.unbondingAt());
    }

    function check_account_flags_are_apart(uint256 word) external pure {
        AccountSlot slot = AccountSlot.wrap(word);
        assert(slot.withBound().ownsKeys() == slot.ownsKeys());
        assert(slot.withOwnsKeys().isBound() == slot.isBound());
    }

    function check_account_plus_adds_or_reverts(uint256 word, uint96 x) external pure {
        AccountSlot slot = AccountSlot.wrap(word);
        AccountSlot sum = slot.plus(x);
        assert(uint256(sum.balance()) == uint256(slot.balance()) + x);
        assert(AccountSlot.unwrap(sum) >> 96 == word >> 96);
    }

    /* ---------- channels ---------- */

    function check_channel_reads_what_was_packed(uint96 a, uint96 c, uint24 e, uint40 t) external pure {
        ChannelSlot slot = ChannelSlotLibrary.pack(a, c, e, t);
        assert(slot.allocated() == a && slot.claimed() == c && slot.epoch() == e && slot.expiry() == t);
    }

    function check_channel_packs_what_was_read(uint256 word) external pure {
        ChannelSlot slot = ChannelSlot.wrap(word);
        ChannelSlot again = ChannelSlotLibrary.pack(slot.allocated(), slot.claimed(), slot.epoch(), slot.expiry());
        assert(ChannelSlot.unwrap(again) == word);
    }

    function check_channel_claimed_is_read_as_written(uint256 word, uint96 x) external pure {
        assert(ChannelSlot.wrap(word).withClaimed(x).claimed() == x);
    }

    function check_channel_claimed_touches_nothing_else(uint256 word, uint96 x) external pure {
        ChannelSlot before = ChannelSlot.wrap(word);
        ChannelSlot slot = before.withClaimed(x);
        assert(slot.allocated() == before.allocated());
        assert(slot.epoch() == before.epoch() && slot.expiry() == before.expiry());
    }

    /* ---------- keys ---------- */

    function check_key_owner_is_read_as_bound(address owner) external pure {
        KeySlot slot = KeySlotLibrary.boundTo(owner);
        assert(slot.owner() == owner && !slot.isRevoked());
    }

    function check_key_revocation_keeps_the_owner(uint256 word) external pure {
        KeySlot slot = KeySlot.wrap(word);
        assert(slot.withRevoked().isRevoked() && slot.withRevoked().owner() == slot.owner());
    }

    function check_key_revocation_is_for_ever(uint256 word) external pure {
        KeySlot once = KeySlot.wrap(word).withRevoked();
        assert(KeySlot.unwrap(once.withRevoked()) == KeySlot.unwrap(once));
    }

    /* ---------- lanes and royalties ---------- */

    function check_lane_reads_its_parts(address author, uint16 bps, uint80 number) external pure {
        Lane lane = Lane.wrap(bytes32((uint256(uint160(author)) << 96) | (uint256(bps) << 80) | number));
        assert(lane.author() == author && lane.bps() == bps && lane.number() == number);
    }

    function check_lane_of_a_leaf_is_the_orders(bytes22 terms, uint16 number) external pure {
        Lane lane = LaneLibrary.fromRoyalty(terms, number);
        assert(bytes22(Lane.unwrap(lane)) == terms && lane.number() == number);
    }

    function check_lane_valid_means_at_most_the_whole(bytes32 word) external pure {
        Lane lane = Lane.wrap(word);
        if (lane.isValid()) assert(lane.bps() <= 10_000);
    }

    function check_lane_valid_share_has_an_author(bytes32 word) external pure {
        Lane lane = Lane.wrap(word);
        if (lane.isValid() && lane.bps() != 0) assert(lane.author() != address(0));
    }

    function check_royalty_without_an_author_is_nothing(uint96 number, uint96 from, uint96 to) external pure {
        assert(Lane.wrap(bytes32(uint256(number))).royalty(from, to) == 0);
    }

    function check_royalty_of_nothing_is_nothing(bytes32 word, uint96 at) external pure {
        assert(Lane.wrap(word).royalty(at, at) == 0);
    }

    /* ---------- prices ---------- */

    function check_price_is_at_least_flat(uint96 flat, uint96 rate, uint64 fuel) external pure {
        assert(QuorumRows.price(flat, rate, fuel) >= flat);
    }

    function check_price_without_fuel_is_flat(uint96 flat, uint96 rate) external pure {
        assert(QuorumRows.price(flat, rate, 0) == flat);
    }

    function check_price_without_rate_is_flat(uint96 flat, uint64 fuel) external pure {
        assert(QuorumRows.price(flat, 0, fuel) == flat);
    }

    function check_price_never_overflows_a_total(uint96 owed, uint96 flat, uint96 rate, uint64 fuel) external pure {
        unchecked {
            uint256 price = QuorumRows.price(flat, rate, fuel);
            assert(price < 1 << 160 && owed + price >= price);
        }
    }
}
