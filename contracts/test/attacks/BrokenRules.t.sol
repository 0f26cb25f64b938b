// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IVault, Result} from "../../src/interfaces/IVault.sol";
import {Fixture} from "../helpers/Fixture.sol";

/// @notice The rules that docs/protocol.md §7 says were tried on paper and broken: each attack is run against the rule
/// that stands instead, and earns nothing. What the chain cannot see is only named here.
///
///     sequence numbers in vouchers: kill           below
///     ... settling one order strands a voucher     below
///     ... orders in flight together paid twice     below
///     a quorum without Commits                     below; the waiting itself is crate symbolon-quorum's
///     a hidden roster                              below
///     unbounded fuel, a quorum of one              unit SettleQuorum: fuel_above_the_maximum, a_quorum_below_two_...
///     several reserves with a small quorum         unit SettleQuorum: two_quorums_must_share_a_member; and below
///     registering keys without proof               unit Bind: a_key_cannot_be_squatted
///     registering modules without proof            below
///     a mismatch of Commit and answer as evidence  below
///     two Commits as evidence                      below
///     a duty to reveal                             nothing on chain asks for one: below
///     slashing dissent by a jury                   unit Court: a_dissent_settled_...; and below
///     cheapest first for replicas                  not seen by the chain: crate symbolon-market
contract BrokenRulesTest is Fixture {
    uint96 internal constant DEEP = 100 * UNIT;

    function settlement(Plan memory p, uint8 members) internal view returns (bytes memory) {
        return abi.encodeCall(
            vault.settleQuorum,
            (p.order, orderSignature(p), p.fuel, p.resultsRoot, rowsOf(p, members), members, othersOf(p, members))
        );
    }

    function payeeOf(Plan memory p, uint256 i) internal pure returns (address) {
        return p.leaves[i].provider.who;
    }

    function lineOf(Plan memory p, uint256 i) internal pure returns (bytes32) {
        return laneFor(0, p.leaves[i].laneNumber);
    }

    /* ---------- sequence numbers ---------- */

    /// @dev The payer's last word, over the smallest amount, submitted first: with sequence numbers it killed every
    /// voucher and the fallback. Nothing in an instrument outranks a higher total now.
    function test_SYM_09_the_payers_last_word_kills_no_voucher_and_no_quorum() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory fallback_ = settlement(p, 7);
        for (uint256 i; i < 3; ++i) {
            claimOne(payer, payeeOf(p, i), lineOf(p, i), 1, 0);
            claimOne(payer, payeeOf(p, i), lineOf(p, i), 0, 0);
            claimOne(payer, payeeOf(p, i), lineOf(p, i), 1, type(uint24).max);
        }
        eq(claimOne(payer, payeeOf(p, 0), lineOf(p, 0), 3 * UNIT, 0), 3 * UNIT - 1, "the voucher pays");
        (bool ok,) = address(vault).call(fallback_);
        yes(ok, "and so does the fallback");
        for (uint256 i; i < 3; ++i) {
            eq(balanceOf(payeeOf(p, i)), 7 * UNIT, "in full");
        }
    }

    /// @dev Two orders of seven each. Whichever settles first, the voucher of the other still brings the total to 14.
    function test_SYM_09_settling_one_order_strands_no_voucher_of_another() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        uint256 start = vm.snapshotState();
        for (uint256 first; first < 2; ++first) {
            Plan memory second = laterOrder(p);
            if (first == 0) settle(second, 7);
            claimOne(payer, payeeOf(p, 0), lineOf(p, 0), 7 * UNIT, 0);
            if (first == 1) settle(second, 7);
            eq(claimedOf(payer.who, payeeOf(p, 0), lineOf(p, 0)), 14 * UNIT, "both orders are paid");
            for (uint256 i; i < 3; ++i) {
                eq(balanceOf(payeeOf(p, i)), 14 * UNIT, "what was owed rode along");
                p.leaves[i].owed = 0;
            }
            p.order.roster = rosterOf(p.leaves);
            vm.revertToState(start);
        }
    }

    /// @dev The order after `p`: what `p` came to is owed.
    function laterOrder(Plan memory p) internal view returns (Plan memory) {
        uint256 price = vault.priceOf(uint96(UNIT), uint96(2 * UNIT), p.fuel);
        for (uint256 i; i < p.leaves.length; ++i) {
            p.leaves[i].owed += uint96(price);
        }
        p.order.roster = rosterOf(p.leaves);
        p.order.work = keccak256(abi.encode(p.order.work));
        return p;
    }

    /// @dev Two orders signed on one state of the channel name one total, and pay it once.
    function test_SYM_09_orders_in_flight_together_are_not_paid_twice() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        eq(settle(p, 7), 3 * 7 * UNIT, "one order");
        p.order.work = keccak256("the other order");
        eq(settle(p, 7), 0, "the other says nothing new");
        eq(claimOne(payer, payeeOf(p, 0), lineOf(p, 0), 7 * UNIT, 0), 0, "nor does the voucher for either");
    }

    /* ---------- quorums ---------- */

    /// @dev A replica that waited and copied root and fuel signs the same Result; but the others signed the seals of
    /// those who committed, and its own is not among them.
    function test_SYM_08_waiting_and_copying_earns_nothing_without_ones_seal() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes32 among = vault.hashResult(resultOf(p, 3));
        bytes memory rows = rowsOf(p, 3);
        Leaf memory copier = p.leaves[2];
        rows = bytes.concat(rows, leafBytes(copier), copier.nonce, sign(copier.provider.pk, among));
        bytes memory signature = orderSignature(p);
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 7, new bytes32[](0));
        // Instead of one of those who committed.
        rows =
            bytes.concat(part(rowsOf(p, 3), 0, 157), leafBytes(copier), copier.nonce, sign(copier.provider.pk, among));
        bytes32[] memory others = othersOf(p, 5);
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 5, others);
        eq(settle(p, 3), 2 * 7 * UNIT, "those who committed");
        eq(balanceOf(copier.provider.who), 0, "the copier");
    }

    /// @dev The roster is open to its members: any one of them, with what every member has, settles alone.
    function test_SYM_08_every_member_can_assemble_the_quorum() public {
        Plan memory p = plan(5, 3, DEEP, bytes22(0));
        bytes memory data = settlement(p, 7);
        uint256 start = vm.snapshotState();
        for (uint256 i; i < 3; ++i) {
            vm.prank(payeeOf(p, i));
            (bool ok, bytes memory paid) = address(vault).call(data);
            yes(ok, "a member submits");
            eq(abi.decode(paid, (uint96)), 3 * 7 * UNIT, "everybody is paid");
            vm.revertToState(start);
        }
    }

    /// @dev Two actives and two reserves with a quorum of two would give two disjoint quorums and two results paid in
    /// full. No order of any shape has two disjoint quorums.
    function test_SYM_08a_no_shape_has_two_disjoint_quorums() public {
        for (uint8 replicas = 2; replicas <= 8; ++replicas) {
            Plan memory p = plan(replicas, 2, replicas == 8 ? DEEP : 0, bytes22(0));
            for (uint8 quorum = 2; quorum <= replicas; ++quorum) {
                p.order.quorum = quorum;
                uint8 members = uint8((1 << quorum) - 1);
                if (2 * quorum <= replicas) {
                    bytes memory why = abi.encodeWithSelector(IVault.QuorumNotMajority.selector, quorum, replicas);
                    settleRefused(p, members, why);
                } else {
                    settle(p, members);
                    atMost(replicas - quorum, quorum - 1, "the rest is no quorum");
                }
            }
        }
        eq(balanceOf(plan(8, 5, 0, bytes22(0)).leaves[0].provider.who), 7 * UNIT, "good shapes paid");
    }

    /* ---------- registries ---------- */

    /// @dev There is no registry to squat: the author of a payment stands in the lane that payer and payee signed, and
    /// a lane that names somebody else is another channel, with nothing in it.
    function test_SYM_16_nobody_registers_for_anothers_royalty() public {
        bytes32 theirs = lane(author, 1000, 1);
        bytes32 squatted = lane(stranger.who, 1000, 1);
        channel(payer, payee.who, theirs, 10 * UNIT);
        eq(claimOne(payer, payee.who, squatted, 10 * UNIT, 0), 0, "nothing in it");
        bytes memory signed = row(payer.pk, payee.who, theirs, 10 * UNIT, 0);
        eq(vault.claimFor(recordsFor(payee.who, squatted, signed)), 0, "the signature names its lane");
        vault.claimFor(recordsFor(payee.who, theirs, signed));
        eq(balanceOf(author), UNIT, "the author");
        eq(balanceOf(stranger.who), 0, "the squatter");
    }

    /* ---------- evidence ---------- */

    bytes32 internal constant COMMIT = keccak256("Commit(bytes32 order,bytes32 seal)");

    function signedCommit(Actor memory who, bytes32 order, bytes32 seal) internal view returns (bytes memory) {
        bytes32 structHash = keccak256(abi.encode(COMMIT, order, seal));
        return sign(who.pk, keccak256(abi.encodePacked(hex"1901", vault.DOMAIN_SEPARATOR(), structHash)));
    }

    /// @dev Commits that do not fit, two of them, one without an answer: the court knows none of it.
    function test_SYM_12_commits_are_no_evidence_of_anything() public {
        staked(payee.who);
        bytes32 order = keccak256("order");
        bytes memory one_ = signedCommit(payee, order, keccak256("one seal"));
        bytes memory two = signedCommit(payee, order, keccak256("another seal"));
        Result memory result = Result(order, keccak256("one seal"), 0, bytes32(0));
        Result memory other = Result(order, keccak256("another seal"), 0, bytes32(0));
        bytes memory answer = sign(payee.pk, vault.hashResult(result));
        bytes memory why = abi.encodeWithSelector(ICourt.BadEvidence.selector, 1);
        accuse(result, one_, other, two, why);
        accuse(result, answer, other, two, why);
        accuse(result, one_, other, answer, why);
        accuse(result, answer, other, "", why);
        eq(stakeOf(payee.who), DEEP, "a crash, a forged salt and silence cost no stake");
    }

    /// @dev Against a quorum, with its whole settlement as evidence, a dissenter loses the fee alone.
    function test_SYM_13_no_majority_takes_a_dissenters_stake() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        Actor memory dissenter = p.leaves[2].provider;
        staked(dissenter.who);
        Result memory majority = resultOf(p, 3);
        settle(p, 3);
        Result memory dissent = Result(majority.order, keccak256("dissent"), majority.fuel, bytes32(0));
        bytes memory byDissenter = sign(dissenter.pk, vault.hashResult(dissent));
        for (uint256 i; i < 2; ++i) {
            bytes memory byMember = sign(p.leaves[i].provider.pk, vault.hashResult(majority));
            bytes memory why = abi.encodeWithSelector(ICourt.BadEvidence.selector, 1);
            accuse(majority, byMember, dissent, byDissenter, why);
            accuse(dissent, byDissenter, majority, byMember, why);
            refuses(abi.encodeWithSelector(IVault.NotCourt.selector, payeeOf(p, i)));
            vm.prank(payeeOf(p, i));
            vault.slash(dissenter.who, majority.order, payeeOf(p, i));
        }
        eq(stakeOf(dissenter.who), DEEP, "stake");
        eq(claimOne(payer, dissenter.who, lineOf(p, 2), UNIT, 0), UNIT, "and it is paid for what it is owed");
    }

    function staked(address who) internal {
        fund(who, DEEP);
        vm.prank(who);
        vault.stake(DEEP);
    }

    /// @dev Refused for `why`, or because whoever the signature recovers to has nothing to do with it.
    function accuse(Result memory a, bytes memory sa, Result memory b, bytes memory sb, bytes memory why) internal {
        refuses(why);
        court.slash(vault, a, sa, b, sb);
    }

    function part(bytes memory data, uint256 from, uint256 to) internal pure returns (bytes memory cut) {
        cut = new bytes(to - from);
        for (uint256 i = from; i < to; ++i) {
            cut[i - from] = data[i];
        }
    }
}
