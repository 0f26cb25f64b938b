// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract SlashTest is Fixture {
    bytes32 internal constant ORDER = keccak256("order");

    function stakeAll(address who, uint96 amount) internal {
        fund(who, amount);
        vm.prank(who);
        vault.stake(amount);
    }

    function slash(bytes32 order) internal returns (uint96, uint96) {
        vm.prank(address(court));
        return vault.slash(payee.who, order, stranger.who);
    }

    function test_SYM_12_only_the_court_slashes() public {
        stakeAll(payee.who, UNIT);
        refuses(abi.encodeWithSelector(IVault.NotCourt.selector, stranger.who));
        vm.prank(stranger.who);
        vault.slash(payee.who, ORDER, stranger.who);
    }

    function test_SYM_12_the_whole_stake_goes_and_the_reporter_gets_five_percent() public {
        stakeAll(payee.who, 100 * UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Slashed(payee.who, ORDER, stranger.who, 100 * UNIT, 5 * UNIT);
        (uint96 taken, uint96 reward) = slash(ORDER);
        eq(taken, 100 * UNIT, "taken");
        eq(reward, 5 * UNIT, "reward");
        eq(stakeOf(payee.who), 0, "stake");
        eq(balanceOf(payee.who), 0, "nothing comes back");
        eq(balanceOf(stranger.who), 5 * UNIT, "reporter");
        eq(vault.burnedStake(), 95 * UNIT, "burned");
        yes(vault.isSlashed(payee.who, ORDER), "recorded");
    }

    function test_SYM_12_the_reward_has_a_limit() public {
        stakeAll(payee.who, 2000 * UNIT + 19);
        (, uint96 reward) = slash(ORDER);
        eq(reward, 100 * UNIT, "at the limit");
        stakeAll(payee.who, 1_000_000 * UNIT);
        (, reward) = slash(keccak256("second"));
        eq(reward, 100 * UNIT, "above the limit");
        stakeAll(payee.who, 2000 * UNIT - 1);
        (, reward) = slash(keccak256("third"));
        eq(reward, 100 * UNIT - 1, "just below");
        stakeAll(payee.who, 19);
        (, reward) = slash(keccak256("fourth"));
        eq(reward, 0, "rounded down");
    }

    function test_SYM_12_evidence_counts_once_and_stays_good_while_nothing_is_staked() public {
        refuses(abi.encodeWithSelector(IVault.NoStake.selector, payee.who));
        slash(ORDER);
        yes(!vault.isSlashed(payee.who, ORDER), "not recorded");
        stakeAll(payee.who, UNIT);
        slash(ORDER);
        stakeAll(payee.who, UNIT);
        refuses(abi.encodeWithSelector(IVault.AlreadySlashed.selector, payee.who, ORDER));
        slash(ORDER);
        eq(stakeOf(payee.who), UNIT, "new stake is safe from old evidence");
        slash(keccak256("another order"));
        eq(stakeOf(payee.who), 0, "another offence takes it");
    }

    function test_SYM_15_C13_unbonding_stake_can_be_slashed_until_it_is_paid_out() public {
        stakeAll(payee.who, UNIT);
        vm.prank(payee.who);
        vault.requestUnstake();
        vm.warp(NOW + 15 days);
        slash(ORDER);
        (, uint96 staked, uint40 unbondingAt) = vault.accountOf(payee.who);
        eq(staked, 0, "stake");
        eq(unbondingAt, 0, "timer");
        refuses(abi.encodeWithSelector(IVault.NoStake.selector, payee.who));
        vm.prank(payee.who);
        vault.withdrawStake();
    }

    function test_SYM_12_a_slash_touches_no_balance_and_no_channel() public {
        stakeAll(payee.who, UNIT);
        fund(payee.who, 3 * UNIT);
        channel(payer, payee.who, LANE, 5 * UNIT);
        claimOne(payer, payee.who, LANE, UNIT, 0);
        slash(ORDER);
        eq(balanceOf(payee.who), 4 * UNIT, "balance");
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 0), UNIT, "vouchers stay good");
    }

    function testFuzz_SYM_12_what_is_taken_is_rewarded_or_burned(uint256 raw) public {
        uint96 amount = uint96(biased(raw, 1, type(uint96).max));
        stakeAll(payee.who, amount);
        (uint96 taken, uint96 reward) = slash(ORDER);
        eq(taken, amount, "taken");
        eq(uint256(vault.burnedStake()) + reward, amount, "conserved");
        atMost(reward, 100e18, "limit");
        atMost(uint256(reward) * 20, amount, "five percent");
    }
}
