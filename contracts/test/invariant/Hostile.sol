// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Bind, Closing, Result} from "../../src/interfaces/IVault.sol";
import {Honest} from "./Honest.sol";
import {Parties} from "./Parties.sol";

/// @notice The hostile twin: everything here tries to take, block or confuse, and must get nothing.
///
///     deposit   overfill, depositUnfunded     payMany      overgive
///     withdraw  overdraw                      bind         squat
///     open      overspend, meddle             stake        overstake
///     voucher   replay, replayAll, corrupt,   unstake      unstakeEarly
///               junk, strangersVoucher        register     registerFalsely
///     claimOut  stealClaim                    equivocate   falseAccusation, reuseEvidence
///     quorum    falseQuorum, replayQuorum     wait         (time is everybody's)
///     release   snatch                        donate       (nobody's)
contract Hostile is Honest {
    /// @dev Around every call that must fail: the test runner records logs of calls that revert, too, which no chain has.
    event Attempt(bool begins);

    /// @dev A call that must fail. Built before the prank, so that the prank hits the call.
    function _mustFail(address who, address target, bytes memory data) internal {
        emit Attempt(true);
        vm.prank(who);
        (bool ok,) = target.call(data);
        yes(!ok, "refused");
        emit Attempt(false);
    }

    /* ---------- vouchers ---------- */

    function replay(uint256 which) external observed("replay") {
        if (book.length == 0) return;
        _redeem(which % book.length);
    }

    /// @dev A batch equals its rows, in any order (C10), and a second time pays nothing (C11).
    function replayAll(uint256 start, bool backwards) external observed("replay all") {
        if (book.length == 0) return;
        uint256 count = book.length < 6 ? book.length : 6;
        bytes memory all;
        uint256 due;
        uint96[CHANNELS] memory claimed;
        for (uint256 i; i < count; ++i) {
            uint256 index = addmod(start, backwards ? count - i : i, book.length);
            all = bytes.concat(all, _recordsOf(index));
            due += _dueAfter(claimed, index);
        }
        uint96 authorHad = balanceOf(author);
        uint96 credited = vault.claimFor(all);
        eq(uint256(credited) + balanceOf(author) - authorHad, due, "C10: a batch equals its rows");
        eq(vault.claimFor(all), 0, "C11: a second time pays nothing");
    }

    /// @dev What a voucher pays after those of the batch before it.
    function _dueAfter(uint96[CHANNELS] memory claimed, uint256 index) private returns (uint96 due) {
        uint256 c = book[index].line;
        State memory s = _state(c);
        touched |= 1 << c;
        if (claimed[c] == 0) claimed[c] = s.claimed;
        uint96 target = book[index].total < s.allocated ? book[index].total : s.allocated;
        if (book[index].epoch != s.epoch || target <= claimed[c]) return 0;
        due = target - claimed[c];
        claimed[c] = target;
    }

    function corrupt(uint256 which, uint256 position, uint8 change) external observed("corrupt") {
        if (book.length == 0 || change == 0) return;
        bytes memory list = _recordsOf(which % book.length);
        // Anything but the count: payee, lane, signature, total or epoch.
        position %= list.length;
        if (position == 52) return;
        list[position] = bytes1(uint8(list[position]) ^ change);
        eq(vault.claimFor(list), 0, "a changed voucher pays nobody");
    }

    function junk(bytes32 r, bytes32 vs, uint96 total, uint24 epoch, uint256 c) external observed("junk") {
        Parties.Line memory line = lines[c % CHANNELS];
        bytes memory list = recordsFor(line.payee.who, line.lane, abi.encodePacked(r, vs, total, epoch));
        eq(vault.claimFor(list), 0, "junk pays nobody");
    }

    function strangersVoucher(uint256 c, uint256 raw) external observed("stranger's voucher") {
        c %= CHANNELS;
        uint24 epoch = _state(c).epoch;
        eq(claimOne(stranger, lines[c].payee.who, lines[c].lane, _boundary(c, raw), epoch), 0, "nothing allocated");
    }

    /// @dev Somebody else's voucher, claimed to oneself.
    function stealClaim(uint256 which) external observed("steal claim") {
        if (book.length == 0) return;
        which %= book.length;
        bytes memory list = records(lines[book[which].line].lane, book[which].row);
        uint256 had = token.balanceOf(stranger.who);
        uint96 own = balanceOf(stranger.who);
        vm.prank(stranger.who);
        eq(vault.claim(list, stranger.who), 0, "it names another payee");
        eq(token.balanceOf(stranger.who), had + own, "out comes what the stranger had");
        withdrawn += own;
    }

    /* ---------- accounts ---------- */

    function overdraw(uint256 who, uint256 raw) external observed("overdraw") {
        address account = accounts[who % accounts.length];
        uint96 balance = balanceOf(account);
        uint96 amount = uint96(biased(raw, uint256(balance) + 1, uint256(balance) * 2 + 2));
        address caller = account == accounts[2] ? accounts[0] : account;
        _mustFail(caller, address(vault), abi.encodeCall(vault.withdraw, (account, account, amount)));
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.withdraw, (accounts[0], stranger.who, 1)));
        // The bound key itself takes nothing either.
        _mustFail(accounts[2], address(vault), abi.encodeCall(vault.withdraw, (accounts[2], stranger.who, 1)));
    }

    function overgive(uint256 who, uint256 raw) external observed("overgive") {
        address from = accounts[who % accounts.length];
        uint96 balance = balanceOf(from);
        address to = from == stranger.who ? author : stranger.who;
        bytes32[] memory words = new bytes32[](2);
        words[0] = word(to, uint96(biased(raw, uint256(balance) + 1, uint256(balance) * 2 + 2)));
        words[1] = word(to, balance);
        _mustFail(from, address(vault), abi.encodeCall(vault.payMany, (words)));
    }

    function overspend(uint256 c, uint256 raw) external observed("overspend") {
        Parties.Line memory line = lines[c % CHANNELS];
        uint96 balance = balanceOf(line.owner);
        uint96 amount = uint96(biased(raw, uint256(balance) + 1, uint256(balance) * 2 + 2));
        uint40 expiry = uint40(block.timestamp + 1);
        bytes memory data = abi.encodeCall(vault.open, (line.payer.who, expiry, one(line.lane, line.payee.who, amount)));
        _mustFail(line.owner, address(vault), data);
    }

    /// @dev A stranger, a payee or a bound key tops up or extends what is not theirs, or the owner too far.
    function meddle(uint256 c, uint256 raw) external observed("meddle") {
        Parties.Line memory line = lines[c % CHANNELS];
        uint40 expiry = uint40(biased(raw, block.timestamp + 1, block.timestamp + 400 days));
        bytes memory data = abi.encodeCall(vault.open, (line.payer.who, expiry, one(line.lane, line.payee.who, 0)));
        _mustFail(stranger.who, address(vault), data);
        _mustFail(line.payee.who, address(vault), data);
        _mustFail(accounts[2], address(vault), data);
        expiry = uint40(biased(raw, block.timestamp + 400 days + 1, type(uint40).max));
        data = abi.encodeCall(vault.open, (line.payer.who, expiry, one(line.lane, line.payee.who, 0)));
        _mustFail(line.owner, address(vault), data);
        expiry = uint40(biased(raw, 0, block.timestamp));
        data = abi.encodeCall(vault.open, (line.payer.who, expiry, one(line.lane, line.payee.who, 0)));
        _mustFail(line.owner, address(vault), data);
    }

    function overfill(uint256 raw) external observed("overfill") {
        uint256 room = type(uint96).max - held();
        uint96 amount = uint96(biased(raw, room + 1, type(uint96).max));
        if (amount <= room) return;
        token.mint(stranger.who, amount);
        vm.prank(stranger.who);
        token.approve(address(vault), amount);
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.deposit, (stranger.who, amount)));
        vm.prank(stranger.who);
        token.approve(address(vault), 0);
    }

    /// @dev Somebody else's tokens, or none.
    function depositUnfunded(uint256 who, uint96 amount) external observed("deposit unfunded") {
        address account = accounts[who % accounts.length];
        _mustFail(account, address(vault), abi.encodeCall(vault.deposit, (account, amount)));
    }

    function donate(uint256 raw) external observed("donate") {
        uint96 amount = uint96(biased(raw, 1, UNIT));
        token.mint(address(vault), amount);
        donated += amount;
    }

    /* ---------- channels and keys ---------- */

    function snatch(uint256 c) external observed("snatch") {
        c %= CHANNELS;
        Parties.Line memory line = lines[c];
        State memory s = _state(c);
        bytes memory good = consent(line.payee, line.payer.who, line.lane, s.epoch);
        bytes memory data = abi.encodeCall(vault.release, (line.payer.who, line.lane, closing(line.payee.who, good)));
        _mustFail(stranger.who, address(vault), data);
        _mustFail(line.payee.who, address(vault), data);
        if (block.timestamp >= s.expiry) return;
        bytes[4] memory signatures = [
            bytes(""),
            consent(line.payee, line.payer.who, line.lane, s.epoch + 1),
            consent(line.payee, line.payer.who, line.lane ^ bytes32(uint256(1)), s.epoch),
            consent(line.payer, line.payer.who, line.lane, s.epoch)
        ];
        for (uint256 i; i < 4; ++i) {
            Closing[] memory rows = closing(line.payee.who, signatures[i]);
            _mustFail(line.owner, address(vault), abi.encodeCall(vault.release, (line.payer.who, line.lane, rows)));
        }
    }

    /// @dev Taking a key without its signature, a bound one again, or an account that owns keys or has a stake.
    function squat(uint256 who) external observed("squat") {
        Actor memory victim = lines[who % CHANNELS].payer;
        bytes memory own = sign(stranger.pk, vault.hashBind(Bind(stranger.who)));
        bytes memory forAnother = sign(victim.pk, vault.hashBind(Bind(lines[0].payee.who)));
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.bind, (victim.who, own)));
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.bind, (victim.who, forAnother)));
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.revoke, (accounts[2])));
        if (lastBound.pk == 0) return;
        bytes memory consented = sign(lastBound.pk, vault.hashBind(Bind(stranger.who)));
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.bind, (lastBound.who, consented)));
        consented = sign(lines[0].payer.pk, vault.hashBind(Bind(stranger.who)));
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.bind, (accounts[0], consented)));
    }

    /* ---------- quorums ---------- */

    function replayQuorum(uint256 which) external observed("replay quorum") {
        if (quorumBook.length == 0) return;
        _settleHeld(which % quorumBook.length);
    }

    function falseQuorum(uint256 k, uint256 l, uint256 kind) external observed("false quorum") {
        (k, l, kind) = (k % PAYERS, l % LANES, kind % 6);
        Plan memory p = _plan(k, l, 0, 1e9);
        uint8 members = 3;
        if (kind == 0) {
            p.order.quorum = 1;
            members = 1;
        } else if (kind == 1) {
            p.leaves[1] = p.leaves[0];
            p.order.roster = rosterOf(p.leaves);
        } else if (kind == 2) {
            // The payer's rich leaf, never signed: the roster does not cover it.
            p.leaves[0].owed = type(uint96).max;
        } else if (kind == 3) {
            members = 4;
        } else if (kind == 4) {
            p.fuel = p.order.maxFuel + 1;
        } else {
            // Nobody signed for this one, and zero is no provider.
            p.leaves[0].provider.pk = stranger.pk;
        }
        _mustFail(stranger.who, address(vault), _settlement(p, members));
    }

    /* ---------- stake ---------- */

    function overstake(uint256 p, uint256 raw) external observed("overstake") {
        address who = providers[p % PROVIDERS].who;
        uint96 balance = balanceOf(who);
        uint96 amount = uint96(biased(raw, uint256(balance) + 1, uint256(balance) * 2 + 2));
        _mustFail(who, address(vault), abi.encodeCall(vault.stake, (amount)));
    }

    /// @dev A timer that is restarted by asking again, or not awaited.
    function unstakeEarly(uint256 p) external observed("unstake early") {
        address who = providers[p % PROVIDERS].who;
        (,, uint40 unbondingAt) = vault.accountOf(who);
        if (unbondingAt != 0 && block.timestamp >= unbondingAt) return;
        _mustFail(who, address(vault), abi.encodeCall(vault.withdrawStake, ()));
        if (unbondingAt != 0) _mustFail(who, address(vault), abi.encodeCall(vault.requestUnstake, ()));
    }

    function registerFalsely(uint256 p) external observed("register falsely") {
        bytes memory data = abi.encodeCall(vault.register, ("peer", "", ""));
        _mustFail(stranger.who, address(vault), data);
        data = abi.encodeCall(vault.register, ("peer", new bytes(1000), new bytes(21)));
        _mustFail(providers[p % PROVIDERS].who, address(vault), data);
    }

    function falseAccusation(uint256 p, uint64 fuel) external observed("false accusation") {
        Actor memory accused = providers[p % PROVIDERS];
        uint96 before = stakeOf(accused.who);
        Result memory first = Result(keccak256("x"), bytes32(0), fuel, bytes32(0));
        Result memory second = Result(first.order, first.resultsRoot, fuel, keccak256("other seals"));
        bytes memory a = sign(accused.pk, vault.hashResult(first));
        bytes memory b = sign(accused.pk, vault.hashResult(second));
        _mustFail(stranger.who, address(court), abi.encodeCall(court.slash, (vault, first, a, second, b)));
        second.fuel = fuel ^ 1;
        b = sign(stranger.pk, vault.hashResult(second));
        _mustFail(stranger.who, address(court), abi.encodeCall(court.slash, (vault, first, a, second, b)));
        second.order = keccak256("y");
        b = sign(accused.pk, vault.hashResult(second));
        _mustFail(stranger.who, address(court), abi.encodeCall(court.slash, (vault, first, a, second, b)));
        bytes memory data = abi.encodeCall(vault.slash, (accused.who, bytes32(0), stranger.who));
        _mustFail(stranger.who, address(vault), data);
        eq(stakeOf(accused.who), before, "the stake is untouched");
    }

    /// @dev An offence counts once, however much is staked again.
    function reuseEvidence() external observed("reuse evidence") {
        if (lastEvidence.length == 0) return;
        _mustFail(stranger.who, address(court), lastEvidence);
    }

    /* ---------- the end ---------- */

    /// @notice The run is over: every kept voucher is submitted once more, everybody leaves, and what is left in the
    /// vault is what nobody owns.
    function everybodyLeaves() external {
        for (uint256 i; i < book.length; ++i) {
            _redeem(i);
        }
        _observe();
        for (uint256 i; i < book.length; ++i) {
            eq(_due(book[i].line, book[i].epoch, book[i].total), 0, "SYM-09: everything signed and earmarked is paid");
        }
        vm.warp(block.timestamp + 400 days);
        for (uint256 c; c < CHANNELS; ++c) {
            _release(c);
        }
        _observe();
        for (uint256 p; p < PROVIDERS; ++p) {
            _leave(providers[p].who);
        }
        for (uint256 i; i < accounts.length; ++i) {
            _withdraw(accounts[i], 2);
        }
        _observe();
        eq(owed, vault.burnedStake(), "C8: everybody got everything");
        eq(held(), owed + donated, "and only what is nobody's stays");
    }

    function _leave(address who) private {
        (, uint96 staked, uint40 unbondingAt) = vault.accountOf(who);
        if (staked == 0) return;
        vm.startPrank(who);
        if (unbondingAt == 0) vault.requestUnstake();
        vm.warp(block.timestamp + 14 days);
        vault.withdrawStake();
        vm.stopPrank();
    }
}
