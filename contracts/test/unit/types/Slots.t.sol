// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {AccountSlot} from "../../../src/types/AccountSlot.sol";
import {ChannelSlot, ChannelSlotLibrary} from "../../../src/types/ChannelSlot.sol";
import {KeySlot, KeySlotLibrary} from "../../../src/types/KeySlot.sol";
import {Assertions} from "../../helpers/Assertions.sol";

contract SlotsTest is Assertions {
    function testFuzz_SYM_01_an_account_slot_keeps_its_parts_apart(
        uint256 start,
        uint96 balance,
        uint96 stake,
        uint40 unbondingAt
    ) public {
        AccountSlot slot = AccountSlot.wrap(start).withBalance(balance).withStake(stake).withUnbondingAt(unbondingAt);
        check(slot, balance, stake, unbondingAt);
        eq(AccountSlot.unwrap(slot) >> 232, start >> 232, "flags are untouched");
        bool owns = slot.ownsKeys();
        AccountSlot bound = slot.withBound();
        yes(bound.isBound() && bound.ownsKeys() == owns, "bound");
        check(bound, balance, stake, unbondingAt);
        bool isBound = slot.isBound();
        AccountSlot owner = slot.withOwnsKeys();
        yes(owner.ownsKeys() && owner.isBound() == isBound, "owns keys");
        check(owner.withBalance(0).withStake(0).withUnbondingAt(0), 0, 0, 0);
        check(owner.withBalance(0), 0, stake, unbondingAt);
        check(owner.withStake(0), balance, 0, unbondingAt);
        check(owner.withUnbondingAt(0), balance, stake, 0);
    }

    function plus(uint256 word, uint256 amount) external pure returns (uint256) {
        return AccountSlot.unwrap(AccountSlot.wrap(word).plus(amount));
    }

    /// @dev The vault's sums cannot overflow unless its token lies about balances; then this stops them.
    function testFuzz_SYM_01_a_credit_adds_or_is_refused(uint256 rest, uint256 rawHad, uint256 rawMore) public {
        uint256 most = type(uint96).max;
        uint256 had = biased(rawHad, 0, most);
        uint256 more = biased(rawMore, most - had, most);
        uint256 word = (rest << 96) | had;
        eq(this.plus(word, most - had), (rest << 96) | most, "exactly full");
        if (had + more > most) refuses(abi.encodeWithSelector(IVault.AmountTooLarge.selector, had + more));
        uint256 sum = this.plus(word, more);
        if (had + more <= most) eq(sum, word + more, "sum");
    }

    function check(AccountSlot slot, uint96 balance, uint96 stake, uint40 unbondingAt) internal {
        eq(slot.balance(), balance, "balance");
        eq(slot.stake(), stake, "stake");
        eq(slot.unbondingAt(), unbondingAt, "unbonding at");
    }

    function testFuzz_SYM_09_a_channel_slot_keeps_its_parts_apart(
        uint96 allocated,
        uint96 claimed,
        uint24 epoch,
        uint40 expiry,
        uint96 later
    ) public {
        ChannelSlot slot = ChannelSlotLibrary.pack(allocated, claimed, epoch, expiry);
        eq(slot.allocated(), allocated, "allocated");
        eq(slot.claimed(), claimed, "claimed");
        eq(slot.epoch(), epoch, "epoch");
        eq(slot.expiry(), expiry, "expiry");
        slot = slot.withClaimed(later);
        eq(
            ChannelSlot.unwrap(slot),
            ChannelSlot.unwrap(ChannelSlotLibrary.pack(allocated, later, epoch, expiry)),
            "only claimed changes"
        );
    }

    function testFuzz_SYM_05a_a_key_slot_keeps_its_owner(address owner) public {
        KeySlot slot = KeySlotLibrary.boundTo(owner);
        eq(slot.owner(), owner, "owner");
        yes(!slot.isRevoked(), "not revoked");
        slot = slot.withRevoked();
        eq(slot.owner(), owner, "owner after");
        yes(slot.isRevoked(), "revoked");
    }
}
