// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Closing, IVault, Result} from "../../src/interfaces/IVault.sol";
import {Fixture} from "../helpers/Fixture.sol";

/// @notice Defects that other payment and channel contracts were shipped with, as regressions.
contract KnownDefectsTest is Fixture {
    /// @dev Everybody leaves; what stays in the vault is what was burned.
    function nobodyLost(address[3] memory who, uint256[3] memory wants) internal {
        for (uint256 i; i < 3; ++i) {
            uint96 balance = balanceOf(who[i]);
            eq(balance, wants[i], "balance");
            if (balance == 0) continue;
            vm.prank(who[i]);
            vault.withdraw(who[i], who[i], balance);
        }
        eq(token.balanceOf(address(vault)), vault.burnedStake(), "nothing is missing and nothing is left");
    }

    /* ---------- a close that pays its fee twice, from other people's deposits ---------- */

    function test_SYM_01_C6_closing_twice_pays_once_and_from_nobody_else() public {
        fund(stranger.who, 50 * UNIT);
        channel(payer, payee.who, LANE, 10 * UNIT);
        claimOne(payer, payee.who, LANE, 4 * UNIT, 0);
        Closing[] memory rows = new Closing[](3);
        for (uint256 i; i < 3; ++i) {
            rows[i] = Closing(payee.who, "");
        }
        vm.warp(EXPIRY);
        vm.startPrank(payer.who);
        eq(vault.release(payer.who, LANE, rows), 6 * UNIT, "three times in one call");
        eq(vault.release(payer.who, LANE, rows), 0, "and again");
        vm.stopPrank();
        eq(claimOne(payer, payee.who, LANE, 10 * UNIT, 0), 0, "the last voucher after the close");
        nobodyLost([payer.who, payee.who, stranger.who], [uint256(6 * UNIT), 4 * UNIT, 50 * UNIT]);
    }

    function test_SYM_12_a_reward_is_paid_once_and_out_of_the_stake_alone() public {
        fund(stranger.who, 50 * UNIT);
        fund(payee.who, 20 * UNIT);
        vm.prank(payee.who);
        vault.stake(20 * UNIT);
        Result memory a = Result(keccak256("order"), bytes32(0), 1, bytes32(0));
        Result memory b = Result(a.order, bytes32(0), 2, bytes32(0));
        bytes memory signatureA = sign(payee.pk, vault.hashResult(a));
        bytes memory signatureB = sign(payee.pk, vault.hashResult(b));
        vm.startPrank(payer.who);
        court.slash(vault, a, signatureA, b, signatureB);
        refuses(abi.encodeWithSelector(IVault.AlreadySlashed.selector, payee.who, a.order));
        court.slash(vault, b, signatureB, a, signatureA);
        vm.stopPrank();
        eq(vault.burnedStake(), 19 * UNIT, "burned");
        nobodyLost([payer.who, payee.who, stranger.who], [uint256(UNIT), 0, 50 * UNIT]);
    }

    /* ---------- an extension of a closed deposit strands funds ---------- */

    function test_SYM_04_C8_extending_or_topping_up_after_a_close_strands_nothing() public {
        channel(payer, payee.who, LANE, 10 * UNIT);
        claimOne(payer, payee.who, LANE, 4 * UNIT, 0);
        vm.warp(EXPIRY);
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, ""));
        uint40 later = EXPIRY + 10 days;
        vm.startPrank(payer.who);
        vault.open(payer.who, later, one(LANE, payee.who, 0));
        vault.open(payer.who, later, one(LANE, payee.who, 6 * UNIT));
        vm.stopPrank();
        eq(claimOne(payer, payee.who, LANE, 7 * UNIT, 1), 3 * UNIT, "the payee is paid from it");
        vm.prank(payer.who);
        refuses(abi.encodeWithSelector(IVault.NotExpired.selector, payee.who, later));
        vault.release(payer.who, LANE, closing(payee.who, ""));
        vm.warp(later);
        vm.prank(payer.who);
        eq(vault.release(payer.who, LANE, closing(payee.who, "")), 3 * UNIT, "and the owner gets the rest");
        nobodyLost([payer.who, payee.who, stranger.who], [uint256(3 * UNIT), 7 * UNIT, 0]);
    }

    /// @dev Where a release would no longer be possible, nothing is earmarked in the first place.
    function test_SYM_04_nothing_is_earmarked_where_it_could_not_be_released() public {
        fund(payer.who, 10 * UNIT);
        bytes32 id = vault.channelId(payer.who, payee.who, LANE);
        vm.store(address(vault), id, bytes32(uint256(type(uint24).max) << 192));
        refuses(abi.encodeWithSelector(IVault.EpochExhausted.selector, payee.who));
        vm.prank(payer.who);
        vault.open(payer.who, EXPIRY, one(LANE, payee.who, UNIT));
        eq(balanceOf(payer.who), 10 * UNIT, "the money stays free");
    }

    /* ---------- one bad row reverts a batch ---------- */

    /// @dev Every kind of bad row there is, in headers of its own and among good ones, in one call.
    function test_SYM_06_C10_no_bad_row_of_any_kind_reverts_a_batch() public {
        bytes32 badLane = lane(address(0), 10_001, 1);
        bytes32 overLane = lane(author, type(uint16).max, 1);
        channel(payer, payee.who, LANE, 10 * UNIT);
        channel(payer, stranger.who, LANE, UNIT);
        vm.warp(EXPIRY);
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(stranger.who, ""));
        vm.warp(EXPIRY + 1);
        bytes memory good = row(payer.pk, payee.who, LANE, 3 * UNIT, 0);
        bytes memory list = bytes.concat(
            recordsFor(address(0), LANE, row(payer.pk, address(0), LANE, UNIT, 0)), // nobody
            recordsFor(address(vault), LANE, row(payer.pk, address(vault), LANE, UNIT, 0)), // the vault itself
            recordsFor(payee.who, badLane, row(payer.pk, payee.who, badLane, UNIT, 0)), // no such lane
            recordsFor(payee.who, overLane, row(payer.pk, payee.who, overLane, UNIT, 0)),
            recordsFor(stranger.who, LANE, row(payer.pk, stranger.who, LANE, UNIT, 0)) // released
        );
        list = bytes.concat(
            list,
            recordsFor(payee.who, LANE, new bytes(79)), // zeros
            recordsFor(payee.who, LANE, bytes.concat(new bytes(32), bytes32(type(uint256).max), new bytes(15))),
            recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, UNIT, type(uint24).max)), // another epoch
            recordsFor(payee.who, LANE, bytes.concat(good, good)) // the good one, twice
        );
        vm.prank(stranger.who);
        eq(vault.claimFor(list), 3 * UNIT, "the good one pays, once");
        eq(balanceOf(payee.who), 3 * UNIT, "its payee");
    }

    /// @dev A quorum whose other members cannot be paid: no channel, released, exhausted by vouchers.
    function test_SYM_08_C14_a_member_that_cannot_be_paid_holds_up_nobody() public {
        Plan memory p = plan(3, 2, 100 * UNIT, bytes22(0));
        claimOne(payer, p.leaves[1].provider.who, laneFor(0, p.leaves[1].laneNumber), 100 * UNIT, 0);
        p.leaves[2].laneNumber = 77;
        p.order.roster = rosterOf(p.leaves);
        eq(settle(p, 7), 7 * UNIT, "the one that can be paid");
        eq(balanceOf(p.leaves[0].provider.who), 7 * UNIT, "in full");
        eq(balanceOf(p.leaves[2].provider.who), 0, "the one without a channel");
    }

    /* ---------- a reopened channel accepts an old voucher ---------- */

    /// @dev Reopened with the same and with more money, at once and later, by extension alone.
    function test_SYM_04_SYM_09_a_reopened_channel_accepts_no_old_voucher() public {
        channel(payer, payee.who, LANE, 10 * UNIT);
        bytes memory old = recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, 10 * UNIT, 0));
        claimOne(payer, payee.who, LANE, 4 * UNIT, 0);
        for (uint24 epoch; epoch < 3; ++epoch) {
            bytes memory signature = consent(payee, payer.who, LANE, epoch);
            vm.prank(payer.who);
            vault.release(payer.who, LANE, closing(payee.who, signature));
            eq(vault.claimFor(old), 0, "closed");
            channel(payer, payee.who, LANE, 10 * UNIT);
            eq(vault.claimFor(old), 0, "open again");
            eq(claimedOf(payer.who, payee.who, LANE), 4 * UNIT, "totals go on from what was paid");
        }
        eq(claimOne(payer, payee.who, LANE, 5 * UNIT, 3), UNIT, "one of this epoch pays its difference");
    }

    /* ---------- an id truncated to 160 bits ---------- */

    /// @dev A channel lies at the whole hash of key, payee and lane, and nothing at any part of it.
    function test_SYM_05_a_channel_is_stored_at_its_whole_id() public {
        channel(payer, payee.who, LANE, 10 * UNIT);
        bytes32 id = vault.channelId(payer.who, payee.who, LANE);
        eq(id, keccak256(abi.encode(payer.who, payee.who, LANE)), "the whole hash");
        eq(uint96(uint256(vm.load(address(vault), id))), 10 * UNIT, "lies there");
        eq(vm.load(address(vault), bytes32(uint256(uint160(uint256(id))))), bytes32(0), "not at its low part");
        eq(vm.load(address(vault), bytes32(bytes20(id))), bytes32(0), "not at its high part");
    }

    /// @dev Lanes, orders and roots that agree in 160 bits, low or high, are still different ones.
    function testFuzz_SYM_05_what_agrees_in_160_bits_is_not_the_same(uint256 raw, bool high) public {
        uint256 differs = biased(raw, 1, type(uint96).max);
        if (high) differs <<= 160;
        // The lane: its upper bytes are an author, so its lower part is what may differ freely.
        bytes32 other = bytes32(uint256(LANE) ^ (differs & type(uint80).max));
        channel(payer, payee.who, LANE, UNIT);
        if (other != LANE) eq(claimOne(payer, payee.who, other, UNIT, 0), 0, "another lane holds nothing");
        // The order of an offence.
        fund(payee.who, UNIT);
        vm.prank(payee.who);
        vault.stake(UNIT);
        bytes32 order = keccak256("order");
        vm.prank(address(court));
        vault.slash(payee.who, order, stranger.who);
        yes(!vault.isSlashed(payee.who, bytes32(uint256(order) ^ differs)), "another order is another offence");
        // The order a quorum signed.
        Plan memory p = plan(3, 2, 100 * UNIT, bytes22(0));
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 7);
        bytes32 root = bytes32(uint256(p.resultsRoot) ^ differs);
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel, root, rows, 7, new bytes32[](0));
    }
}
