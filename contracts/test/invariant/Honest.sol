// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Result} from "../../src/interfaces/IVault.sol";
import {Parties} from "./Parties.sol";

/// @notice Parties that keep to the rules; every call here must succeed. A payer may sign any total: its signature is
/// its own business.
abstract contract Honest is Parties {
    bytes internal lastEvidence;
    Actor public lastBound;
    uint256 internal bindings;

    function deposit(uint256 who, uint256 raw) external observed("deposit") {
        uint96 amount = uint96(biased(raw, 1, 1000 * UNIT));
        _fund(accounts[who % 2], amount);
    }

    function withdraw(uint256 who, uint256 raw) external observed("withdraw") {
        _withdraw(accounts[who % accounts.length], raw);
    }

    /// @dev The third payer key is bound: its owner withdraws what its account holds.
    function _withdraw(address account, uint256 raw) internal {
        uint96 amount = uint96(biased(raw, 0, balanceOf(account)));
        if (amount == 0) return;
        vm.prank(account == accounts[2] ? accounts[0] : account);
        vault.withdraw(account, account, amount);
        withdrawn += amount;
    }

    function open(uint256 c, uint256 raw, uint256 rawExpiry) external observed("open") {
        c %= CHANNELS;
        uint96 amount = uint96(biased(raw, 0, balanceOf(lines[c].owner)));
        _open(c, amount, uint40(biased(rawExpiry, block.timestamp + 1, block.timestamp + 400 days)));
    }

    function _open(uint256 c, uint96 amount, uint40 expiry) internal {
        Parties.Line memory line = lines[c];
        vm.prank(line.owner);
        vault.open(line.payer.who, expiry, one(line.lane, line.payee.who, amount));
        touched |= 1 << c;
    }

    function voucher(uint256 c, uint256 raw) external observed("voucher") {
        c %= CHANNELS;
        _redeem(_signVoucher(c, _boundary(c, raw)));
    }

    /// @dev Signed now, submitted by whoever later, if at all.
    function voucherKept(uint256 c, uint256 raw) external observed("voucher kept") {
        c %= CHANNELS;
        _signVoucher(c, _boundary(c, raw));
    }

    function claimOut(uint256 c, uint256 raw) external observed("claim out") {
        c %= CHANNELS;
        Parties.Line memory line = lines[c];
        uint256 index = _signVoucher(c, _boundary(c, raw));
        bytes memory list = records(line.lane, book[index].row);
        uint256 before = token.balanceOf(line.payee.who);
        vm.prank(line.payee.who);
        vault.claim(list, line.payee.who);
        eq(balanceOf(line.payee.who), 0, "everything is paid out");
        withdrawn += token.balanceOf(line.payee.who) - before;
        touched |= 1 << c;
    }

    function quorum(uint256 k, uint256 l, uint256 subset, uint256 rawOwed, uint256 rawFuel)
        external
        observed("quorum")
    {
        uint8[4] memory subsets = [3, 5, 6, 7];
        _settleHeld(_keepQuorum(k % PAYERS, l % LANES, subsets[subset % 4], rawOwed, uint64(biased(rawFuel, 0, 10e9))));
    }

    /// @dev An order over all three providers, each owed something on or beside a bound, and the quorum of `members`.
    function _keepQuorum(uint256 k, uint256 l, uint8 members, uint256 rawOwed, uint64 fuel)
        internal
        returns (uint256 index)
    {
        Plan memory p = _plan(k, l, rawOwed, fuel);
        index = quorumBook.length;
        HeldQuorum storage q = quorumBook.push();
        q.data = _settlement(p, members);
        q.settleBy = p.order.settleBy;
        for (uint256 i; i < PROVIDERS; ++i) {
            if (!isRow(members, i)) continue;
            uint256 c = _lineOf(k, _providerAt(p.leaves[i].provider.who), l);
            uint256 total = p.leaves[i].owed + vault.priceOf(p.leaves[i].flat, p.leaves[i].rate, fuel);
            q.lines.push(c);
            q.epochs.push(p.leaves[i].epoch);
            q.totals.push(total);
            _noteSigned(c, p.leaves[i].epoch, total);
        }
    }

    function _settlement(Plan memory p, uint8 members) internal view returns (bytes memory) {
        return abi.encodeCall(
            vault.settleQuorum,
            (p.order, orderSignature(p), p.fuel, p.resultsRoot, rowsOf(p, members), members, othersOf(p, members))
        );
    }

    function _plan(uint256 k, uint256 l, uint256 rawOwed, uint64 fuel) internal view returns (Plan memory p) {
        p.payer = lines[_lineOf(k, 0, l)].payer;
        p.leaves = new Leaf[](PROVIDERS);
        p.fuel = fuel;
        p.resultsRoot = keccak256("root");
        p.order.work = keccak256(abi.encode("work", quorumBook.length));
        p.order.royalty = bytes22(lines[_lineOf(k, 0, l)].lane);
        p.order.quorum = 2;
        p.order.maxFuel = 10e9;
        p.order.settleBy = uint40(block.timestamp + 3 days);
        for (uint256 i; i < PROVIDERS; ++i) {
            uint256 c = _lineOf(k, i, l);
            uint96 ofOwed = rawOwed == 0 ? _state(c).claimed : _boundary(c, rawOwed);
            p.leaves[i] = Leaf(providers[i], ofOwed, UNIT / 10, UNIT / 10, _state(c).epoch, 1, bytes32(i));
        }
        sort(p.leaves);
        p.order.roster = rosterOf(p.leaves);
    }

    function _providerAt(address who) internal view returns (uint256 i) {
        while (providers[i].who != who) ++i;
    }

    function release(uint256 c) external observed("release") {
        _release(c % CHANNELS);
    }

    /// @dev From the expiry on alone, before it with the payee's consent. What is owed stays the same (SYM-01).
    function _release(uint256 c) internal {
        Parties.Line memory line = lines[c];
        State memory s = _state(c);
        bytes memory signature;
        if (block.timestamp < s.expiry) {
            signature = consent(line.payee, line.payer.who, line.lane, s.epoch);
            seen["early release"]++;
        }
        uint96 had = balanceOf(line.owner);
        vm.prank(line.owner);
        uint96 refund = vault.release(line.payer.who, line.lane, closing(line.payee.who, signature));
        eq(refund, s.allocated - s.claimed, "C8: the owner always gets the rest");
        eq(balanceOf(line.owner), had + refund, "into its account, and not more than was open");
        if (refund != 0) seen["refunded"]++;
        closed |= 1 << c;
    }

    function payMany(uint256 who, uint256 raw) external observed("payMany") {
        address from = accounts[who % 2];
        bytes32[] memory words = new bytes32[](2);
        uint96 amount = uint96(biased(raw, 0, balanceOf(from) / 2));
        words[0] = word(providers[who % PROVIDERS].who, amount);
        words[1] = word(from, amount);
        vm.prank(from);
        vault.payMany(words);
    }

    /// @dev A fresh key for the second payer, sometimes revoked.
    function bindFresh(uint256 raw) external observed("bind") {
        lastBound = actorOf(uint256(keccak256(abi.encode("fresh", bindings++))));
        bindKey(accounts[1], lastBound);
        (address owner,) = vault.ownerOfKey(lastBound.who);
        eq(owner, accounts[1], "bound");
        if (raw % 2 == 0) return;
        vm.prank(accounts[1]);
        vault.revoke(lastBound.who);
        (, bool revoked) = vault.ownerOfKey(lastBound.who);
        yes(revoked, "revoked");
        seen["revoked"]++;
    }

    function stake(uint256 p, uint256 raw) external observed("stake") {
        address who = providers[p % PROVIDERS].who;
        uint96 amount = uint96(biased(raw, 0, balanceOf(who)));
        if (amount == 0) return;
        vm.prank(who);
        vault.stake(amount);
    }

    function unstake(uint256 p, uint256 patience) external observed("unstake") {
        address who = providers[p % PROVIDERS].who;
        (, uint96 staked, uint40 unbondingAt) = vault.accountOf(who);
        if (staked == 0) return;
        if (unbondingAt > block.timestamp && patience % 2 == 0) vm.warp(unbondingAt);
        vm.startPrank(who);
        if (unbondingAt == 0) {
            vault.requestUnstake();
        } else if (block.timestamp >= unbondingAt) {
            eq(vault.withdrawStake(), staked, "the whole stake comes back");
            seen["stake withdrawn"]++;
        }
        vm.stopPrank();
    }

    function register(uint256 p, uint256 length) external observed("register") {
        address who = providers[p % PROVIDERS].who;
        if (stakeOf(who) == 0) return;
        vm.prank(who);
        vault.register("peer", new bytes(64), new bytes(length % 957));
    }

    function equivocate(uint256 p, uint256 fuel) external observed("equivocate") {
        _equivocate(providers[p % PROVIDERS], uint64(fuel));
    }

    /// @dev Two different Results of one order: the whole stake, a part of it to the reporter, the rest to nobody.
    function _equivocate(Actor memory guilty, uint64 fuel) internal {
        uint96 staked = stakeOf(guilty.who);
        if (staked == 0) return;
        Result memory first = Result(keccak256(abi.encode(seen["slashed"])), bytes32(0), fuel, bytes32(0));
        Result memory second = Result(first.order, first.resultsRoot, fuel ^ 1, first.seals);
        bytes memory a = sign(guilty.pk, vault.hashResult(first));
        bytes memory b = sign(guilty.pk, vault.hashResult(second));
        lastEvidence = abi.encodeCall(court.slash, (vault, first, a, second, b));
        uint96 had = balanceOf(stranger.who);
        vm.prank(stranger.who);
        (, uint96 taken, uint96 reward) = court.slash(vault, first, a, second, b);
        eq(taken, staked, "C12: the whole stake");
        eq(stakeOf(guilty.who), 0, "nothing stays");
        eq(balanceOf(stranger.who), had + reward, "the reward is the reporter's");
        eq(vault.burnedStake(), uint256(lastBurned) + taken - reward, "the rest is nobody's");
        seen["slashed"]++;
    }

    function wait(uint256 raw) external observed("wait") {
        vm.warp(block.timestamp + biased(raw, 1, 20 days));
    }

    /* ---------- what a run has to have seen ---------- */

    /// @dev An invariant holds trivially where nothing happens. So every fourth step something does, whatever the fuzzer
    /// picks: a payment, a clamped payment, a quorum, a release with a refund, a slash.
    function _mustHappen() internal override {
        if (steps % 4 != 0) return;
        uint256 dice = uint256(keccak256(abi.encode(steps, owed, block.timestamp)));
        uint256 c = dice % CHANNELS;
        uint256 turn = steps / 4 % 5;
        if (turn == 0) {
            State memory s = _topUp(c);
            _redeem(_signVoucher(c, s.claimed + uint96(biased(dice, 1, s.allocated - s.claimed))));
        } else if (turn == 1) {
            State memory s = _topUp(c);
            _redeem(_signVoucher(c, uint96(biased(dice, uint256(s.allocated) + 1, type(uint96).max))));
        } else if (turn == 2) {
            (uint256 k, uint256 l) = (dice % PAYERS, dice % LANES);
            for (uint256 p; p < PROVIDERS; ++p) {
                _topUp(_lineOf(k, p, l));
            }
            _settleHeld(_keepQuorum(k, l, 7, 0, uint64(dice % 10e9)));
        } else if (turn == 3) {
            _topUp(c);
            _observe();
            _release(c);
        } else {
            Actor memory guilty = providers[dice % PROVIDERS];
            _fund(guilty.who, UNIT);
            vm.prank(guilty.who);
            vault.stake(UNIT);
            _equivocate(guilty, uint64(dice));
        }
        _observe();
    }

    /// @dev The channel with something open in it.
    function _topUp(uint256 c) private returns (State memory) {
        _fund(lines[c].owner, UNIT);
        _open(c, UNIT, uint40(block.timestamp + 1));
        return _state(c);
    }
}
