// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Closing, Result} from "../../src/interfaces/IVault.sol";
import {Honest} from "./Honest.sol";

/// @notice The hostile twin: everything here tries to take, block or confuse, and must get nothing.
contract Hostile is Honest {
    /// @dev A call that must fail. Built before the prank, so that the prank hits the call.
    function _mustFail(address who, address target, bytes memory data) internal {
        vm.prank(who);
        (bool ok,) = target.call(data);
        yes(!ok, "refused");
    }

    function replay(uint256 which) external observed("replay") {
        if (book.length == 0) return;
        vm.prank(stranger.who);
        vault.claimFor(book[which % book.length]);
    }

    function replayAll() external observed("replay all") {
        bytes memory all;
        uint256 from = book.length > 8 ? book.length - 8 : 0;
        for (uint256 i = book.length; i > from; --i) {
            all = bytes.concat(all, book[i - 1]);
        }
        vault.claimFor(all);
        eq(vault.claimFor(all), 0, "a second time pays nothing");
    }

    function corrupt(uint256 which, uint256 position, uint8 change) external observed("corrupt") {
        if (book.length == 0 || change == 0) return;
        bytes memory list = book[which % book.length];
        // Anything but the count: payee, lane, signature, total or epoch.
        position %= list.length;
        if (position == 52) return;
        list[position] = bytes1(uint8(list[position]) ^ change);
        eq(vault.claimFor(list), 0, "a changed voucher pays nobody");
    }

    function junk(bytes32 r, bytes32 vs, uint96 total, uint24 epoch, uint256 p) external observed("junk") {
        bytes memory list = recordsFor(providers[p % PROVIDERS].who, lanes[0], abi.encodePacked(r, vs, total, epoch));
        eq(vault.claimFor(list), 0, "junk pays nobody");
    }

    function strangersVoucher(uint256 p, uint256 raw) external observed("stranger's voucher") {
        address to = providers[p % PROVIDERS].who;
        eq(claimOne(stranger, to, lanes[0], uint96(biased(raw, 0, type(uint96).max)), 0), 0, "nothing allocated");
    }

    function overdraw(uint256 who, uint256 raw) external observed("overdraw") {
        address account = accounts[who % accounts.length];
        uint96 balance = balanceOf(account);
        uint96 amount = uint96(biased(raw, uint256(balance) + 1, uint256(balance) * 2 + 2));
        address caller = account == payers[2].who ? payers[0].who : account;
        _mustFail(caller, address(vault), abi.encodeCall(vault.withdraw, (account, account, amount)));
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.withdraw, (payers[0].who, stranger.who, 1)));
        // The bound key itself takes nothing either.
        _mustFail(payers[2].who, address(vault), abi.encodeCall(vault.withdraw, (payers[2].who, stranger.who, 1)));
    }

    function overspend(uint256 k, uint256 p, uint256 raw) external observed("overspend") {
        k %= PAYERS;
        address owner = ownerOfKey(k);
        uint96 balance = balanceOf(owner);
        uint96 amount = uint96(biased(raw, uint256(balance) + 1, uint256(balance) * 2 + 2));
        uint40 expiry = uint40(block.timestamp + 1);
        bytes memory data =
            abi.encodeCall(vault.open, (payers[k].who, expiry, one(lanes[0], providers[p % PROVIDERS].who, amount)));
        _mustFail(owner, address(vault), data);
        data = abi.encodeCall(vault.open, (payers[k].who, expiry, one(lanes[0], stranger.who, 0)));
        _mustFail(stranger.who, address(vault), data);
        _mustFail(payers[2].who, address(vault), data);
    }

    function overfill(uint256 raw) external observed("overfill") {
        uint256 room = type(uint96).max - held();
        uint96 amount = uint96(biased(raw, room + 1, type(uint96).max));
        if (amount <= room) return;
        uint256 state = vm.snapshotState();
        token.mint(stranger.who, amount);
        vm.prank(stranger.who);
        token.approve(address(vault), amount);
        _mustFail(stranger.who, address(vault), abi.encodeCall(vault.deposit, (stranger.who, amount)));
        vm.revertToState(state);
    }

    function snatch(uint256 k, uint256 p, uint256 l) external observed("snatch") {
        (k, p, l) = (k % PAYERS, p % PROVIDERS, l % LANES);
        (,, uint24 epoch, uint40 expiry) = vault.channelOf(payers[k].who, providers[p].who, lanes[l]);
        if (block.timestamp >= expiry) return;
        bytes[3] memory signatures = [
            bytes(""),
            consent(providers[p], payers[k].who, lanes[l], epoch + 1),
            consent(payers[k], payers[k].who, lanes[l], epoch)
        ];
        for (uint256 i; i < 3; ++i) {
            Closing[] memory rows = closing(providers[p].who, signatures[i]);
            bytes memory data = abi.encodeCall(vault.release, (payers[k].who, lanes[l], rows));
            _mustFail(ownerOfKey(k), address(vault), data);
        }
    }

    function falseQuorum(uint256 k, uint256 l, uint256 kind) external observed("false quorum") {
        (k, l, kind) = (k % PAYERS, l % LANES, kind % 4);
        Plan memory p = _plan(k, l, UNIT, 1e9);
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
        } else {
            members = 4;
        }
        bytes memory data = abi.encodeCall(
            vault.settleQuorum,
            (p.order, orderSignature(p), p.fuel, p.resultsRoot, rowsOf(p, members), members, othersOf(p, members))
        );
        _mustFail(stranger.who, address(vault), data);
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
        bytes memory data = abi.encodeCall(vault.slash, (accused.who, bytes32(0), stranger.who));
        _mustFail(stranger.who, address(vault), data);
        eq(stakeOf(accused.who), before, "the stake is untouched");
    }

    function donate(uint256 raw) external observed("donate") {
        uint96 amount = uint96(biased(raw, 1, UNIT));
        token.mint(address(vault), amount);
        donated += amount;
    }
}
