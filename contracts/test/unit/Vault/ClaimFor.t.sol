// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault, Voucher} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract ClaimForTest is Fixture {
    function test_SYM_06_anyone_claims_and_the_payee_alone_is_credited() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory list = recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        vm.prank(stranger.who);
        eq(vault.claimFor(list), 2 * UNIT, "credited");
        eq(balanceOf(payee.who), 2 * UNIT, "payee");
        eq(balanceOf(stranger.who), 0, "submitter");
    }

    function test_SYM_09_C4_C11_the_highest_total_wins_and_an_equal_one_pays_nothing() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 0), 2 * UNIT, "first");
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 0), 0, "equal");
        eq(claimOne(payer, payee.who, LANE, UNIT, 0), 0, "lower");
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT + 1, 0), 1, "higher");
        eq(claimOne(payer, payee.who, LANE, 0, 0), 0, "zero");
        eq(claimedOf(payer.who, payee.who, LANE), 2 * UNIT + 1, "claimed");
    }

    function test_SYM_09_a_clamped_voucher_pays_its_rest_after_a_top_up() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        uint96 most = type(uint96).max;
        eq(claimOne(payer, payee.who, LANE, most, 0), 5 * UNIT, "up to the earmark");
        fund(payer.who, UNIT);
        earmark(payer.who, payee.who, LANE, UNIT);
        eq(claimOne(payer, payee.who, LANE, most, 0), UNIT, "the rest");
        eq(claimOne(payer, payee.who, LANE, 5 * UNIT, 0), 0, "an older one");
    }

    function test_SYM_09_another_epoch_pays_nothing() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 1), 0, "a later epoch");
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, type(uint24).max), 0, "the last epoch");
        eq(claimOne(payer, payee.who, LANE, 2 * UNIT, 0), 2 * UNIT, "this epoch");
    }

    function test_SYM_06_a_bad_row_pays_nothing_and_blocks_none() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        channel(stranger, payee.who, LANE, 5 * UNIT);
        bytes memory good = row(payer.pk, payee.who, LANE, 2 * UNIT, 0);
        bytes memory rows = bytes.concat(
            new bytes(79), // no signature at all
            row(actor("nobody").pk, payee.who, LANE, UNIT, 0), // a key with nothing allocated
            good,
            row(payer.pk, payee.who, LANE, 3 * UNIT, 1), // another epoch
            good // nothing new
        );
        rows = bytes.concat(rows, row(stranger.pk, payee.who, LANE, 9 * UNIT, 0)); // above the earmark
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Claimed(payee.who, LANE, 1 << 2 | 1 << 5, 7 * UNIT);
        eq(vault.claimFor(recordsFor(payee.who, LANE, rows)), 7 * UNIT, "credited");
        eq(claimedOf(payer.who, payee.who, LANE), 2 * UNIT, "first");
        eq(claimedOf(stranger.who, payee.who, LANE), 5 * UNIT, "clamped");
    }

    function test_SYM_06_many_payees_interleaved_are_credited_each() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        channel(payer, stranger.who, LANE, 5 * UNIT);
        bytes memory list = bytes.concat(
            recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, UNIT, 0)),
            recordsFor(stranger.who, LANE, row(payer.pk, stranger.who, LANE, 2 * UNIT, 0)),
            recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, 4 * UNIT, 0))
        );
        eq(vault.claimFor(list), 6 * UNIT, "credited");
        eq(balanceOf(payee.who), 4 * UNIT, "payee");
        eq(balanceOf(stranger.who), 2 * UNIT, "stranger");
    }

    function test_SYM_06_headers_of_one_payee_in_a_row_add_up() public {
        bytes32 second = bytes32(uint256(2));
        channel(payer, payee.who, LANE, 5 * UNIT);
        channel(payer, payee.who, second, 5 * UNIT);
        bytes memory list = bytes.concat(
            recordsFor(payee.who, LANE, row(payer.pk, payee.who, LANE, UNIT, 0)),
            recordsFor(payee.who, second, row(payer.pk, payee.who, second, 2 * UNIT, 0))
        );
        eq(vault.claimFor(list), 3 * UNIT, "credited");
        eq(balanceOf(payee.who), 3 * UNIT, "payee");
    }

    function test_SYM_16_royalties_of_one_header_add_up() public {
        bytes32 laneOf = lane(author, 3333, 1);
        channel(payer, payee.who, laneOf, 1000);
        channel(stranger, payee.who, laneOf, 1000);
        bytes memory rows =
            bytes.concat(row(payer.pk, payee.who, laneOf, 10, 0), row(stranger.pk, payee.who, laneOf, 10, 0));
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.RoyaltyCredited(author, payee.who, 6);
        eq(vault.claimFor(recordsFor(payee.who, laneOf, rows)), 14, "payee");
        eq(balanceOf(author), 6, "author");
    }

    function test_SYM_06_malformed_records_are_refused_whole() public {
        bytes memory good = recordsFor(payee.who, LANE, new bytes(79));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, 0));
        vault.claimFor(new bytes(19));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, 20));
        vault.claimFor(abi.encodePacked(payee.who, LANE));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, 53));
        vault.claimFor(abi.encodePacked(payee.who, LANE, uint8(2), new bytes(79)));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, good.length));
        vault.claimFor(bytes.concat(good, hex"0102"));
        eq(vault.claimFor(good), 0, "junk of the right length");
        eq(vault.claimFor(""), 0, "nothing");
    }

    function test_SYM_05_C5_no_replay_across_chains_vaults_payees_and_lanes() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        channel(payer, stranger.who, LANE, 5 * UNIT);
        channel(payer, payee.who, bytes32(uint256(2)), 5 * UNIT);
        bytes memory voucher = row(payer.pk, payee.who, LANE, 2 * UNIT, 0);
        eq(vault.claimFor(recordsFor(stranger.who, LANE, voucher)), 0, "another payee");
        eq(vault.claimFor(recordsFor(payee.who, bytes32(uint256(2)), voucher)), 0, "another lane");

        IVault other = newVault(address(token), address(court));
        token.mint(payer.who, 5 * UNIT);
        vm.startPrank(payer.who);
        token.approve(address(other), 5 * UNIT);
        other.deposit(payer.who, 5 * UNIT);
        other.open(payer.who, EXPIRY, one(LANE, payee.who, 5 * UNIT));
        vm.stopPrank();
        eq(other.claimFor(recordsFor(payee.who, LANE, voucher)), 0, "another vault");

        vm.chainId(77);
        eq(vault.claimFor(recordsFor(payee.who, LANE, voucher)), 0, "another chain");
        eq(claimOne(payer, payee.who, LANE, UNIT, 0), UNIT, "signed for that chain");
        vm.chainId(31_337);
        eq(vault.claimFor(recordsFor(payee.who, LANE, voucher)), UNIT, "its own chain pays the difference");
    }

    function testFuzz_SYM_05_random_bytes_pay_nothing(bytes32 r, bytes32 vs, uint96 cumulative) public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory junk = abi.encodePacked(r, vs, cumulative, uint24(0));
        eq(vault.claimFor(recordsFor(payee.who, LANE, junk)), 0, "credited");
        eq(claimedOf(payer.who, payee.who, LANE), 0, "claimed");
    }

    /// @dev Nothing reaches a channel of address zero, which a bad signature recovers to. If something did, this holds.
    function test_SYM_05_a_bad_signature_is_not_address_zeros() public {
        fund(payer.who, UNIT);
        vm.store(address(vault), vault.channelId(address(0), payee.who, LANE), bytes32(uint256(UNIT)));
        eq(allocatedOf(address(0), payee.who, LANE), UNIT, "allocated");
        bytes memory junk = abi.encodePacked(new bytes(64), UNIT, uint24(0));
        eq(vault.claimFor(recordsFor(payee.who, LANE, junk)), 0, "credited");
        eq(balanceOf(payee.who), 0, "balance");
    }

    function test_SYM_16_the_author_gets_its_share_of_every_payment() public {
        bytes32 laneOf = lane(author, 3333, 1);
        channel(payer, payee.who, laneOf, 1000);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Claimed(payee.who, laneOf, 1, 7);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.RoyaltyCredited(author, payee.who, 3);
        eq(claimOne(payer, payee.who, laneOf, 10, 0), 7, "10: floor of 3.333");
        eq(claimOne(payer, payee.who, laneOf, 11, 0), 1, "11: floor of 3.666");
        eq(claimOne(payer, payee.who, laneOf, 13, 0), 1, "13: floor of 4.333");
        eq(balanceOf(author), 4, "author");
    }

    function test_SYM_16_the_whole_to_the_author_and_the_author_as_payee() public {
        bytes32 all = lane(author, 10_000, 1);
        channel(payer, payee.who, all, 1000);
        eq(claimOne(payer, payee.who, all, 1000, 0), 0, "payee");
        eq(balanceOf(author), 1000, "author");
        bytes32 own = lane(payee.who, 2500, 1);
        channel(payer, payee.who, own, 1000);
        eq(claimOne(payer, payee.who, own, 1000, 0), 750, "the payee's part");
        eq(balanceOf(payee.who), 1000, "both parts in one account");
    }

    function testFuzz_SYM_16_royalties_do_not_depend_on_the_cuts(
        uint256 rawBps,
        uint256 rawTotal,
        uint256 rawFirst,
        uint256 rawSecond
    ) public {
        uint16 bps = uint16(biased(rawBps, 0, 10_000));
        uint96 total = uint96(biased(rawTotal, 1, type(uint96).max));
        uint96 first = uint96(biased(rawFirst, 0, total));
        uint96 second = uint96(biased(rawSecond, first, total));
        bytes32 laneOf = lane(author, bps, 9);
        channel(payer, payee.who, laneOf, total);
        claimOne(payer, payee.who, laneOf, first, 0);
        claimOne(payer, payee.who, laneOf, second, 0);
        claimOne(payer, payee.who, laneOf, total, 0);
        eq(balanceOf(author), uint256(total) * bps / 10_000, "author");
        eq(uint256(balanceOf(author)) + balanceOf(payee.who), total, "conserved");
    }

    /// @dev Vouchers of every boundary value in any order, with top-ups in between, each submitted once more at
    /// the end: the same `claimed`, and every row at most what the channel holds.
    function testFuzz_SYM_09_any_order_ends_in_the_same_state(uint256 seed, uint256 rawAmount) public {
        uint96 allocated = uint96(biased(rawAmount, 3, type(uint96).max / 4));
        uint96[8] memory totals =
            [uint96(0), 1, allocated - 1, allocated, allocated + 1, 2 * allocated, type(uint96).max - 1, allocated / 2];
        channel(payer, payee.who, LANE, allocated);
        uint256 paid;
        uint256 ups;
        for (uint256 i; i < 12; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            if (seed % 5 == 0 && ups < 2) {
                channel(payer, payee.who, LANE, allocated);
                ++ups;
            } else {
                paid += claimOne(payer, payee.who, LANE, totals[seed % 8], 0);
            }
            atMost(claimedOf(payer.who, payee.who, LANE), allocatedOf(payer.who, payee.who, LANE), "claimed");
        }
        for (; ups < 2; ++ups) {
            channel(payer, payee.who, LANE, allocated);
        }
        bytes memory rows;
        for (uint256 i; i < 8; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            rows = bytes.concat(rows, row(payer.pk, payee.who, LANE, totals[(i + seed) % 8], 0));
        }
        rows = bytes.concat(rows, row(payer.pk, payee.who, LANE, type(uint96).max - 1, 0));
        paid += vault.claimFor(recordsFor(payee.who, LANE, rows));
        eq(paid, 3 * uint256(allocated), "everything was paid, once");
        eq(claimedOf(payer.who, payee.who, LANE), paid, "claimed");
        eq(balanceOf(payee.who), paid, "credited");
    }

    function testFuzz_SYM_06_a_batch_equals_its_rows(uint256 a, uint256 b, uint256 c) public {
        uint96[3] memory totals = [
            uint96(biased(a, 0, type(uint96).max)),
            uint96(biased(b, 0, 10 * UNIT)),
            uint96(biased(c, 9 * UNIT, 11 * UNIT))
        ];
        channel(payer, payee.who, LANE, 10 * UNIT);
        bytes memory rows;
        for (uint256 i; i < 3; ++i) {
            rows = bytes.concat(rows, row(payer.pk, payee.who, LANE, totals[i], 0));
        }
        uint256 state = vm.snapshotState();
        uint96 batch = vault.claimFor(recordsFor(payee.who, LANE, rows));
        vm.revertToState(state);
        uint96 single;
        for (uint256 i = 3; i > 0; --i) {
            single += claimOne(payer, payee.who, LANE, totals[i - 1], 0);
        }
        eq(single, batch, "in any order");
    }

    function test_SYM_06_a_header_of_255_rows_fills_the_bitmap() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory rows;
        for (uint96 i = 1; i <= 255; ++i) {
            rows = bytes.concat(rows, row(payer.pk, payee.who, LANE, i, 0));
        }
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Claimed(payee.who, LANE, (1 << 255) - 1, 255);
        eq(vault.claimFor(recordsFor(payee.who, LANE, rows)), 255, "credited");
    }
}
