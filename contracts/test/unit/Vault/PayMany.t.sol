// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract PayManyTest is Fixture {
    function words(address a, uint96 x, address b, uint96 y) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](2);
        list[0] = word(a, x);
        list[1] = word(b, y);
    }

    function test_payMany_moves_free_balance_and_says_so() public {
        fund(payer.who, 5 * UNIT);
        bytes32[] memory list = words(payee.who, UNIT, stranger.who, 2 * UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.PaidMany(payer.who, list);
        vm.prank(payer.who);
        vault.payMany(list);
        eq(balanceOf(payee.who), UNIT, "first");
        eq(balanceOf(stranger.who), 2 * UNIT, "second");
        eq(balanceOf(payer.who), 2 * UNIT, "rest");
    }

    function test_SYM_16_payMany_touches_no_channel_and_pays_no_royalty() public {
        bytes32 laneOf = lane(author, 1000, 1);
        fund(payer.who, 5 * UNIT);
        earmark(payer.who, payee.who, laneOf, 2 * UNIT);
        vm.prank(payer.who);
        vault.payMany(words(payee.who, UNIT, payee.who, UNIT));
        eq(claimedOf(payer.who, payee.who, laneOf), 0, "claimed");
        eq(balanceOf(author), 0, "author");
        eq(balanceOf(payee.who), 2 * UNIT, "payee");
    }

    function test_SYM_01_a_gift_to_oneself_changes_nothing() public {
        fund(payer.who, 5 * UNIT);
        vm.prank(payer.who);
        vault.payMany(words(payer.who, UNIT, payer.who, 4 * UNIT));
        eq(balanceOf(payer.who), 5 * UNIT, "balance");
    }

    function test_SYM_03_earmarks_cannot_be_given_away() public {
        fund(payer.who, 5 * UNIT);
        earmark(payer.who, payee.who, LANE, 4 * UNIT);
        refuses(abi.encodeWithSelector(IVault.InsufficientBalance.selector, UNIT, 2 * UNIT));
        vm.prank(payer.who);
        vault.payMany(words(stranger.who, UNIT, stranger.who, UNIT));
    }

    function test_payMany_refuses_zero_addresses_huge_sums_and_bound_keys() public {
        fund(payer.who, 5 * UNIT);
        vm.startPrank(payer.who);
        refuses(IVault.ZeroAddress.selector);
        vault.payMany(words(payee.who, 1, address(0), 1));
        uint96 most = type(uint96).max;
        refuses(abi.encodeWithSelector(IVault.AmountTooLarge.selector, 2 * uint256(most)));
        vault.payMany(words(payee.who, most, stranger.who, most));
        vm.stopPrank();
        bindKey(payer.who, stranger);
        refuses(abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who));
        vm.prank(stranger.who);
        vault.payMany(words(payee.who, 0, payee.who, 0));
    }
}
