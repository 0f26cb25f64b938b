// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Fixture} from "../helpers/Fixture.sol";

/// @notice C16: what an exit costs does not depend on how many others there are. Each exit is measured with nobody
/// else in the vault and with many, and costs the same to the unit.
/// forge-config: default.isolate = true
contract BoundedTest is Fixture {
    uint256 internal constant OTHERS = 100;

    /// @dev What everybody may do to get out, in an order in which each can be done.
    function exits() internal returns (uint256[6] memory gas) {
        bytes memory list = recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, UNIT, 0));
        vault.claimFor(list);
        gas[0] = vm.lastCallGas().gasTotalUsed;
        list = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        vm.prank(payee.who);
        vault.claim(list, payee.who);
        gas[1] = vm.lastCallGas().gasTotalUsed;
        vm.prank(stranger.who);
        vault.requestUnstake();
        gas[2] = vm.lastCallGas().gasTotalUsed;
        vm.warp(EXPIRY);
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, ""));
        gas[3] = vm.lastCallGas().gasTotalUsed;
        vm.prank(payer.who);
        vault.withdraw(payer.who, payer.who, UNIT);
        gas[4] = vm.lastCallGas().gasTotalUsed;
        vm.prank(stranger.who);
        vault.withdrawStake();
        gas[5] = vm.lastCallGas().gasTotalUsed;
    }

    function test_C16_every_exit_costs_the_same_whatever_the_number_of_users() public {
        channel(payer, payee.who, LANE, 10 * UNIT);
        fund(stranger.who, UNIT);
        vm.prank(stranger.who);
        vault.stake(UNIT);
        uint256 start = vm.snapshotState();
        uint256[6] memory few = exits();
        vm.revertToState(start);
        for (uint256 i; i < OTHERS; ++i) {
            Actor memory other = actorOf(uint256(keccak256(abi.encode("other", i))));
            // Each in the way of all three: a payer of the payee, a payee of the payer, a staker.
            channel(other, payee.who, LANE, UNIT);
            channel(payer, other.who, LANE, UNIT);
            fund(other.who, UNIT);
            vm.prank(other.who);
            vault.stake(UNIT);
        }
        uint256[6] memory many = exits();
        for (uint256 i; i < 6; ++i) {
            yes(few[i] > 21_000, "a whole transaction");
            eq(many[i], few[i], "not a unit more");
        }
    }
}
