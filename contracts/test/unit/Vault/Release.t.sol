// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Closing, IVault, Release} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract ReleaseTest is Fixture {
    function test_SYM_04_C8_from_the_expiry_on_the_owner_takes_the_rest() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        claimOne(payer, payee.who, LANE, 2 * UNIT, 0);
        vm.warp(EXPIRY - 1);
        refuses(abi.encodeWithSelector(IVault.NotExpired.selector, payee.who, EXPIRY));
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, ""));
        vm.warp(EXPIRY);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Released(payer.who, payee.who, LANE, 0, 3 * UNIT);
        vm.prank(payer.who);
        eq(vault.release(payer.who, LANE, closing(payee.who, "")), 3 * UNIT, "refund");
        eq(balanceOf(payer.who), 3 * UNIT, "owner");
        eq(allocatedOf(payer.who, payee.who, LANE), 2 * UNIT, "allocated = claimed");
        eq(claimedOf(payer.who, payee.who, LANE), 2 * UNIT, "claimed stays");
        eq(epochOf(payer.who, payee.who, LANE), 1, "epoch");
    }

    function test_SYM_03_C7_instruments_stay_payable_until_the_release_not_the_expiry() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        vm.warp(EXPIRY + 100 days);
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 0), 2 * UNIT, "long after the expiry");
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, ""));
        eq(claimOne(payer, payee.who, LANE, 5 * UNIT, 0), 0, "after the release");
    }

    function test_SYM_04_totals_of_the_next_epoch_go_on_from_claimed() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        claimOne(payer, payee.who, LANE, 2 * UNIT, 0);
        vm.warp(EXPIRY);
        vm.startPrank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, ""));
        vault.open(payer.who, EXPIRY + 1 days, one(LANE, payee.who, 3 * UNIT));
        vm.stopPrank();
        eq(claimOne(payer, payee.who, LANE, 5 * UNIT, 0), 0, "an old epoch's voucher");
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 1), 0, "nothing new");
        eq(claimOne(payer, payee.who, LANE, 4 * UNIT, 1), 2 * UNIT, "the next total");
        eq(claimOne(payer, payee.who, LANE, 9 * UNIT, 1), UNIT, "up to the earmark");
    }

    function test_SYM_04_before_the_expiry_only_with_the_payees_signature() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory good = consent(payee, payer.who, LANE, 0);
        bytes[6] memory bad = [
            consent(payer, payer.who, LANE, 0),
            consent(payee, stranger.who, LANE, 0),
            consent(payee, payer.who, bytes32(uint256(2)), 0),
            consent(payee, payer.who, LANE, 1),
            new bytes(64),
            bytes.concat(good, hex"00")
        ];
        for (uint256 i; i < bad.length; ++i) {
            refuses(IVault.BadSignature.selector);
            vm.prank(payer.who);
            vault.release(payer.who, LANE, closing(payee.who, bad[i]));
        }
        vm.prank(payer.who);
        eq(vault.release(payer.who, LANE, closing(payee.who, good)), 5 * UNIT, "refund");
        // Replayed: the epoch has moved on, and the expiry still lies ahead.
        refuses(IVault.BadSignature.selector);
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, good));
        eq(expiryOf(payer.who, payee.who, LANE), EXPIRY, "the expiry stays");
    }

    function test_SYM_04_nobody_else_releases() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory good = consent(payee, payer.who, LANE, 0);
        vm.warp(EXPIRY);
        address[2] memory others = [stranger.who, payee.who];
        for (uint256 i; i < 2; ++i) {
            refuses(abi.encodeWithSelector(IVault.NotKeyOwner.selector, payer.who, others[i]));
            vm.prank(others[i]);
            vault.release(payer.who, LANE, closing(payee.who, good));
        }
    }

    function test_SYM_05a_refunds_go_to_the_keys_owner() public {
        channel(stranger, payee.who, LANE, 5 * UNIT);
        bindKey(payer.who, stranger);
        vm.warp(EXPIRY);
        vm.prank(payer.who);
        vault.release(stranger.who, LANE, closing(payee.who, ""));
        eq(balanceOf(payer.who), 5 * UNIT, "owner");
        eq(balanceOf(stranger.who), 0, "key");
    }

    function test_SYM_04_many_rows_in_one_call_and_one_twice() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        channel(payer, stranger.who, LANE, 2 * UNIT);
        vm.warp(EXPIRY);
        Closing[] memory rows = new Closing[](3);
        rows[0].payee = payee.who;
        rows[1].payee = stranger.who;
        rows[2].payee = payee.who;
        vm.prank(payer.who);
        eq(vault.release(payer.who, LANE, rows), 7 * UNIT, "refund");
        eq(balanceOf(payer.who), 7 * UNIT, "nothing is refunded twice");
    }

    function test_SYM_04_the_epoch_never_wraps_and_strands_nothing() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        // The channel one release before its last epoch; the slot is found by what it holds.
        bytes32 id = vault.channelId(payer.who, payee.who, LANE);
        bytes32 slot = id;
        uint256 held = uint256(vm.load(address(vault), slot));
        eq(uint96(held), 5 * UNIT, "this is the channel's slot");
        vm.store(address(vault), slot, bytes32(held | (uint256(type(uint24).max - 1) << 192)));
        eq(epochOf(payer.who, payee.who, LANE), type(uint24).max - 1, "epoch");
        vm.warp(EXPIRY);
        vm.startPrank(payer.who);
        eq(vault.release(payer.who, LANE, closing(payee.who, "")), 5 * UNIT, "the last release pays");
        bytes memory why = abi.encodeWithSelector(IVault.EpochExhausted.selector, payee.who);
        refuses(why);
        vault.release(payer.who, LANE, closing(payee.who, ""));
        refuses(why);
        vault.open(payer.who, EXPIRY + 1 days, one(LANE, payee.who, 1));
        vm.stopPrank();
        eq(epochOf(payer.who, payee.who, LANE), type(uint24).max, "epoch at its end");
    }

    function testFuzz_SYM_04_release_pays_allocated_minus_claimed(uint256 rawAllocated, uint256 rawClaimed) public {
        uint96 allocated = uint96(biased(rawAllocated, 1, type(uint96).max));
        uint96 claimed = uint96(biased(rawClaimed, 0, allocated));
        channel(payer, payee.who, LANE, allocated);
        claimOne(payer, payee.who, LANE, claimed, 0);
        vm.warp(EXPIRY);
        vm.prank(payer.who);
        eq(vault.release(payer.who, LANE, closing(payee.who, "")), allocated - claimed, "refund");
        eq(uint256(balanceOf(payer.who)) + balanceOf(payee.who), allocated, "conserved");
    }
}
