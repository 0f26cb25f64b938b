// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";
import {Vm} from "../../helpers/Vm.sol";

contract SettleQuorumTest is Fixture {
    uint96 internal constant DEEP = 100 * UNIT;
    // flat 1 + rate 2 per Gfuel * 3 Gfuel
    uint96 internal constant PRICE = 7 * UNIT;

    function test_SYM_08_a_quorum_pays_each_from_its_own_channel_without_the_requestor() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes32 digest = vault.hashOrder(p.order);
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 5);
        bytes32[] memory others = othersOf(p, 5);
        bytes32[] memory credits = new bytes32[](2);
        credits[0] = word(p.leaves[0].provider.who, PRICE);
        credits[1] = word(p.leaves[2].provider.who, PRICE);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.ResultsSettled(digest, payer.who, p.resultsRoot, p.fuel, 2 * PRICE, credits);
        vm.prank(stranger.who);
        eq(vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 5, others), 2 * PRICE, "paid");
        eq(balanceOf(p.leaves[0].provider.who), PRICE, "first");
        eq(balanceOf(p.leaves[2].provider.who), PRICE, "third");
        eq(claimedOf(payer.who, p.leaves[2].provider.who, laneFor(0, p.leaves[2].laneNumber)), PRICE, "claimed");
    }

    function test_SYM_13_C14_a_dissenter_is_unpaid_and_keeps_everything_else() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        Actor memory dissenter = p.leaves[1].provider;
        fund(dissenter.who, UNIT);
        vm.prank(dissenter.who);
        vault.stake(UNIT);
        settle(p, 5);
        eq(balanceOf(dissenter.who), 0, "no fee");
        eq(stakeOf(dissenter.who), UNIT, "the stake is untouched");
        eq(vault.burnedStake(), 0, "nothing burned");
    }

    function test_SYM_08_every_subset_of_quorum_size_settles() public {
        Plan memory p = plan(5, 3, DEEP, bytes22(0));
        uint256 state = vm.snapshotState();
        uint256 settled;
        for (uint256 members; members < 32; ++members) {
            uint256 count;
            for (uint256 bits = members; bits != 0; bits &= bits - 1) {
                ++count;
            }
            if (count < 3) {
                settleRefused(p, uint8(members), abi.encodeWithSelector(IVault.NotEnoughRows.selector, count, uint8(3)));
            } else {
                eq(settle(p, uint8(members)), count * PRICE, "paid");
                ++settled;
            }
            vm.revertToState(state);
        }
        eq(settled, 16, "subsets");
    }

    function test_SYM_08_what_was_owed_rides_along() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        p.leaves[0].owed = 20 * UNIT;
        p.leaves[2].owed = 99 * UNIT;
        p.order.roster = rosterOf(p.leaves);
        claimOne(payer, p.leaves[0].provider.who, laneFor(0, p.leaves[0].laneNumber), 5 * UNIT, 0);
        eq(settle(p, 5), 22 * UNIT + DEEP, "up to the totals and the earmark");
        eq(balanceOf(p.leaves[0].provider.who), 27 * UNIT, "owed and price");
        eq(balanceOf(p.leaves[2].provider.who), DEEP, "clamped");
        eq(settle(p, 5), 0, "again: nothing new");
        // The clamped part is paid after a top-up.
        channel(payer, p.leaves[2].provider.who, laneFor(0, p.leaves[2].laneNumber), DEEP);
        eq(settle(p, 5), 6 * UNIT, "the rest");
    }

    function test_SYM_09_vouchers_and_quorums_share_one_rule_in_any_order() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        address provider = p.leaves[0].provider.who;
        bytes32 laneOf = laneFor(0, p.leaves[0].laneNumber);
        uint256 state = vm.snapshotState();
        claimOne(payer, provider, laneOf, PRICE - 1, 0);
        settle(p, 3);
        claimOne(payer, provider, laneOf, PRICE, 0);
        eq(balanceOf(provider), PRICE, "low voucher, quorum, voucher");
        vm.revertToState(state);
        claimOne(payer, provider, laneOf, PRICE, 0);
        settle(p, 3);
        eq(balanceOf(provider), PRICE, "voucher, quorum");
        vm.revertToState(state);
        settle(p, 3);
        claimOne(payer, provider, laneOf, PRICE + 1, 0);
        eq(balanceOf(provider), PRICE + 1, "quorum, higher voucher");
    }

    function test_SYM_08_a_row_that_cannot_be_paid_counts_and_blocks_none() public {
        Plan memory p = plan(3, 2, 0, bytes22(0));
        // Nothing is allocated to the first, the second is in another epoch, the third can be paid.
        p.leaves[1].epoch = 1;
        p.order.roster = rosterOf(p.leaves);
        channel(payer, p.leaves[1].provider.who, laneFor(0, p.leaves[1].laneNumber), DEEP);
        channel(payer, p.leaves[2].provider.who, laneFor(0, p.leaves[2].laneNumber), DEEP);
        bytes32 digest = vault.hashOrder(p.order);
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 7);
        bytes32[] memory credits = new bytes32[](3);
        credits[0] = word(p.leaves[0].provider.who, 0);
        credits[1] = word(p.leaves[1].provider.who, 0);
        credits[2] = word(p.leaves[2].provider.who, PRICE);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.ResultsSettled(digest, payer.who, p.resultsRoot, p.fuel, PRICE, credits);
        eq(vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 7, new bytes32[](0)), PRICE, "paid");
    }

    /// @dev One leaf is named, two rows come, and the missing hash lies behind the calldata's end, where the walk over
    /// the roster would find it: the second row is no leaf and must not count.
    function test_SYM_10_a_row_beyond_the_leaves_is_refused() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        Leaf memory outsider = Leaf(stranger, 0, UNIT, 0, 0, 0, keccak256("outside"));
        for (uint256 i; outsider.provider.who <= p.leaves[0].provider.who; ++i) {
            outsider.provider = actorOf(uint256(keccak256(abi.encode("outsider", i))));
        }
        channel(payer, outsider.provider.who, laneFor(0, 0), DEEP);
        bytes32 result = vault.hashResult(resultOf(p, 1));
        bytes memory rows =
            bytes.concat(rowsOf(p, 1), leafBytes(outsider), outsider.nonce, sign(outsider.provider.pk, result));
        bytes32[] memory hashes = othersOf(p, 1);
        bytes32[] memory others = new bytes32[](1);
        others[0] = hashes[0];
        bytes memory input =
            abi.encodeCall(vault.settleQuorum, (p.order, orderSignature(p), p.fuel, p.resultsRoot, rows, 1, others));
        (bool ok, bytes memory data) = address(vault).call(bytes.concat(input, hashes[1]));
        yes(!ok && bytes4(data) == IVault.BadRoster.selector, "refused");
    }

    /// @dev A total is compared in 256 bits: one that does not fit in 96 pays the whole earmark, and does not wrap.
    function test_SYM_08a_a_total_above_96_bits_pays_the_earmark() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        for (uint256 i; i < 3; ++i) {
            p.leaves[i].owed = type(uint96).max;
            p.leaves[i].flat = 1;
            p.leaves[i].rate = 0;
        }
        p.order.roster = rosterOf(p.leaves);
        eq(settle(p, 3), 2 * DEEP, "paid");
    }

    function test_SYM_08a_fuel_above_the_maximum() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        p.fuel = p.order.maxFuel + 1;
        settleRefused(
            p, 3, abi.encodeWithSelector(IVault.FuelAboveMaximum.selector, p.order.maxFuel + 1, p.order.maxFuel)
        );
        p.fuel = p.order.maxFuel;
        eq(settle(p, 3), 2 * 21 * UNIT, "exactly the maximum");
    }

    function test_SYM_08a_a_quorum_below_two_is_a_blank_cheque() public {
        Plan memory p = plan(1, 1, DEEP, bytes22(0));
        settleRefused(p, 1, abi.encodeWithSelector(IVault.QuorumTooSmall.selector, 1));
        p.order.quorum = 0;
        settleRefused(p, 1, abi.encodeWithSelector(IVault.QuorumTooSmall.selector, 0));
    }

    function test_SYM_08a_at_most_eight_replicas() public {
        Plan memory p = plan(9, 5, 0, bytes22(0));
        settleRefused(p, 31, abi.encodeWithSelector(IVault.TooManyReplicas.selector, 9));
        p = plan(8, 5, DEEP, bytes22(0));
        eq(settle(p, 0xff), 8 * PRICE, "eight is allowed");
    }

    function test_SYM_08a_two_quorums_must_share_a_member() public {
        Plan memory p = plan(4, 2, DEEP, bytes22(0));
        settleRefused(p, 3, abi.encodeWithSelector(IVault.QuorumNotMajority.selector, 2, 4));
        p = plan(7, 3, 0, bytes22(0));
        settleRefused(p, 7, abi.encodeWithSelector(IVault.QuorumNotMajority.selector, 3, 7));
        p = plan(2, 2, 0, bytes22(0));
        eq(settle(p, 3), 14 * UNIT, "two of two");
    }

    function test_SYM_10_the_only_time_checked_is_settle_by() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        vm.warp(p.order.settleBy + 1);
        settleRefused(p, 3, abi.encodeWithSelector(IVault.SettleByPassed.selector, p.order.settleBy));
        vm.warp(p.order.settleBy);
        eq(settle(p, 3), 2 * PRICE, "the last second");
        // An expired channel is no obstacle while it is not released.
        p.order.settleBy = uint40(EXPIRY + 2 days);
        p.order.work = keccak256("later");
        p.leaves[0].owed = PRICE;
        p.leaves[1].owed = PRICE;
        p.order.roster = rosterOf(p.leaves);
        vm.warp(EXPIRY + 1 days);
        eq(settle(p, 3), 2 * PRICE, "after the expiry");
    }

    function test_SYM_10_one_provider_counts_once() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        p.leaves[1] = p.leaves[0];
        p.order.roster = rosterOf(p.leaves);
        settleRefused(p, 3, abi.encodeWithSelector(IVault.BadRow.selector, 1));
        // Descending leaves are refused as well, which is what makes the check above enough.
        p = plan(3, 2, 0, bytes22(0));
        (p.leaves[0], p.leaves[2]) = (p.leaves[2], p.leaves[0]);
        p.order.roster = rosterOf(p.leaves);
        settleRefused(p, 5, abi.encodeWithSelector(IVault.BadRow.selector, 1));
    }

    function test_SYM_10_who_has_no_leaf_does_not_count() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes32 roster = p.order.roster;
        p.leaves[2].provider = actorOf(type(uint256).max / 3);
        sort(p.leaves);
        p.order.roster = roster;
        uint8[4] memory quorums = [3, 5, 6, 7];
        for (uint256 i; i < quorums.length; ++i) {
            settleRefused(p, quorums[i], abi.encodeWithSelector(IVault.BadRoster.selector));
        }
    }

    function test_SYM_08_members_and_rows_must_agree() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 3);
        bytes32[] memory others = othersOf(p, 3);
        uint8[5] memory wrong = [0, 7, 5, 0x81, 0x83];
        for (uint256 i; i < wrong.length; ++i) {
            refuses(IVault.BadRoster.selector);
            vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, wrong[i], others);
        }
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 2));
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, bytes.concat(rows, hex"00"), 3, others);
        others[0] = bytes32(uint256(others[0]) ^ 1);
        refuses(IVault.BadRoster.selector);
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 3, others);
    }

    /// @dev Every byte of a row is covered: by the roster (leaf), the seals (nonce) or the signature itself.
    function testFuzz_SYM_08_a_row_with_any_byte_changed_reverts_the_call(uint256 position, uint8 change) public {
        vm.assume(change != 0);
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 3);
        bytes32[] memory others = othersOf(p, 3);
        position %= rows.length;
        rows[position] = bytes1(uint8(rows[position]) ^ change);
        (bool ok, bytes memory data) = address(vault)
            .call(abi.encodeCall(vault.settleQuorum, (p.order, signature, p.fuel, p.resultsRoot, rows, 3, others)));
        yes(!ok, "reverted");
        bytes4 why = bytes4(data);
        yes(why == (position % 157 < 61 ? IVault.BadRoster.selector : IVault.BadRow.selector), "the right error");
    }

    function test_SYM_08_seals_bind_exactly_the_rows_settled_with() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        // Signed for the subset {0, 1}, submitted with {0, 2} and with all three.
        bytes memory signature = orderSignature(p);
        bytes32 result = vault.hashResult(resultOf(p, 3));
        bytes memory rows;
        for (uint256 i; i < 3; i += 2) {
            Leaf memory leaf = p.leaves[i];
            rows = bytes.concat(rows, leafBytes(leaf), leaf.nonce, sign(leaf.provider.pk, result));
        }
        bytes32[] memory others = othersOf(p, 5);
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 5, others);
    }

    function test_SYM_08_a_copied_result_without_its_own_seal_does_not_settle() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory signature = orderSignature(p);
        bytes32[] memory others = othersOf(p, 3);
        // The copier signs, but the others attested another seal of its.
        bytes memory honest = rowsOf(p, 3);
        p.leaves[1].nonce = keccak256("forged");
        bytes memory forged = rowsOf(p, 3);
        bytes memory mixed = bytes.concat(slice(honest, 0, 157), slice(forged, 157, 314));
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, mixed, 3, others);
    }

    function test_SYM_08_another_root_or_fuel_than_the_signed_does_not_settle() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 3);
        bytes32[] memory others = othersOf(p, 3);
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel, keccak256("other"), rows, 3, others);
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel + 1, p.resultsRoot, rows, 3, others);
    }

    function test_SYM_05_an_order_signed_by_nobody_or_somebody_else_pays_nothing() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory rows = rowsOf(p, 3);
        bytes32[] memory others = othersOf(p, 3);
        refuses(IVault.BadSignature.selector);
        vault.settleQuorum(p.order, new bytes(64), p.fuel, p.resultsRoot, rows, 3, others);
        refuses(IVault.BadSignature.selector);
        vault.settleQuorum(p.order, new bytes(65), p.fuel, p.resultsRoot, rows, 3, others);
        p.payer = stranger;
        eq(settle(p, 3), 0, "a stranger has nothing allocated");
    }

    function test_SYM_08_no_caller_chooses_a_lane() public {
        bytes22 royalty = bytes22(abi.encodePacked(author, uint16(1000)));
        Plan memory p = plan(3, 2, DEEP, royalty);
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 3);
        bytes32[] memory others = othersOf(p, 3);
        p.order.royalty = 0;
        // Another royalty is another order, signed by nobody with an earmark; its seals differ too.
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 3, others);
    }

    function test_SYM_16_royalties_of_a_quorum_go_to_the_author() public {
        bytes22 royalty = bytes22(abi.encodePacked(author, uint16(2500)));
        Plan memory p = plan(3, 2, DEEP, royalty);
        uint96 share = PRICE / 4;
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 6);
        bytes32[] memory others = othersOf(p, 6);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.RoyaltyCredited(author, p.leaves[1].provider.who, share);
        eq(vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 6, others), 2 * PRICE, "paid, gross");
        eq(balanceOf(author), 2 * share, "author");
        eq(balanceOf(p.leaves[1].provider.who), PRICE - share, "provider");
    }

    function test_SYM_16_the_author_may_be_a_replica() public {
        Plan memory p = plan(3, 2, 0, bytes22(0));
        bytes22 royalty = bytes22(abi.encodePacked(p.leaves[0].provider.who, uint16(2500)));
        p = plan(3, 2, DEEP, royalty);
        settle(p, 3);
        eq(balanceOf(p.leaves[0].provider.who), PRICE + PRICE / 4, "its price and the other's royalty");
    }

    function test_SYM_11_the_event_names_root_fuel_replicas_and_amount() public {
        Plan memory p = plan(5, 3, DEEP, bytes22(0));
        vm.recordLogs();
        settle(p, 0x1f);
        Vm.Log memory last = lastLog();
        eq(last.topics[0], IVault.ResultsSettled.selector, "event");
        eq(last.topics[1], vault.hashOrder(p.order), "order");
        eq(address(uint160(uint256(last.topics[2]))), payer.who, "payer");
        (bytes32 root, uint64 fuel, uint96 paid, bytes32[] memory credits) =
            abi.decode(last.data, (bytes32, uint64, uint96, bytes32[]));
        eq(root, p.resultsRoot, "root");
        eq(fuel, p.fuel, "fuel");
        eq(paid, 5 * PRICE, "paid");
        eq(credits.length, 5, "replicas");
        eq(credits[4], word(p.leaves[4].provider.who, PRICE), "payee and amount");
    }

    function test_SYM_05_no_replay_of_a_quorum_in_another_vault() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, 3);
        bytes32[] memory others = othersOf(p, 3);
        IVault other = newVault(address(token), address(court));
        refuses(abi.encodeWithSelector(IVault.BadRow.selector, 0));
        other.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, 3, others);
    }

    function testFuzz_SYM_08a_price_rounds_up_in_256_bits(uint256 rawFlat, uint256 rawRate, uint256 rawFuel) public {
        uint96 flat = uint96(biased(rawFlat, 0, type(uint96).max));
        uint96 rate = uint96(biased(rawRate, 0, type(uint96).max));
        uint64 fuel = uint64(biased(rawFuel, 0, type(uint64).max));
        uint256 price = vault.priceOf(flat, rate, fuel);
        uint256 product = uint256(rate) * fuel;
        uint256 ceiling = product / 1e9 + (product % 1e9 == 0 ? 0 : 1);
        eq(price, flat + ceiling, "price");
    }

    function test_SYM_08_huge_totals_pay_up_to_the_earmark() public {
        Plan memory p = plan(3, 2, DEEP, bytes22(0));
        for (uint256 i; i < 3; ++i) {
            p.leaves[i].owed = type(uint96).max;
            p.leaves[i].flat = type(uint96).max;
            p.leaves[i].rate = type(uint96).max;
        }
        p.order.roster = rosterOf(p.leaves);
        p.order.maxFuel = type(uint64).max;
        p.fuel = type(uint64).max;
        eq(settle(p, 7), 3 * DEEP, "paid");
    }

    function slice(bytes memory data, uint256 from, uint256 to) internal pure returns (bytes memory part) {
        part = new bytes(to - from);
        for (uint256 i = from; i < to; ++i) {
            part[i - from] = data[i];
        }
    }
}
