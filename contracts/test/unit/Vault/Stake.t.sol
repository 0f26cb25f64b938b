// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract StakeTest is Fixture {
    function test_SYM_15_stake_comes_from_the_free_balance() public {
        fund(payee.who, 3 * UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Staked(payee.who, 2 * UNIT);
        vm.startPrank(payee.who);
        vault.stake(2 * UNIT);
        eq(balanceOf(payee.who), UNIT, "balance");
        eq(stakeOf(payee.who), 2 * UNIT, "stake");
        refuses(abi.encodeWithSelector(IVault.InsufficientBalance.selector, UNIT, UNIT + 1));
        vault.stake(UNIT + 1);
        refuses(abi.encodeWithSelector(IVault.InsufficientBalance.selector, UNIT, 2 * UNIT));
        vault.withdraw(payee.who, payee.who, 2 * UNIT);
        vm.stopPrank();
    }

    function test_SYM_15_stake_cancels_a_running_timer() public {
        fund(payee.who, 3 * UNIT);
        vm.startPrank(payee.who);
        vault.stake(UNIT);
        vault.requestUnstake();
        vm.warp(NOW + 13 days);
        vault.stake(0);
        (,, uint40 unbondingAt) = vault.accountOf(payee.who);
        eq(unbondingAt, 0, "no timer");
        vm.warp(NOW + 15 days);
        refuses(IVault.UnstakeNotRequested.selector);
        vault.withdrawStake();
        vault.requestUnstake();
        // More stake restarts everything as well: nobody dodges the timer by staking again.
        vault.stake(UNIT);
        refuses(IVault.UnstakeNotRequested.selector);
        vault.withdrawStake();
        vm.stopPrank();
    }

    function test_SYM_15_nothing_staked_is_no_stake() public {
        vm.startPrank(payee.who);
        refuses(IVault.ZeroAmount.selector);
        vault.stake(0);
        vm.stopPrank();
    }
}
