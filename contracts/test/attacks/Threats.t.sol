// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {Bind, IVault, Result} from "../../src/interfaces/IVault.sol";
import {Fixture} from "../helpers/Fixture.sol";

/// @notice The threats of docs/protocol.md §4 that contracts have to meet, one after another. Where another test shows
/// it already, the table names it; the others are below, in the same order.
///
///     hostile vouchers of every boundary value    invariant/Permutations: any_schedule_ends_with_the_same_claimed
///       before, between and after honest ones     invariant/Vault: voucher, voucherKept, replay; and below
///     any permutation with repetition             invariant/Permutations, of 12 instruments and 4 top-ups
///     orders of an old epoch                      below
///     copy without a commit, two seals            unit SettleQuorum: a_copied_result_without_its_own_seal_...,
///                                                 seals_bind_exactly_the_rows_settled_with, any_byte_changed_...
///     late seal                                   not seen by the chain: crate symbolon-quorum
///     fuel above maximum                          unit SettleQuorum: fuel_above_the_maximum
///     two quorums of one order                    unit SettleQuorum: two_quorums_must_share_a_member; and below
///     one provider twice                          unit SettleQuorum: one_provider_counts_once
///     a shared deposit spent twice                unit Open: a_deposit_is_not_spent_twice; PayMany, Withdraw likewise
///     replay across chains, vaults, channels      unit ClaimFor: no_replay_across_...; and below for the others
///       and epochs                                unit ClaimFor: another_epoch_pays_nothing; and below
///     malleable and zero signatures               unit Signatures; and below, wherever a signature is taken
///     squatted keys                               unit Bind: a_key_cannot_be_squatted
///     redirected permits                          unit DepositWithPermit: a_redirected_permit_...
///     re-entrant, lying, fee-taking tokens        attacks/HostileTokens
///     restake to dodge a timer                    unit Stake: stake_cancels_a_running_timer, RequestUnstake; and below
///     evidence used twice, equal results          unit Court: evidence_is_used_once, equal_results_...
///     a stranger extending an expiry              unit Open: a_stranger_cannot_extend_or_top_up
///     requestor silent                            unit SettleQuorum: a_quorum_pays_..._without_the_requestor
///     requestor settling low                      below
///     requestor withdrawing while owing           unit Withdraw: what_is_not_earmarked_...; Release: before_the_expiry_...
///     requestor filling the roster                below
///     provider copying, sending junk              unit SettleQuorum: a_dissenter_is_unpaid_...; as for commits
///     provider equivocating                       unit Court; and below, with a quorum
///     provider withholding, crashing, stalling    unit SettleQuorum: every_subset_of_quorum_size_settles
///     cheap sybils                                unit Register: a_registration_is_the_stakers_own; the rest is the draw
///     reorganised epochs and earmarks             crates symbolon-settlement and symbolon-channel; epochs below
///     huge batches, dust                          unit ClaimFor: a_header_of_255_rows_...; and below
contract ThreatsTest is Fixture {
    uint96 internal constant DEEP = 100 * UNIT;

    /* ---------- vouchers ---------- */

    function test_SYM_09_C4_hostile_vouchers_around_an_honest_one_change_nothing() public {
        uint96[8] memory totals = [uint96(0), 1, UNIT, 2 * UNIT - 1, 2 * UNIT, 2 * UNIT + 1, 0, 1];
        for (uint256 before; before < totals.length; ++before) {
            bytes32 own = lane(address(0), 0, uint80(before + 10));
            channel(payer, payee.who, own, 2 * UNIT);
            claimOne(payer, payee.who, own, totals[before], 0);
            claimOne(payer, payee.who, own, 2 * UNIT - 1, 0);
            for (uint256 later; later < totals.length; ++later) {
                claimOne(payer, payee.who, own, totals[later], 0);
            }
            eq(claimedOf(payer.who, payee.who, own), 2 * UNIT, "never less than the honest one is worth");
        }
        eq(balanceOf(payee.who), totals.length * 2 * UNIT, "and never more than was earmarked");
    }

    function test_SYM_09_the_largest_voucher_takes_no_other_channel() public {
        channel(payer, payee.who, LANE, UNIT);
        channel(payer, stranger.who, LANE, UNIT);
        fund(payer.who, UNIT);
        eq(claimOne(payer, payee.who, LANE, type(uint96).max, 0), UNIT, "its own earmark");
        eq(balanceOf(payer.who), UNIT, "the free balance is the owner's");
        eq(claimOne(payer, stranger.who, LANE, UNIT, 0), UNIT, "the other's earmark is the other's");
    }

    /* ---------- epochs ---------- */

    function test_SYM_04_orders_and_vouchers_of_an_old_epoch_pay_nothing() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory old = settlement(p, 7);
        bytes[] memory vouchers = new bytes[](3);
        for (uint256 i; i < 3; ++i) {
            vouchers[i] = voucherFor(p.leaves[i], DEEP, 0);
            release(p.leaves[i]);
        }
        for (uint256 i; i < 3; ++i) {
            channel(payer, p.leaves[i].provider.who, laneFor(0, p.leaves[i].laneNumber), DEEP);
        }
        yes(send(old), "the rows count");
        for (uint256 i; i < 3; ++i) {
            eq(vault.claimFor(vouchers[i]), 0, "an old voucher");
            eq(balanceOf(p.leaves[i].provider.who), 0, "nobody is paid twice for one order");
            p.leaves[i].epoch = 1;
        }
        p.order.roster = rosterOf(p.leaves);
        eq(settle(p, 7), 3 * 7 * UNIT, "an order of this epoch pays");
    }

    function test_SYM_04_a_consent_to_release_is_of_one_epoch() public {
        channel(payer, payee.who, LANE, UNIT);
        bytes memory first = consent(payee, payer.who, LANE, 0);
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, first));
        channel(payer, payee.who, LANE, UNIT);
        refuses(IVault.BadSignature.selector);
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, first));
    }

    /* ---------- two quorums of one order ---------- */

    function test_SYM_08a_two_quorums_of_one_result_pay_each_replica_once() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        eq(settle(p, 3), 2 * 7 * UNIT, "the first two");
        eq(settle(p, 6), 7 * UNIT, "the one who was missing");
        eq(settle(p, 5), 0, "everybody was paid");
        for (uint256 i; i < 3; ++i) {
            eq(balanceOf(p.leaves[i].provider.who), 7 * UNIT, "C14: once");
        }
    }

    /// @dev Two quorums for two results share a replica, which signed both. It is paid the higher once, and slashed.
    function test_SYM_12_two_quorums_of_two_results_show_who_equivocated() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        Leaf memory both = p.leaves[1];
        fund(both.provider.who, DEEP);
        vm.prank(both.provider.who);
        vault.stake(DEEP);
        Result memory first = resultOf(p, 3);
        eq(settle(p, 3), 2 * 7 * UNIT, "one result");
        p.resultsRoot = keccak256("another");
        p.fuel = 4e9;
        Result memory second = resultOf(p, 6);
        eq(settle(p, 6), 2 * UNIT + 9 * UNIT, "another: its difference, and the third's price");
        eq(claimedOf(payer.who, both.provider.who, laneFor(0, both.laneNumber)), 9 * UNIT, "the higher, not the sum");
        bytes memory a = sign(both.provider.pk, vault.hashResult(first));
        bytes memory b = sign(both.provider.pk, vault.hashResult(second));
        (address guilty, uint96 taken,) = court.slash(vault, first, a, second, b);
        eq(guilty, both.provider.who, "the one in both");
        eq(taken, DEEP, "the whole stake");
    }

    /* ---------- replay ---------- */

    /// @dev The other vault has the same token, deposits, channels and stakes: only the domain differs.
    function test_SYM_05_nothing_signed_counts_in_another_vault_or_on_another_chain() public {
        IVault here = vault;
        vault = newVault(address(token), address(court));
        plenty();
        IVault other = vault;
        vault = here;
        bytes[6] memory calls = everything(plenty());
        bytes32 before = stateOf(here);
        bytes32 beforeThere = stateOf(other);
        for (uint256 i; i < 6; ++i) {
            bool ok = sendTo(other, i, i == 4 ? evidence(other) : calls[i]);
            yes(i == 0 ? ok : !ok, "another vault: vouchers pay nothing, the rest is refused");
        }
        vm.chainId(block.chainid + 1);
        for (uint256 i; i < 6; ++i) {
            bool ok = sendTo(here, i, calls[i]);
            yes(i == 0 ? ok : !ok, "another chain: vouchers pay nothing, the rest is refused");
        }
        eq(stateOf(here), before, "this vault's money stays");
        eq(stateOf(other), beforeThere, "and the other's");
        vm.chainId(block.chainid - 1);
        for (uint256 i; i < 6; ++i) {
            yes(sendTo(here, i, calls[i]), "where it was signed, each counts");
        }
    }

    function plenty() internal returns (Plan memory p) {
        p = plan(3, 2, DEEP, bytes22(0));
        channel(payer, payee.who, LANE, DEEP);
        fund(payee.who, UNIT);
        vm.prank(payee.who);
        vault.stake(UNIT);
    }

    /// @dev One of each: voucher, two quorums, consent to be bound, evidence, and last, consent to a release.
    function everything(Plan memory p) internal view returns (bytes[6] memory calls) {
        calls[0] = abi.encodeCall(vault.claimFor, recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, UNIT, 0)));
        calls[1] = settlement(p, 7);
        calls[2] = settlement(p, 3);
        calls[3] =
            abi.encodeCall(vault.bind, (stranger.who, sign(stranger.pk, vault.hashBind(Bind(actor("wallet").who)))));
        calls[4] = evidence(vault);
        calls[5] =
            abi.encodeCall(vault.release, (payer.who, LANE, closing(payee.who, consent(payee, payer.who, LANE, 0))));
    }

    function sendTo(IVault to, uint256 i, bytes memory data) internal returns (bool ok) {
        vm.prank(i == 3 ? actor("wallet").who : payer.who);
        (ok,) = (i == 4 ? address(court) : address(to)).call(data);
    }

    /// @dev Signed for this vault, brought before the court for `accused`.
    function evidence(IVault accused) internal view returns (bytes memory) {
        Result memory first = Result(keccak256("order"), bytes32(0), 1, bytes32(0));
        Result memory second = Result(first.order, bytes32(0), 2, bytes32(0));
        bytes memory a = sign(payee.pk, vault.hashResult(first));
        bytes memory b = sign(payee.pk, vault.hashResult(second));
        return abi.encodeCall(court.slash, (accused, first, a, second, b));
    }

    function stateOf(IVault of_) internal view returns (bytes32 all) {
        for (uint256 i; i < 7; ++i) {
            address who = [payer.who, payee.who, stranger.who, author, address(0), address(0), address(0)][i];
            if (i > 3) who = actorOf(uint256(keccak256(abi.encode("provider", i - 4)))).who;
            (uint96 balance, uint96 staked,) = of_.accountOf(who);
            (uint96 allocated, uint96 claimed, uint24 epoch,) = of_.channelOf(payer.who, who, LANE);
            (address owner,) = of_.ownerOfKey(who);
            all = keccak256(abi.encode(all, balance, staked, allocated, claimed, epoch, owner));
        }
    }

    /* ---------- signatures ---------- */

    /// @dev Wherever a signature is taken: the lowest high s that the compact form can carry, zeros, and, where the
    /// length is free, the twin (r, n-s) in the long form that every curve library accepts.
    function test_SYM_05_malleable_and_zero_signatures_count_nowhere() public {
        channel(payer, payee.who, LANE, UNIT);
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        for (uint256 kind; kind < 3; ++kind) {
            bytes memory signature = spoiled(consent(payee, payer.who, LANE, 0), kind);
            refuses(IVault.BadSignature.selector);
            vm.prank(payer.who);
            vault.release(payer.who, LANE, closing(payee.who, signature));

            signature = spoiled(sign(stranger.pk, vault.hashBind(Bind(payer.who))), kind);
            refuses(IVault.BadSignature.selector);
            vm.prank(payer.who);
            vault.bind(stranger.who, signature);

            spoiledQuorum(p, kind);
            spoiledEvidence(kind);
            if (kind == 2) continue;
            bytes memory list = row(payer.pk, payee.who, LANE, UNIT, 0);
            spoil(list, 0, kind);
            eq(vault.claimFor(recordsFor(payee.who, LANE, list)), 0, "a voucher");
        }
        eq(claimOne(payer, payee.who, LANE, UNIT, 0), UNIT, "the true one counts");
        eq(settle(p, 7), 3 * 7 * UNIT, "and the true quorum");
    }

    function spoiledQuorum(Plan memory p, uint256 kind) internal {
        bytes memory signature = spoiled(orderSignature(p), kind);
        bytes memory good = orderSignature(p);
        bytes memory rows = rowsOf(p, 7);
        bytes32[] memory others = othersOf(p, 7);
        refuses(IVault.BadSignature.selector);
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 7, others);
        if (kind == 2) return;
        spoil(rows, 93, kind);
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, good, p.fuel, p.resultsRoot, rows, 7, others);
    }

    function spoiledEvidence(uint256 kind) internal {
        Result memory first = Result(keccak256("order"), bytes32(0), 1, bytes32(0));
        Result memory second = Result(first.order, bytes32(0), 2, bytes32(0));
        bytes memory a = sign(payee.pk, vault.hashResult(first));
        bytes memory b = spoiled(sign(payee.pk, vault.hashResult(second)), kind);
        refuses(abi.encodeWithSelector(ICourt.BadEvidence.selector, 1));
        court.slash(vault, first, a, second, b);
    }

    function spoiled(bytes memory signature, uint256 kind) internal pure returns (bytes memory) {
        if (kind < 2) {
            spoil(signature, 0, kind);
            return signature;
        }
        (bytes32 r, uint256 vs) = abi.decode(signature, (bytes32, uint256));
        return abi.encodePacked(r, CURVE - (vs & (type(uint256).max >> 1)), uint8(vs >> 255 == 0 ? 28 : 27));
    }

    function spoil(bytes memory data, uint256 offset, uint256 kind) internal pure {
        uint256 highS = CURVE / 2 + 1;
        // memory-safe: the 64 bytes of a signature inside `data`.
        assembly ("memory-safe") {
            let at := add(add(data, 0x20), offset)
            switch kind
            case 0 { mstore(add(at, 0x20), or(and(mload(add(at, 0x20)), shl(255, 1)), highS)) }
            default {
                mstore(at, 0)
                mstore(add(at, 0x20), 0)
            }
        }
    }

    /* ---------- stake ---------- */

    /// @dev A provider that starts its timer early and stakes on: the timer starts again for all of it, and evidence of
    /// before reaches what was added after.
    function test_SYM_15_C13_no_order_of_staking_and_waiting_gets_a_stake_out_of_reach() public {
        fund(payee.who, 4 * UNIT);
        vm.startPrank(payee.who);
        vault.stake(UNIT);
        vault.requestUnstake();
        vm.warp(NOW + 14 days);
        vault.stake(UNIT);
        refuses(IVault.UnstakeNotRequested.selector);
        vault.withdrawStake();
        vault.requestUnstake();
        refuses(abi.encodeWithSelector(IVault.StakeLocked.selector, uint40(NOW + 28 days)));
        vault.requestUnstake();
        vm.stopPrank();
        vm.warp(NOW + 28 days);
        (bool ok,) = address(court).call(evidence(vault));
        yes(ok, "evidence counts until the stake is paid out");
        eq(stakeOf(payee.who), 0, "all of it");
    }

    /* ---------- requestor ---------- */

    function test_SYM_09_a_requestor_that_settles_low_pays_the_rest_all_the_same() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory high = settlement(p, 7);
        // It settles the same order with other owed amounts, which it signed, too; and vouchers for one unit.
        Plan memory low = p;
        for (uint256 i; i < 3; ++i) {
            claimOne(payer, p.leaves[i].provider.who, laneFor(0, p.leaves[i].laneNumber), 1, 0);
            low.leaves[i].rate = 0;
        }
        low.order.roster = rosterOf(low.leaves);
        low.order.work = keccak256("low");
        settle(low, 7);
        yes(send(high), "the honest one");
        for (uint256 i; i < 3; ++i) {
            eq(balanceOf(p.leaves[i].provider.who), 7 * UNIT, "C7: in full");
        }
    }

    /// @dev Where the requestor owns a quorum of the roster, it pays itself, from its own earmarks. Who was not asked
    /// loses no earmark by it, and what it holds already stays good.
    function test_SYM_08_a_requestor_that_fills_the_roster_pays_only_itself() public {
        Plan memory p = plan(5, 3, DEEP, bytes22(0));
        Leaf memory honest = p.leaves[4];
        bytes32 own = laneFor(0, honest.laneNumber);
        claimOne(payer, honest.provider.who, own, 5 * UNIT, 0);
        eq(settle(p, 7), 3 * 7 * UNIT, "the requestor's own three");
        eq(balanceOf(honest.provider.who), 5 * UNIT, "the others are as they were");
        eq(allocatedOf(payer.who, honest.provider.who, own), DEEP, "with their earmark");
        eq(claimOne(payer, honest.provider.who, own, 20 * UNIT, 0), 15 * UNIT, "and everything they hold");
    }

    /// @dev A payer that signs itself a richer order with its own providers reaches its own earmarks and no deposit.
    function test_SYM_03_a_forged_roster_reaches_no_other_deposit() public {
        fund(stranger.who, DEEP);
        Plan memory p = plan(3, 2, UNIT, bytes22(0));
        for (uint256 i; i < 3; ++i) {
            p.leaves[i].owed = type(uint96).max;
        }
        p.order.roster = rosterOf(p.leaves);
        eq(settle(p, 7), 3 * UNIT, "what was earmarked");
        vm.prank(stranger.who);
        vault.withdraw(stranger.who, stranger.who, DEEP);
        eq(token.balanceOf(stranger.who), DEEP, "everybody else's money is there");
    }

    /* ---------- huge batches, dust ---------- */

    function test_SYM_06_C10_a_thousand_rows_of_dust_and_junk_block_no_honest_one() public {
        channel(payer, payee.who, LANE, DEEP);
        bytes memory rows;
        for (uint256 i; i < 254; ++i) {
            rows = bytes.concat(rows, bytes32(i), bytes32(i << 7), bytes12(uint96(i)), bytes3(0));
        }
        bytes memory honest = bytes.concat(rows, row(payer.pk, payee.who, LANE, 3 * UNIT, 0));
        bytes memory all;
        for (uint96 i; i < 4; ++i) {
            bytes memory list = i == 2 ? honest : bytes.concat(rows, row(payer.pk, payee.who, LANE, i + 1, 0));
            all = bytes.concat(all, recordsFor(payee.who, LANE, list));
        }
        eq(vault.claimFor(all), 3 * UNIT, "paid among 1,016 others");
    }

    /// @dev Strangers may earmark dust for anyone, in any lane: it costs them, and is in nobody's way.
    function test_C6_dust_earmarks_of_strangers_change_no_channel() public {
        channel(payer, payee.who, LANE, UNIT);
        for (uint80 i; i < 20; ++i) {
            channel(stranger, payee.who, lane(payer.who, 10_000, i), 1);
            channel(stranger, payer.who, LANE, 1);
        }
        eq(allocatedOf(payer.who, payee.who, LANE), UNIT, "the earmark");
        eq(claimOne(payer, payee.who, LANE, UNIT, 0), UNIT, "pays as before");
    }

    /// @dev A total raised unit by unit, each a payment of its own: payee and author get what one payment would give.
    function test_SYM_16_dust_payments_round_nothing_away() public {
        bytes32 own = lane(author, 3333, 1);
        channel(payer, payee.who, own, UNIT);
        for (uint96 i = 1; i <= 30; ++i) {
            claimOne(payer, payee.who, own, i, 0);
            eq(balanceOf(author), uint256(i) * 3333 / 10_000, "author");
            eq(uint256(balanceOf(author)) + balanceOf(payee.who), i, "together the total");
        }
    }

    /* ---------- helpers ---------- */

    function settlement(Plan memory p, uint8 members) internal view returns (bytes memory) {
        return abi.encodeCall(
            vault.settleQuorum,
            (p.order, orderSignature(p), p.fuel, p.resultsRoot, rowsOf(p, members), members, othersOf(p, members))
        );
    }

    function send(bytes memory data) internal returns (bool ok) {
        vm.prank(stranger.who);
        (ok,) = address(vault).call(data);
    }

    function voucherFor(Leaf memory leaf, uint96 total, uint24 epoch) internal view returns (bytes memory) {
        bytes32 own = laneFor(0, leaf.laneNumber);
        return recordsFor(leaf.provider.who, own, row(payer.pk, leaf.provider.who, own, total, epoch));
    }

    function release(Leaf memory leaf) internal {
        bytes32 own = laneFor(0, leaf.laneNumber);
        bytes memory signature = consent(leaf.provider, payer.who, own, leaf.epoch);
        vm.prank(payer.who);
        vault.release(payer.who, own, closing(leaf.provider.who, signature));
    }
}
