// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Hostile} from "./Hostile.sol";
import {Ledger} from "./Ledger.sol";
import {Walk} from "./Walk.sol";

/// @notice C17: who reads the logs and the calldata knows the state exactly, after every walk of honest and hostile
/// parties.
/// forge-config: default.fuzz.runs = 5
/// forge-config: deep.fuzz.runs = 200
contract EventsTest is Ledger, Walk {
    uint256 internal constant STEPS = 60;

    Hostile internal parties;

    function testFuzz_SYM_06_C17_events_and_calldata_rebuild_the_state(uint256 seed) public {
        parties = new Hostile();
        vm.recordLogs();
        vm.startStateDiffRecording();
        parties.setUp();
        (subject, coin) = (parties.theVault(), parties.theToken());
        follow();
        for (uint256 i; i < STEPS; ++i) {
            vm.startStateDiffRecording();
            walk(address(parties), uint256(keccak256(abi.encode(seed, i))), 1);
            follow();
        }
        yes(events > STEPS, "there was something to read");
        compare();
    }

    /// @dev Calls first: the logs refer to them.
    function follow() internal {
        readCalls(vm.stopAndReturnStateDiff());
        readLogs(vm.getRecordedLogs());
    }

    function compare() internal {
        for (uint256 i; i < 8; ++i) {
            address who = parties.accounts(i);
            (uint96 balance, uint96 staked, uint40 unbondingAt) = subject.accountOf(who);
            eq(purses[who].balance, balance, "balance");
            eq(purses[who].stake, staked, "stake");
            eq(purses[who].unbondingAt, unbondingAt, "unbonding at");
            compareKey(who);
        }
        (address fresh,) = parties.lastBound();
        compareKey(fresh);
        for (uint256 c; c < parties.CHANNELS(); ++c) {
            compareChannel(c);
        }
        eq(burned, subject.burnedStake(), "burned stake");
        yes(burned != 0, "and there is some");
    }

    function compareKey(address key) internal {
        (address owner, bool isRevoked) = subject.ownerOfKey(key);
        eq(owners[key], owner, "owner");
        yes(revoked[key] == isRevoked, "revoked");
    }

    function compareChannel(uint256 c) internal {
        (Hostile.Actor memory payer,, Hostile.Actor memory payee, bytes32 lane) = parties.lines(c);
        (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry) = subject.channelOf(payer.who, payee.who, lane);
        Line storage line = rebuilt[idOf(payer.who, payee.who, lane)];
        eq(line.allocated, allocated, "allocated");
        eq(line.claimed, claimed, "claimed");
        eq(line.epoch, epoch, "epoch");
        eq(line.expiry, expiry, "expiry");
    }
}
