// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Fixture} from "../helpers/Fixture.sol";

/// @notice SYM-09: whatever is signed, by whom it is submitted, how often, in which order, alone or in batches, and
/// when the earmarks are topped up: once each instrument was submitted again after the last top-up, the state is the
/// same. Twenty schedules a fuzz run: 1,000 by default, 200,000 in the deep profile.
/// forge-config: default.fuzz.runs = 50
/// forge-config: deep.fuzz.runs = 10000
contract PermutationsTest is Fixture {
    uint256 internal constant SCHEDULES = 20;
    uint256 internal constant PROVIDERS = 3;
    uint256 internal constant VOUCHERS = 9;
    uint256 internal constant QUORUMS = 3;
    uint256 internal constant TOP_UPS = 4;
    bytes22 internal royalty;
    bytes32 internal laneOf;

    /// @dev Everything signed for one run, and what it has to come to.
    struct Case {
        Actor[PROVIDERS] providers;
        uint96[PROVIDERS] allocated;
        bytes[VOUCHERS] vouchers;
        bytes[QUORUMS] quorums;
        uint256[TOP_UPS] topped;
        uint96[TOP_UPS] amounts;
        uint96[PROVIDERS] finally;
        uint256[PROVIDERS] highest;
    }

    function setUp() public override {
        super.setUp();
        royalty = bytes22(abi.encodePacked(author, uint16(3333)));
        laneOf = laneFor(royalty, 1);
    }

    function testFuzz_SYM_09_C10_any_schedule_ends_with_the_same_claimed(uint256 seed) public {
        Case memory c = prepare(seed);
        uint256 start = vm.snapshotState();
        for (uint256 i; i < SCHEDULES; ++i) {
            play(c, uint256(keccak256(abi.encode(seed, "schedule", i))));
            vm.revertToState(start);
        }
    }

    /* ---------- what is signed ---------- */

    function prepare(uint256 seed) internal returns (Case memory c) {
        uint256 total;
        for (uint256 i; i < PROVIDERS; ++i) {
            c.providers[i] = actorOf(uint256(keccak256(abi.encode("provider", i))));
            c.allocated[i] = c.finally[i] = uint96(biased(next(seed, i), 1, type(uint96).max / 8));
            total += c.allocated[i];
        }
        for (uint256 i; i < TOP_UPS; ++i) {
            c.topped[i] = next(seed, 10 + i) % PROVIDERS;
            c.amounts[i] = uint96(biased(next(seed, 20 + i), 0, type(uint96).max / 8));
            c.finally[c.topped[i]] += c.amounts[i];
            total += c.amounts[i];
        }
        fund(payer.who, uint96(total));
        for (uint256 i; i < PROVIDERS; ++i) {
            earmark(payer.who, c.providers[i].who, laneOf, c.allocated[i]);
        }
        for (uint256 i; i < VOUCHERS; ++i) {
            c.vouchers[i] = signVoucher(c, i, next(seed, 30 + i));
        }
        for (uint256 i; i < QUORUMS; ++i) {
            c.quorums[i] = signQuorum(c, i, next(seed, 50 + i));
        }
    }

    /// @dev Three good vouchers for each provider, of which one at least is worth something; some of the rest are of
    /// another epoch, or of a stranger.
    function signVoucher(Case memory c, uint256 i, uint256 dice) internal view returns (bytes memory) {
        uint256 p = i % PROVIDERS;
        uint96 total = i < PROVIDERS ? uint96(biased(dice, 1, c.finally[p])) : boundary(c, p, dice);
        uint24 epoch = i < 2 * PROVIDERS || dice % 7 != 0 ? 0 : uint24(biased(dice, 1, type(uint24).max));
        uint256 pk = i < 2 * PROVIDERS || dice % 5 != 0 ? payer.pk : stranger.pk;
        if (epoch == 0 && pk == payer.pk && total > c.highest[p]) c.highest[p] = total;
        return recordsFor(c.providers[p].who, laneOf, row(pk, c.providers[p].who, laneOf, total, epoch));
    }

    function signQuorum(Case memory c, uint256 i, uint256 dice) internal view returns (bytes memory) {
        Plan memory p;
        p.payer = payer;
        p.leaves = new Leaf[](PROVIDERS);
        p.fuel = uint64(biased(dice, 0, 10e9));
        p.resultsRoot = bytes32(dice);
        p.order.work = bytes32(i);
        p.order.royalty = royalty;
        p.order.quorum = 2;
        p.order.maxFuel = 10e9;
        p.order.settleBy = uint40(NOW);
        for (uint256 j; j < PROVIDERS; ++j) {
            uint96 owed = boundary(c, j, next(dice, j));
            uint24 epoch = next(dice, 10 + j) % 6 == 0 ? 1 : 0;
            p.leaves[j] = Leaf(c.providers[j], owed, UNIT, UNIT, epoch, 1, bytes32(j));
        }
        sort(p.leaves);
        p.order.roster = rosterOf(p.leaves);
        uint8 members = [3, 5, 6, 7][next(dice, 20) % 4];
        for (uint256 j; j < PROVIDERS; ++j) {
            Leaf memory leaf = p.leaves[j];
            if (!isRow(members, j) || leaf.epoch != 0) continue;
            uint256 k;
            while (c.providers[k].who != leaf.provider.who) ++k;
            uint256 total = leaf.owed + vault.priceOf(leaf.flat, leaf.rate, p.fuel);
            if (total > c.highest[k]) c.highest[k] = total;
        }
        return abi.encodeCall(
            vault.settleQuorum,
            (p.order, orderSignature(p), p.fuel, p.resultsRoot, rowsOf(p, members), members, othersOf(p, members))
        );
    }

    /// @dev On and beside every bound that there is before, between and after the top-ups.
    function boundary(Case memory c, uint256 p, uint256 dice) internal pure returns (uint96) {
        uint96[9] memory edges = [
            0,
            1,
            c.allocated[p] - 1,
            c.allocated[p],
            c.allocated[p] + 1,
            c.finally[p],
            c.finally[p] + 1,
            type(uint96).max - 1,
            type(uint96).max
        ];
        uint256 pick = dice % 12;
        return pick < 9 ? edges[pick] : uint96(biased(dice / 12, 0, uint256(c.finally[p]) + 2));
    }

    /* ---------- a schedule ---------- */

    /// @dev Up to twelve events drawn with repetition, the top-ups among them; then each instrument once more.
    function play(Case memory c, uint256 seed) internal {
        uint256 topUps;
        uint256 length = next(seed, 0) % 13;
        for (uint256 i; i < length; ++i) {
            uint256 dice = next(seed, 100 + i);
            if (dice % 4 == 0 && topUps < TOP_UPS) topUp(c, topUps++);
            else submit(c, dice / 4 % (VOUCHERS + QUORUMS), dice % 2 == 0 ? next(dice, 1) % VOUCHERS : VOUCHERS);
        }
        while (topUps < TOP_UPS) topUp(c, topUps++);
        uint256[] memory order = shuffled(VOUCHERS + QUORUMS, next(seed, 1));
        for (uint256 i; i < order.length; ++i) {
            submit(c, order[i], next(seed, 200 + i) % (2 * VOUCHERS));
        }
        uint256 royalties;
        for (uint256 p; p < PROVIDERS; ++p) {
            uint256 want = c.highest[p] < c.finally[p] ? c.highest[p] : c.finally[p];
            eq(claimedOf(payer.who, c.providers[p].who, laneOf), want, "claimed");
            yes(want != 0, "something was paid");
            eq(balanceOf(c.providers[p].who), want - want * 3333 / 10_000, "the payee's part");
            royalties += want * 3333 / 10_000;
        }
        eq(balanceOf(author), royalties, "the author's part");
        eq(balanceOf(payer.who), 0, "nothing else moved");
    }

    function topUp(Case memory c, uint256 i) internal {
        earmark(payer.who, c.providers[c.topped[i]].who, laneOf, c.amounts[i]);
    }

    /// @dev An instrument, by a stranger; a voucher alone or in one batch with another.
    function submit(Case memory c, uint256 i, uint256 with) internal {
        vm.prank(stranger.who);
        if (i < VOUCHERS) {
            vault.claimFor(with < VOUCHERS ? bytes.concat(c.vouchers[i], c.vouchers[with]) : c.vouchers[i]);
        } else {
            (bool ok,) = address(vault).call(c.quorums[i - VOUCHERS]);
            yes(ok, "a quorum settles");
        }
    }

    function shuffled(uint256 count, uint256 seed) internal pure returns (uint256[] memory list) {
        list = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            uint256 j = next(seed, i) % (i + 1);
            list[i] = list[j];
            list[j] = i;
        }
    }

    function next(uint256 seed, uint256 i) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, i)));
    }
}
