// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";
import {HostileToken} from "../../helpers/HostileTokens.sol";

contract WithdrawTest is Fixture {
    function test_withdraw_pays_out_and_says_so() public {
        fund(payer.who, 5 * UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Withdrawn(payer.who, payee.who, 2 * UNIT);
        vm.prank(payer.who);
        vault.withdraw(payer.who, payee.who, 2 * UNIT);
        eq(token.balanceOf(payee.who), 2 * UNIT, "tokens out");
        eq(balanceOf(payer.who), 3 * UNIT, "balance");
    }

    function test_SYM_03_what_is_not_earmarked_is_the_owners_at_once() public {
        fund(payer.who, 5 * UNIT);
        earmark(payer.who, payee.who, LANE, 2 * UNIT);
        refuses(abi.encodeWithSelector(IVault.InsufficientBalance.selector, 3 * UNIT, 3 * UNIT + 1));
        vm.prank(payer.who);
        vault.withdraw(payer.who, payer.who, 3 * UNIT + 1);
        vm.prank(payer.who);
        vault.withdraw(payer.who, payer.who, 3 * UNIT);
        eq(balanceOf(payer.who), 0, "balance");
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 0), 2 * UNIT, "the earmark is untouched");
    }

    function test_SYM_05a_the_owner_withdraws_what_its_keys_account_holds() public {
        bindKey(payer.who, stranger);
        fund(payee.who, UNIT);
        vm.startPrank(payee.who);
        bytes32[] memory words = new bytes32[](1);
        words[0] = word(stranger.who, UNIT);
        vault.payMany(words);
        vm.stopPrank();

        refuses(abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who));
        vm.prank(stranger.who);
        vault.withdraw(stranger.who, stranger.who, UNIT);
        refuses(abi.encodeWithSelector(IVault.NotKeyOwner.selector, stranger.who, payee.who));
        vm.prank(payee.who);
        vault.withdraw(stranger.who, payee.who, UNIT);
        vm.prank(payer.who);
        vault.withdraw(stranger.who, payer.who, UNIT);
        eq(token.balanceOf(payer.who), UNIT, "tokens out");
    }

    function test_nobody_withdraws_from_another_account() public {
        fund(payer.who, UNIT);
        refuses(abi.encodeWithSelector(IVault.NotKeyOwner.selector, payer.who, stranger.who));
        vm.prank(stranger.who);
        vault.withdraw(payer.who, stranger.who, UNIT);
    }

    function test_withdraw_refuses_zero_and_the_vault_itself() public {
        fund(payer.who, UNIT);
        vm.startPrank(payer.who);
        refuses(IVault.ZeroAmount.selector);
        vault.withdraw(payer.who, payer.who, 0);
        refuses(IVault.ZeroAddress.selector);
        vault.withdraw(payer.who, address(0), 1);
        refuses(IVault.TokenTransferFailed.selector);
        vault.withdraw(payer.who, address(vault), 1);
        vm.stopPrank();
        eq(balanceOf(payer.who), UNIT, "balance");
    }

    function testFuzz_withdraw_never_more_than_the_balance(uint256 rawHave, uint256 rawNeed) public {
        uint96 have = uint96(biased(rawHave, 1, type(uint96).max));
        uint96 need = uint96(biased(rawNeed, 1, have == type(uint96).max ? have : have + 1));
        fund(payer.who, have);
        if (need > have) refuses(abi.encodeWithSelector(IVault.InsufficientBalance.selector, have, need));
        vm.prank(payer.who);
        vault.withdraw(payer.who, payer.who, need);
        eq(balanceOf(payer.who), need > have ? have : have - need, "balance");
    }

    function hostile() internal returns (HostileToken bad, IVault own) {
        bad = new HostileToken();
        own = IVault(factory.deploy(address(bad)));
        bad.mint(payer.who, 1000);
        bad.mint(payee.who, 1000);
        vm.startPrank(payer.who);
        bad.approve(address(own), type(uint256).max);
        own.deposit(payer.who, 1000);
        vm.stopPrank();
        vm.startPrank(payee.who);
        bad.approve(address(own), type(uint256).max);
        own.deposit(payee.who, 1000);
        vm.stopPrank();
    }

    function test_SYM_02_a_payout_that_fails_in_any_way_leaves_the_credit() public {
        (HostileToken bad, IVault own) = hostile();
        HostileToken.Mode[7] memory modes = [
            HostileToken.Mode.False,
            HostileToken.Mode.FalseButMoves,
            HostileToken.Mode.TrueButStays,
            HostileToken.Mode.Reverts,
            HostileToken.Mode.HugeReturn,
            HostileToken.Mode.Junk,
            HostileToken.Mode.FeeOnTop
        ];
        for (uint256 i; i < modes.length; ++i) {
            bad.become(modes[i]);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.withdraw(payer.who, payer.who, 100);
            (uint96 balance,,) = own.accountOf(payer.who);
            eq(balance, 1000, "balance");
            eq(bad.balanceOf(address(own)), 2000, "held");
        }
    }

    function test_SYM_02_a_fee_on_the_way_out_is_the_receivers() public {
        (HostileToken bad, IVault own) = hostile();
        bad.become(HostileToken.Mode.Fee);
        vm.prank(payer.who);
        own.withdraw(payer.who, stranger.who, 100);
        eq(bad.balanceOf(stranger.who), 99, "received");
        eq(bad.balanceOf(address(own)), 1900, "held");
        bad.become(HostileToken.Mode.NoReturn);
        vm.prank(payee.who);
        own.withdraw(payee.who, payee.who, 1000);
        eq(bad.balanceOf(address(own)), 900, "everybody else's money is there");
    }

    function test_SYM_02_a_reentrant_withdrawal_finds_the_lock() public {
        (HostileToken bad, IVault own) = hostile();
        bad.callBack(address(own), abi.encodeCall(own.withdraw, (address(bad), address(bad), 1)));
        vm.prank(payer.who);
        own.withdraw(payer.who, payer.who, 100);
        yes(bad.calledBack() && !bad.callbackSucceeded(), "the callback ran and was refused");
        eq(bytes32(bytes4(bad.callbackData())), bytes32(IVault.Reentered.selector), "by the lock");
        eq(bad.balanceOf(address(own)), 1900, "held");
        // The lock opens again.
        bad.become(HostileToken.Mode.Honest);
        vm.prank(payer.who);
        own.withdraw(payer.who, payer.who, 100);
        eq(bad.balanceOf(address(own)), 1800, "held later");
    }
}
