// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Earmarks, IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract OpenTest is Fixture {
    function test_SYM_03_one_deposit_is_earmarked_for_many_without_moving_a_token() public {
        fund(payer.who, 10 * UNIT);
        Earmarks[] memory list = new Earmarks[](2);
        list[0] = Earmarks(LANE, new bytes32[](2));
        list[0].words[0] = word(payee.who, UNIT);
        list[0].words[1] = word(stranger.who, 2 * UNIT);
        list[1] = Earmarks(lane(author, 250, 7), new bytes32[](1));
        list[1].words[0] = word(payee.who, 3 * UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Opened(payer.who, LANE, EXPIRY, list[0].words);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Opened(payer.who, list[1].lane, EXPIRY, list[1].words);
        vm.prank(payer.who);
        vault.open(payer.who, EXPIRY, list);
        eq(balanceOf(payer.who), 4 * UNIT, "free balance");
        eq(token.balanceOf(address(vault)), 10 * UNIT, "tokens held");
        (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry) =
            vault.channelOf(payer.who, payee.who, list[1].lane);
        eq(allocated, 3 * UNIT, "allocated");
        eq(claimed, 0, "claimed");
        eq(epoch, 0, "epoch");
        eq(expiry, EXPIRY, "expiry");
        eq(allocatedOf(payer.who, stranger.who, LANE), 2 * UNIT, "the second of the first lane");
    }

    function test_SYM_04_C9_a_top_up_adds_and_never_shortens() public {
        fund(payer.who, 10 * UNIT);
        earmark(payer.who, payee.who, LANE, UNIT);
        vm.startPrank(payer.who);
        vault.open(payer.who, EXPIRY - 1 days, one(LANE, payee.who, UNIT));
        eq(expiryOf(payer.who, payee.who, LANE), EXPIRY, "an earlier expiry changes nothing");
        vault.open(payer.who, EXPIRY + 1, one(LANE, payee.who, 0));
        vm.stopPrank();
        eq(expiryOf(payer.who, payee.who, LANE), EXPIRY + 1, "a later one extends");
        eq(allocatedOf(payer.who, payee.who, LANE), 2 * UNIT, "allocated");
    }

    function test_SYM_04_the_expiry_lies_ahead_and_at_most_400_days() public {
        fund(payer.who, UNIT);
        uint40 latest = uint40(NOW + 400 days);
        vm.startPrank(payer.who);
        refuses(abi.encodeWithSelector(IVault.ExpiryPassed.selector, uint40(NOW)));
        vault.open(payer.who, uint40(NOW), one(LANE, payee.who, 1));
        refuses(abi.encodeWithSelector(IVault.ExpiryPassed.selector, uint40(NOW - 1)));
        vault.open(payer.who, uint40(NOW - 1), one(LANE, payee.who, 1));
        refuses(abi.encodeWithSelector(IVault.ExpiryPassed.selector, uint40(0)));
        vault.open(payer.who, 0, one(LANE, payee.who, 1));
        refuses(abi.encodeWithSelector(IVault.ExpiryTooFar.selector, latest + 1, latest));
        vault.open(payer.who, latest + 1, one(LANE, payee.who, 1));
        vault.open(payer.who, latest, one(LANE, payee.who, 1));
        vault.open(payer.who, uint40(NOW + 1), one(LANE, payee.who, 1));
        vm.stopPrank();
    }

    function test_SYM_04_a_stranger_cannot_extend_or_top_up() public {
        channel(payer, payee.who, LANE, UNIT);
        fund(stranger.who, UNIT);
        refuses(abi.encodeWithSelector(IVault.NotKeyOwner.selector, payer.who, stranger.who));
        vm.prank(stranger.who);
        vault.open(payer.who, EXPIRY + 1, one(LANE, payee.who, 1));
        // The payee cannot either.
        refuses(abi.encodeWithSelector(IVault.NotKeyOwner.selector, payer.who, payee.who));
        vm.prank(payee.who);
        vault.open(payer.who, EXPIRY + 1, one(LANE, payee.who, 0));
    }

    function test_SYM_05a_the_owner_opens_for_its_key_from_its_own_balance() public {
        bindKey(payer.who, stranger);
        fund(payer.who, 3 * UNIT);
        vm.prank(payer.who);
        vault.open(stranger.who, EXPIRY, one(LANE, payee.who, 2 * UNIT));
        eq(balanceOf(payer.who), UNIT, "owner's balance");
        eq(allocatedOf(stranger.who, payee.who, LANE), 2 * UNIT, "key's channel");
        eq(allocatedOf(payer.who, payee.who, LANE), 0, "not the owner's");
        eq(claimOne(stranger, payee.who, LANE, UNIT, 0), UNIT, "the key's voucher pays");
        eq(claimOne(payer, payee.who, LANE, UNIT, 0), 0, "the owner's does not");
    }

    function test_SYM_16_a_bad_lane_is_refused() public {
        fund(payer.who, UNIT);
        bytes32[3] memory lanes =
            [lane(author, 10_001, 1), lane(address(0), 1, 1), lane(address(0), 10_000, type(uint80).max)];
        vm.startPrank(payer.who);
        for (uint256 i; i < lanes.length; ++i) {
            refuses(abi.encodeWithSelector(IVault.BadLane.selector, lanes[i]));
            vault.open(payer.who, EXPIRY, one(lanes[i], payee.who, 1));
        }
        vault.open(payer.who, EXPIRY, one(lane(author, 10_000, 1), payee.who, 1));
        vault.open(payer.who, EXPIRY, one(lane(author, 0, 1), payee.who, 1));
        vault.open(payer.who, EXPIRY, one(bytes32(0), payee.who, 1));
        vm.stopPrank();
    }

    function test_SYM_03_a_deposit_is_not_spent_twice() public {
        fund(payer.who, 5 * UNIT);
        earmark(payer.who, payee.who, LANE, 3 * UNIT);
        refuses(abi.encodeWithSelector(IVault.InsufficientBalance.selector, 2 * UNIT, 2 * UNIT + 1));
        vm.prank(payer.who);
        vault.open(payer.who, EXPIRY, one(LANE, stranger.who, 2 * UNIT + 1));
        earmark(payer.who, stranger.who, LANE, 2 * UNIT);
    }

    function test_open_refuses_zero_payees_and_sums_beyond_96_bits() public {
        uint96 most = type(uint96).max;
        fund(payer.who, most);
        vm.startPrank(payer.who);
        refuses(IVault.ZeroAddress.selector);
        vault.open(payer.who, EXPIRY, one(LANE, address(0), 1));

        Earmarks[] memory list = new Earmarks[](2);
        list[0] = one(LANE, payee.who, most)[0];
        list[1] = one(LANE, stranger.who, most)[0];
        refuses(abi.encodeWithSelector(IVault.AmountTooLarge.selector, 2 * uint256(most)));
        vault.open(payer.who, EXPIRY, list);

        list[1] = one(LANE, payee.who, 1)[0];
        refuses(abi.encodeWithSelector(IVault.AllocationTooLarge.selector, payee.who));
        vault.open(payer.who, EXPIRY, list);
        vm.stopPrank();
        earmark(payer.who, payee.who, LANE, most);
    }

    function test_SYM_01_an_allocation_that_was_paid_still_counts_to_its_limit() public {
        uint96 most = type(uint96).max;
        channel(payer, payer.who, LANE, most);
        eq(claimOne(payer, payer.who, LANE, most, 0), most, "paid to oneself");
        // The balance is back, but this channel has seen all that fits in its 96 bits.
        refuses(abi.encodeWithSelector(IVault.AllocationTooLarge.selector, payer.who));
        vm.prank(payer.who);
        vault.open(payer.who, EXPIRY, one(LANE, payer.who, 1));
        earmark(payer.who, payee.who, LANE, most);
    }

    function testFuzz_SYM_03_earmarks_leave_exactly_the_rest(uint256 rawHave, uint256 rawA, uint256 rawB) public {
        uint96 have = uint96(biased(rawHave, 1, type(uint96).max));
        uint96 a = uint96(biased(rawA, 0, have));
        uint96 b = uint96(biased(rawB, 0, have - a));
        fund(payer.who, have);
        earmark(payer.who, payee.who, LANE, a);
        earmark(payer.who, payee.who, LANE, b);
        eq(balanceOf(payer.who), have - a - b, "rest");
        eq(allocatedOf(payer.who, payee.who, LANE), a + b, "allocated");
    }
}
