// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";
import {HostileToken} from "../../helpers/HostileTokens.sol";

contract DepositTest is Fixture {
    function test_deposit_credits_the_beneficiary_and_says_so() public {
        token.mint(payer.who, 5 * UNIT);
        vm.startPrank(payer.who);
        token.approve(address(vault), 5 * UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Deposited(payee.who, 5 * UNIT);
        eq(vault.deposit(payee.who, 5 * UNIT), 5 * UNIT, "credited");
        vm.stopPrank();
        eq(balanceOf(payee.who), 5 * UNIT, "beneficiary");
        eq(balanceOf(payer.who), 0, "the payer of the tokens");
        eq(token.balanceOf(address(vault)), 5 * UNIT, "tokens held");
    }

    function test_deposit_refuses_zero() public {
        vm.startPrank(payer.who);
        refuses(IVault.ZeroAmount.selector);
        vault.deposit(payer.who, 0);
        refuses(IVault.ZeroAddress.selector);
        vault.deposit(address(0), 1);
        refuses(IVault.TokenTransferFailed.selector);
        vault.deposit(payer.who, 1);
        vm.stopPrank();
    }

    function test_SYM_05a_a_bound_key_may_not_deposit() public {
        bindKey(payer.who, stranger);
        token.mint(stranger.who, 2);
        vm.prank(stranger.who);
        token.approve(address(vault), 2);
        refuses(abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who));
        vm.prank(stranger.who);
        vault.deposit(stranger.who, 1);
        refuses(abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who));
        vm.prank(stranger.who);
        vault.deposit(payer.who, 1);
    }

    function test_SYM_05a_others_may_deposit_for_a_bound_key() public {
        bindKey(payer.who, stranger);
        token.mint(payee.who, 2);
        vm.startPrank(payee.who);
        token.approve(address(vault), 2);
        eq(vault.deposit(stranger.who, 2), 2, "credited");
        vm.stopPrank();
        eq(balanceOf(stranger.who), 2, "balance");
    }

    function test_SYM_01_the_vault_never_holds_more_than_96_bits() public {
        uint96 most = type(uint96).max;
        fund(payer.who, most - 1);
        token.mint(payee.who, 2);
        vm.startPrank(payee.who);
        token.approve(address(vault), 2);
        refuses(abi.encodeWithSelector(IVault.VaultFull.selector, uint256(most) + 1));
        vault.deposit(payee.who, 2);
        eq(vault.deposit(payee.who, 1), 1, "exactly full is allowed");
        vm.stopPrank();
        eq(uint256(balanceOf(payer.who)) + balanceOf(payee.who), most, "sum of credits");
    }

    function test_SYM_01_donations_are_nobodys() public {
        token.mint(address(vault), 7 * UNIT);
        fund(payer.who, UNIT);
        eq(balanceOf(payer.who), UNIT, "only the deposit is credited");
    }

    function testFuzz_SYM_01_deposits_add_up(uint256 first, uint256 second) public {
        uint96 a = uint96(biased(first, 1, type(uint96).max - 1));
        uint96 b = uint96(biased(second, 1, type(uint96).max - a));
        fund(payer.who, a);
        fund(payer.who, b);
        eq(balanceOf(payer.who), uint256(a) + b, "balance");
        eq(token.balanceOf(address(vault)), uint256(a) + b, "held");
    }

    /* ---------- hostile tokens ---------- */

    function hostile(uint96 amount) internal returns (HostileToken bad, IVault own) {
        bad = new HostileToken();
        own = IVault(factory.deploy(address(bad)));
        bad.mint(payer.who, 10 * uint256(amount));
        vm.startPrank(payer.who);
        bad.approve(address(own), type(uint256).max);
        own.deposit(payer.who, amount);
        vm.stopPrank();
    }

    function test_SYM_02_a_fee_credits_what_arrived() public {
        (HostileToken bad, IVault own) = hostile(100);
        bad.become(HostileToken.Mode.Fee);
        vm.prank(payer.who);
        eq(own.deposit(payer.who, 100), 99, "credited");
        (uint96 balance,,) = own.accountOf(payer.who);
        eq(balance, 199, "balance");
        eq(bad.balanceOf(address(own)), 199, "held");
    }

    function test_SYM_02_no_return_value_is_no_failure() public {
        (HostileToken bad, IVault own) = hostile(100);
        bad.become(HostileToken.Mode.NoReturn);
        vm.prank(payer.who);
        eq(own.deposit(payer.who, 50), 50, "credited");
    }

    function test_SYM_02_a_deposit_that_failed_in_any_way_credits_nothing() public {
        (HostileToken bad, IVault own) = hostile(100);
        HostileToken.Mode[6] memory modes = [
            HostileToken.Mode.False,
            HostileToken.Mode.FalseButMoves,
            HostileToken.Mode.TrueButStays,
            HostileToken.Mode.Reverts,
            HostileToken.Mode.HugeReturn,
            HostileToken.Mode.Junk
        ];
        for (uint256 i; i < modes.length; ++i) {
            bad.become(modes[i]);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payer.who);
            own.deposit(payer.who, 50);
            (uint96 balance,,) = own.accountOf(payer.who);
            eq(balance, 100, "balance");
            eq(bad.balanceOf(address(own)), 100, "held");
        }
    }

    function test_SYM_02_a_reentrant_deposit_finds_the_lock() public {
        (HostileToken bad, IVault own) = hostile(100);
        bytes[3] memory calls = [
            abi.encodeCall(own.deposit, (address(bad), 1)),
            abi.encodeCall(own.withdraw, (address(bad), address(bad), 1)),
            abi.encodeCall(own.claim, ("", address(bad)))
        ];
        for (uint256 i; i < calls.length; ++i) {
            bad.callBack(address(own), calls[i]);
            vm.prank(payer.who);
            own.deposit(payer.who, 10);
            yes(bad.calledBack() && !bad.callbackSucceeded(), "the callback ran and was refused");
            eq(bytes32(bytes4(bad.callbackData())), bytes32(IVault.Reentered.selector), "by the lock");
        }
    }

    function test_SYM_02_a_token_without_code_takes_no_deposit() public {
        IVault own = IVault(factory.deploy(address(0xdead)));
        refuses(IVault.TokenTransferFailed.selector);
        own.deposit(payer.who, 1);
    }
}
