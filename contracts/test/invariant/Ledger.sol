// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault, Voucher, WorkOrder} from "../../src/interfaces/IVault.sol";
import {Assertions} from "../helpers/Assertions.sol";
import {Vm} from "../helpers/Vm.sol";
import {Hostile} from "./Hostile.sol";

/// @notice A vault's state, rebuilt by somebody who reads its logs, its token's logs, and the calldata of claims and
/// settlements, and never its storage.
abstract contract Ledger is Assertions {
    struct Purse {
        uint256 balance;
        uint256 stake;
        uint256 unbondingAt;
    }

    struct Line {
        uint256 allocated;
        uint256 claimed;
        uint256 epoch;
        uint256 expiry;
    }

    /// @dev A claim or a settlement, in the order of the transactions. `offset` is where the next header starts.
    struct Call {
        address sender;
        bytes data;
        uint256 offset;
    }

    IVault internal subject;
    address internal coin;
    mapping(address account => Purse) internal purses;
    mapping(address key => address) internal owners;
    mapping(address key => bool) internal revoked;
    mapping(bytes32 id => Line) internal rebuilt;
    mapping(address payee => uint256) private royalties;
    mapping(bytes32 offence => bool) internal offences;
    uint256 internal burned;
    uint256 internal events;

    Call[] private claims;
    Call[] private payouts;
    Call[] private settlements;
    uint256 private claimAt;
    uint256 private payoutAt;
    uint256 private settlementAt;
    uint256 private royaltyDue;

    /* ---------- what is read ---------- */

    function readCalls(Vm.AccountAccess[] memory calls) internal {
        // A payout of nothing has no log: what is left of the transactions before had nothing to pay out.
        payoutAt = payouts.length;
        for (uint256 i; i < calls.length; ++i) {
            Vm.AccountAccess memory c = calls[i];
            if (c.kind != 0 || c.reverted || c.account != address(subject) || c.data.length < 4) continue;
            bytes4 selector = bytes4(c.data);
            bytes memory arguments = cut(c.data, 4, c.data.length);
            if (selector == IVault.claimFor.selector) {
                bytes memory list = abi.decode(arguments, (bytes));
                if (list.length != 0) claims.push(Call(address(0), list, 0));
            } else if (selector == IVault.claim.selector) {
                (bytes memory list, address payTo) = abi.decode(arguments, (bytes, address));
                if (list.length != 0) claims.push(Call(c.accessor, list, 0));
                if (payTo != address(0)) payouts.push(Call(c.accessor, "", 0));
            } else if (selector == IVault.settleQuorum.selector) {
                settlements.push(Call(c.accessor, arguments, 0));
            }
        }
    }

    function readLogs(Vm.Log[] memory logs) internal {
        bool reverted;
        for (uint256 i; i < logs.length; ++i) {
            Vm.Log memory log = logs[i];
            if (log.topics[0] == Hostile.Attempt.selector) reverted = abi.decode(log.data, (bool));
            if (reverted) continue;
            if (log.emitter == coin) {
                if (log.topics[0] != keccak256("Transfer(address,address,uint256)")) continue;
                if (addressOf(log.topics[1]) != address(subject)) continue;
                // Out of the vault: a withdrawal says so next, in the vault's own log; anything else is a payout.
                bool withdrawn = i + 1 < logs.length && logs[i + 1].topics[0] == IVault.Withdrawn.selector;
                if (!withdrawn) paidOut(abi.decode(log.data, (uint256)));
            } else if (log.emitter == address(subject)) {
                ++events;
                if (!readMoney(log) && !readChannels(log)) readStakes(log);
            }
        }
    }

    function paidOut(uint256 amount) private {
        Purse storage purse = purses[payouts[payoutAt++].sender];
        eq(amount, purse.balance, "a payout is the whole balance");
        purse.balance = 0;
    }

    /* ---------- one log after another ---------- */

    function readMoney(Vm.Log memory log) private returns (bool) {
        bytes32 topic = log.topics[0];
        if (topic == IVault.Deposited.selector) {
            purses[addressOf(log.topics[1])].balance += abi.decode(log.data, (uint96));
        } else if (topic == IVault.Withdrawn.selector) {
            purses[addressOf(log.topics[1])].balance -= abi.decode(log.data, (uint96));
        } else if (topic == IVault.PaidMany.selector) {
            bytes32[] memory words = abi.decode(log.data, (bytes32[]));
            uint256 total;
            for (uint256 i; i < words.length; ++i) {
                purses[address(bytes20(words[i]))].balance += uint96(uint256(words[i]));
                total += uint96(uint256(words[i]));
            }
            purses[addressOf(log.topics[1])].balance -= total;
        } else if (topic == IVault.RoyaltyCredited.selector) {
            uint256 amount = abi.decode(log.data, (uint96));
            purses[addressOf(log.topics[1])].balance += amount;
            if (royaltyDue == 0) {
                royalties[addressOf(log.topics[2])] += amount;
            } else {
                eq(amount, royaltyDue, "what a claim's payee did not get");
                royaltyDue = 0;
            }
        } else if (topic == IVault.Bound.selector) {
            owners[addressOf(log.topics[2])] = addressOf(log.topics[1]);
        } else if (topic == IVault.Revoked.selector) {
            revoked[addressOf(log.topics[2])] = true;
        } else {
            return false;
        }
        return true;
    }

    function readChannels(Vm.Log memory log) private returns (bool) {
        bytes32 topic = log.topics[0];
        if (topic == IVault.Opened.selector) {
            (uint40 expiry, bytes32[] memory words) = abi.decode(log.data, (uint40, bytes32[]));
            address key = addressOf(log.topics[1]);
            for (uint256 i; i < words.length; ++i) {
                Line storage line = rebuilt[idOf(key, address(bytes20(words[i])), log.topics[2])];
                line.allocated += uint96(uint256(words[i]));
                if (expiry > line.expiry) line.expiry = expiry;
                purses[ownerOf(key)].balance -= uint96(uint256(words[i]));
            }
        } else if (topic == IVault.Released.selector) {
            (uint24 epoch, uint96 refund) = abi.decode(log.data, (uint24, uint96));
            address key = addressOf(log.topics[1]);
            Line storage line = rebuilt[idOf(key, addressOf(log.topics[2]), log.topics[3])];
            eq(line.allocated - line.claimed, refund, "a refund is what was open");
            line.allocated = line.claimed;
            line.epoch = uint256(epoch) + 1;
            purses[ownerOf(key)].balance += refund;
        } else if (topic == IVault.Claimed.selector) {
            (bytes32 lane, uint256 paid, uint96 credited) = abi.decode(log.data, (bytes32, uint256, uint96));
            readClaim(addressOf(log.topics[1]), lane, paid, credited);
        } else if (topic == IVault.ResultsSettled.selector) {
            (,,, bytes32[] memory credits) = abi.decode(log.data, (bytes32, uint64, uint96, bytes32[]));
            readSettlement(addressOf(log.topics[2]), credits);
        } else {
            return false;
        }
        return true;
    }

    /// @dev The rows that the bitmap names lifted their channels to their totals, or to the earmark.
    function readClaim(address payee, bytes32 lane, uint256 paid, uint96 credited) private {
        Call storage current = claims[claimAt];
        bytes memory list = current.data;
        uint256 at = current.offset;
        if (current.sender == address(0)) {
            eq(address(bytes20(cut(list, at, at + 20))), payee, "payee");
            at += 20;
        } else {
            eq(current.sender, payee, "payee");
        }
        eq(bytes32(cut(list, at, at + 32)), lane, "lane");
        uint256 count = uint8(list[at + 32]);
        at += 33;
        uint256 gross;
        for (uint256 i; i < count; ++i) {
            if (paid >> i & 1 == 1) gross += lift(payee, lane, cut(list, at + 79 * i, at + 79 * (i + 1)));
        }
        current.offset = at + 79 * count;
        if (current.offset == list.length) ++claimAt;
        purses[payee].balance += credited;
        royaltyDue = gross - credited;
    }

    function lift(address payee, bytes32 lane, bytes memory signed) private returns (uint256 paid) {
        uint96 total = uint96(bytes12(cut(signed, 64, 76)));
        uint24 epoch = uint24(bytes3(cut(signed, 76, 79)));
        bytes32 vs = bytes32(cut(signed, 32, 64));
        bytes32 s = vs & bytes32(type(uint256).max >> 1);
        bytes32 digest = subject.hashVoucher(Voucher(payee, lane, total, epoch));
        address key = ecrecover(digest, uint8(27 + (uint256(vs) >> 255)), bytes32(cut(signed, 0, 32)), s);
        Line storage line = rebuilt[idOf(key, payee, lane)];
        uint256 target = total < line.allocated ? total : line.allocated;
        paid = target - line.claimed;
        line.claimed = target;
    }

    function readSettlement(address payer, bytes32[] memory credits) private {
        (WorkOrder memory order,,,, bytes memory rows,,) =
            abi.decode(settlements[settlementAt++].data, (WorkOrder, bytes, uint64, bytes32, bytes, uint8, bytes32[]));
        for (uint256 i; i < credits.length; ++i) {
            address payee = address(bytes20(credits[i]));
            uint256 gross = uint96(uint256(credits[i]));
            uint16 laneNumber = uint16(bytes2(cut(rows, 157 * i + 59, 157 * i + 61)));
            bytes32 lane = bytes32(order.royalty) | bytes32(uint256(laneNumber));
            rebuilt[idOf(payer, payee, lane)].claimed += gross;
            purses[payee].balance += gross - royalties[payee];
            royalties[payee] = 0;
        }
    }

    function readStakes(Vm.Log memory log) private {
        bytes32 topic = log.topics[0];
        Purse storage purse = purses[addressOf(log.topics[1])];
        if (topic == IVault.Staked.selector) {
            uint256 amount = abi.decode(log.data, (uint96));
            purse.balance -= amount;
            purse.stake += amount;
            purse.unbondingAt = 0;
        } else if (topic == IVault.UnstakeRequested.selector) {
            purse.unbondingAt = abi.decode(log.data, (uint40));
        } else if (topic == IVault.StakeWithdrawn.selector) {
            purse.balance += abi.decode(log.data, (uint96));
            (purse.stake, purse.unbondingAt) = (0, 0);
        } else if (topic == IVault.Slashed.selector) {
            (uint96 taken, uint96 reward) = abi.decode(log.data, (uint96, uint96));
            eq(purse.stake, taken, "the whole stake");
            (purse.stake, purse.unbondingAt) = (0, 0);
            purses[addressOf(log.topics[3])].balance += reward;
            burned += taken - reward;
            offences[keccak256(abi.encode(log.topics[1], log.topics[2]))] = true;
        } else {
            eq(topic, IVault.ProviderRegistered.selector, "an event that changes nothing");
        }
    }

    /* ---------- helpers ---------- */

    function ownerOf(address key) internal view returns (address) {
        return owners[key] == address(0) ? key : owners[key];
    }

    function idOf(address key, address payee, bytes32 lane) internal pure returns (bytes32) {
        return keccak256(abi.encode(key, payee, lane));
    }

    function addressOf(bytes32 topic) internal pure returns (address) {
        return address(uint160(uint256(topic)));
    }

    function cut(bytes memory data, uint256 from, uint256 to) internal pure returns (bytes memory part) {
        part = new bytes(to - from);
        for (uint256 i = from; i < to; ++i) {
            part[i - from] = data[i];
        }
    }
}
