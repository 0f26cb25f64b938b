// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract WithdrawStakeTest is Fixture {
    function test_SYM_15_withdrawStake_pays_after_the_timer() public {
        fund(payee.who, 3 * UNIT);
        uint40 until = uint40(NOW + 14 days);
        vm.startPrank(payee.who);
        refuses(abi.encodeWithSelector(IVault.NoStake.selector, payee.who));
        vault.withdrawStake();
        vault.stake(2 * UNIT);
        refuses(IVault.UnstakeNotRequested.selector);
        vault.withdrawStake();
        vault.requestUnstake();
        vm.warp(until - 1);
        refuses(abi.encodeWithSelector(IVault.StakeLocked.selector, until));
        vault.withdrawStake();
        vm.warp(until);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.StakeWithdrawn(payee.who, 2 * UNIT);
        eq(vault.withdrawStake(), 2 * UNIT, "amount");
        (uint96 balance, uint96 staked, uint40 unbondingAt) = vault.accountOf(payee.who);
        eq(balance, 3 * UNIT, "balance");
        eq(staked, 0, "stake");
        eq(unbondingAt, 0, "timer");
        refuses(abi.encodeWithSelector(IVault.NoStake.selector, payee.who));
        vault.withdrawStake();
        vm.stopPrank();
    }

    /// @dev Whoever comes late gets the stake as well as whoever comes at the second.
    function test_SYM_15_withdrawStake_pays_at_any_time_after_the_timer() public {
        _withdrawLate(1);
        _withdrawLate(400 days);
    }

    function _withdrawLate(uint256 late) private {
        fund(payee.who, UNIT);
        vm.startPrank(payee.who);
        vault.stake(UNIT);
        vault.requestUnstake();
        vm.warp(block.timestamp + 14 days + late);
        eq(vault.withdrawStake(), UNIT, "amount");
        vm.stopPrank();
    }
}
