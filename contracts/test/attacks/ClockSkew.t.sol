// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Fixture} from "../helpers/Fixture.sol";

/// @notice C18: a block whose time is off by 15 seconds changes nothing, unless one of the declared edges lies between:
/// a channel's expiry (release), the farthest expiry (open), an order's settle-by, the end of a stake's timer.
contract ClockSkewTest is Fixture {
    uint256 internal constant SKEW_SECS = 15;

    bytes[] internal calls;
    address[] internal callers;
    uint256[] internal edges;

    function setUp() public override {
        super.setUp();
        channel(payer, payee.who, LANE, 10 * UNIT);
        fund(payer.who, 10 * UNIT);
        fund(stranger.who, UNIT);
        vm.startPrank(stranger.who);
        vault.stake(UNIT);
        vault.requestUnstake();
        vm.stopPrank();
        Plan memory p = plan(3, 2, 10 * UNIT, bytes22(0));
        bytes memory settlement = abi.encodeCall(
            vault.settleQuorum, (p.order, orderSignature(p), p.fuel, p.resultsRoot, rowsOf(p, 7), 7, othersOf(p, 7))
        );
        uint40 farthest = uint40(NOW + 405 days);
        bytes memory list = recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, UNIT, 0));
        add(payer.who, abi.encodeCall(vault.release, (payer.who, LANE, closing(payee.who, ""))), EXPIRY);
        add(payer.who, abi.encodeCall(vault.open, (payer.who, EXPIRY, one(LANE, payee.who, 1))), EXPIRY);
        add(payer.who, abi.encodeCall(vault.open, (payer.who, farthest, one(LANE, payee.who, 1))), NOW + 5 days);
        add(author, settlement, uint256(p.order.settleBy) + 1);
        add(stranger.who, abi.encodeCall(vault.withdrawStake, ()), NOW + 14 days);
        // These have no edge at all.
        add(author, abi.encodeCall(vault.claimFor, (list)), 0);
        add(payer.who, abi.encodeCall(vault.withdraw, (payer.who, payer.who, 1)), 0);
        add(stranger.who, abi.encodeCall(vault.stake, (0)), 0);
    }

    /// @dev The farthest expiry is refused before its edge, everything else on one side of its own.
    function add(address who, bytes memory data, uint256 edge) internal {
        callers.push(who);
        calls.push(data);
        edges.push(edge);
    }

    /// @dev What one call does at one time: whether it goes through, what it answers, and everybody's money after.
    function outcome(uint256 i, uint256 time) internal returns (bytes32 seen) {
        uint256 start = vm.snapshotState();
        vm.warp(time);
        vm.prank(callers[i]);
        (bool ok, bytes memory answer) = address(vault).call(calls[i]);
        // Refusals name the time that they compare with; only that they refuse is compared here.
        seen = keccak256(abi.encode(ok, ok ? answer : bytes(""), money()));
        vm.revertToState(start);
    }

    function money() internal view returns (bytes32) {
        (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry) = vault.channelOf(payer.who, payee.who, LANE);
        return keccak256(
            abi.encode(
                balanceOf(payer.who),
                balanceOf(payee.who),
                balanceOf(stranger.who),
                stakeOf(stranger.who),
                token.balanceOf(address(vault)),
                abi.encode(allocated, claimed, epoch, expiry)
            )
        );
    }

    function testFuzz_C18_15_seconds_change_nothing_away_from_a_declared_edge(uint256 which, uint256 raw) public {
        uint256 i = which % calls.length;
        uint256 edge = edges[i];
        uint256 time = biased(raw, NOW + SKEW_SECS, NOW + 40 days);
        if (edge != 0 && raw % 3 == 0) time = edge + biased(raw / 3, 0, 8 * SKEW_SECS) - 4 * SKEW_SECS;
        bytes32 now_ = outcome(i, time);
        if (edge == 0 || time + SKEW_SECS < edge || time >= edge + SKEW_SECS) {
            eq(outcome(i, time - SKEW_SECS), now_, "early");
            eq(outcome(i, time + SKEW_SECS), now_, "late");
        }
    }

    /// @dev And each edge is where it is declared, to the second.
    function test_C18_every_declared_edge_is_exact() public {
        for (uint256 i; i < calls.length; ++i) {
            if (edges[i] == 0) continue;
            yes(outcome(i, edges[i] - 1) != outcome(i, edges[i]), "the edge");
            eq(outcome(i, edges[i] - 1), outcome(i, edges[i] - SKEW_SECS), "before it");
            eq(outcome(i, edges[i]), outcome(i, edges[i] + SKEW_SECS), "after it");
        }
    }
}
