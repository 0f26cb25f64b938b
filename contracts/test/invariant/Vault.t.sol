// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Assertions} from "../helpers/Assertions.sol";
import {Hostile} from "./Hostile.sol";
import {Walk} from "./Walk.sol";

/// @notice The vault under honest and hostile parties at once. What must be true of a state stands here; what must be
/// true of a step stands in Parties, which compares every channel after every call.
contract VaultInvariantTest is Assertions, Walk {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Hostile internal parties;

    function setUp() public {
        parties = new Hostile();
        parties.setUp();
    }

    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(parties);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory list) {
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(parties), selectors());
    }

    function invariant_SYM_01_C1_C2_the_vault_holds_exactly_what_it_owes_and_was_given() public {
        uint256 held = parties.held();
        atMost(parties.owed(), held, "C1: liabilities");
        eq(held, parties.deposited() + parties.donated() - parties.withdrawn(), "C2: deposits less payouts");
        eq(parties.owed() + parties.donated(), held, "donations are owed to nobody");
    }

    /// @dev Every full run has paid, clamped, settled by quorum, released with a refund, and slashed. Then everybody
    /// leaves.
    function afterInvariant() public {
        if (parties.steps() >= 60) facts("paid", "clamped", "quorum paid", "refunded", "slashed");
        parties.everybodyLeaves();
    }

    function facts(bytes32 a, bytes32 b, bytes32 c, bytes32 d, bytes32 e) internal {
        bytes32[5] memory names = [a, b, c, d, e];
        for (uint256 i; i < 5; ++i) {
            yes(parties.seen(names[i]) != 0, string(abi.encodePacked("never happened: ", names[i])));
        }
    }

    /// @dev An invariant holds trivially where nothing happens: a fixed random walk must have seen every fact, and
    /// called every function.
    function test_SYM_09_C3_C6_the_parties_reach_everything() public {
        walk(address(parties), 7, 800);
        facts("paid", "paid in full", "clamped", "voucher", "voucher kept");
        facts("claim out", "quorum", "quorum paid", "release", "early release");
        facts("refunded", "revoked", "stake withdrawn", "slashed", "register");
        facts("replay all", "steal claim", "false quorum", "replay quorum", "overfill");
        facts("meddle", "squat", "overgive", "unstake early", "reuse evidence");
        invariant_SYM_01_C1_C2_the_vault_holds_exactly_what_it_owes_and_was_given();
        parties.everybodyLeaves();
    }
}
