// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract RequestUnstakeTest is Fixture {
    function test_SYM_15_one_timer_of_14_days_for_the_whole_stake() public {
        fund(payee.who, 3 * UNIT);
        uint40 until = uint40(NOW + 14 days);
        vm.startPrank(payee.who);
        refuses(abi.encodeWithSelector(IVault.NoStake.selector, payee.who));
        vault.requestUnstake();
        vault.stake(2 * UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.UnstakeRequested(payee.who, until);
        vault.requestUnstake();
        (, uint96 staked, uint40 unbondingAt) = vault.accountOf(payee.who);
        eq(staked, 2 * UNIT, "still staked");
        eq(unbondingAt, until, "timer");
        vm.warp(NOW + 1 days);
        refuses(abi.encodeWithSelector(IVault.StakeLocked.selector, until));
        vault.requestUnstake();
        vm.stopPrank();
    }
}
