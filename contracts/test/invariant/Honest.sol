// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Earmarks, Result} from "../../src/interfaces/IVault.sol";
import {Fixture} from "../helpers/Fixture.sol";

/// @notice Parties that keep to the rules: three payer keys (the last bound to the first's account), three providers,
/// two lanes, so that eighteen channels are always alive. Every call here must succeed. After each call, here and in
/// the hostile twin, everything that may only grow is compared with what it was.
abstract contract Honest is Fixture {
    uint256 internal constant PAYERS = 3;
    uint256 internal constant PROVIDERS = 3;
    uint256 internal constant LANES = 2;

    Actor[] internal payers;
    Actor[] internal providers;
    bytes32[] internal lanes;
    address[] internal accounts;

    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public donated;
    uint96 internal lastBurned;
    mapping(bytes32 channel => uint96) internal lastClaimed;
    mapping(bytes32 channel => uint24) internal lastEpoch;
    mapping(bytes32 channel => mapping(uint24 epoch => uint256)) internal highestSigned;

    /// @dev Every claim ever signed, for replays.
    bytes[] internal book;

    /// @dev What happened at least once, by name.
    mapping(bytes32 fact => uint256) public seen;

    function setUp() public virtual override {
        super.setUp();
        lanes.push(lane(address(0), 0, 1));
        lanes.push(lane(author, 3333, 1));
        for (uint256 i; i < PAYERS; ++i) {
            payers.push(actorOf(uint256(keccak256(abi.encode("payer", i)))));
        }
        for (uint256 i; i < PROVIDERS; ++i) {
            providers.push(actorOf(uint256(keccak256(abi.encode("provider", i)))));
        }
        for (uint256 i; i < PAYERS; ++i) {
            accounts.push(payers[i].who);
        }
        for (uint256 i; i < PROVIDERS; ++i) {
            accounts.push(providers[i].who);
        }
        accounts.push(author);
        accounts.push(stranger.who);
        bindKey(payers[0].who, payers[2]);
        for (uint256 i; i < 2; ++i) {
            fund(payers[i].who, 1000 * UNIT);
            deposited += 1000 * UNIT;
        }
        for (uint256 i; i < PROVIDERS; ++i) {
            fund(providers[i].who, 100 * UNIT);
            deposited += 100 * UNIT;
            for (uint256 k; k < PAYERS; ++k) {
                for (uint256 l; l < LANES; ++l) {
                    vm.prank(ownerOfKey(k));
                    vault.open(payers[k].who, EXPIRY, one(lanes[l], providers[i].who, 10 * UNIT));
                }
            }
        }
    }

    /* ---------- what is observed ---------- */

    modifier observed(bytes32 fact) {
        _;
        seen[fact]++;
        _observe();
    }

    function ownerOfKey(uint256 i) internal view returns (address) {
        return i == 2 ? payers[0].who : payers[i].who;
    }

    function _observe() internal {
        for (uint256 k; k < PAYERS; ++k) {
            for (uint256 p; p < PROVIDERS; ++p) {
                for (uint256 l; l < LANES; ++l) {
                    _observeChannel(k, p, l);
                }
            }
        }
        uint96 burned = vault.burnedStake();
        atMost(lastBurned, burned, "burned stake never falls");
        lastBurned = burned;
    }

    function _observeChannel(uint256 k, uint256 p, uint256 l) internal {
        (uint96 allocated, uint96 claimed, uint24 epoch,) = vault.channelOf(payers[k].who, providers[p].who, lanes[l]);
        bytes32 id = vault.channelId(payers[k].who, providers[p].who, lanes[l]);
        atMost(claimed, allocated, "claimed is at most allocated");
        atMost(lastClaimed[id], claimed, "claimed never falls");
        atMost(lastEpoch[id], epoch, "the epoch never falls");
        atMost(epoch, uint256(lastEpoch[id]) + 1, "the epoch grows by one");
        if (claimed > lastClaimed[id]) {
            atMost(claimed, highestSigned[id][epoch], "nothing is paid above what was signed");
            seen["paid"]++;
            if (claimed == allocated) seen["paid in full"]++;
        }
        lastClaimed[id] = claimed;
        lastEpoch[id] = epoch;
    }

    /// @notice Balances, stakes, open earmarks and burned stake.
    function liabilities() public view returns (uint256 total) {
        for (uint256 i; i < accounts.length; ++i) {
            (uint96 balance, uint96 staked,) = vault.accountOf(accounts[i]);
            total += uint256(balance) + staked;
        }
        for (uint256 k; k < PAYERS; ++k) {
            for (uint256 p; p < PROVIDERS; ++p) {
                for (uint256 l; l < LANES; ++l) {
                    (uint96 allocated, uint96 claimed,,) = vault.channelOf(payers[k].who, providers[p].who, lanes[l]);
                    total += allocated - claimed;
                }
            }
        }
        total += vault.burnedStake();
    }

    function held() public view returns (uint256) {
        return token.balanceOf(address(vault));
    }

    /* ---------- what the parties do ---------- */

    function deposit(uint256 who, uint256 raw) external observed("deposit") {
        uint96 amount = uint96(biased(raw, 1, 1000 * UNIT));
        fund(who % 2 == 0 ? payers[0].who : payers[1].who, amount);
        deposited += amount;
    }

    function withdraw(uint256 who, uint256 raw) external observed("withdraw") {
        address account = accounts[who % accounts.length];
        uint96 amount = uint96(biased(raw, 0, balanceOf(account)));
        if (amount == 0) return;
        vm.prank(account == payers[2].who ? payers[0].who : account);
        vault.withdraw(account, account, amount);
        withdrawn += amount;
    }

    function open(uint256 k, uint256 p, uint256 l, uint256 raw, uint256 rawExpiry) external observed("open") {
        k %= PAYERS;
        address owner = ownerOfKey(k);
        uint96 amount = uint96(biased(raw, 0, balanceOf(owner)));
        uint40 expiry = uint40(biased(rawExpiry, block.timestamp + 1, block.timestamp + 400 days));
        Earmarks[] memory list = one(lanes[l % LANES], providers[p % PROVIDERS].who, amount);
        vm.prank(owner);
        vault.open(payers[k].who, expiry, list);
    }

    /// @dev A voucher of any value at all: the payer's signature is its own business.
    function voucher(uint256 k, uint256 p, uint256 l, uint256 raw, bool extreme) external observed("voucher") {
        address to = providers[p % PROVIDERS].who;
        bytes memory list = bytes.concat(bytes20(to), _records(k % PAYERS, p % PROVIDERS, l % LANES, raw, extreme));
        book.push(list);
        uint96 before = balanceOf(to);
        uint96 credited = vault.claimFor(list);
        eq(balanceOf(to), before + credited, "the payee is credited");
    }

    function claimOut(uint256 k, uint256 p, uint256 l, uint256 raw) external observed("claim out") {
        address to = providers[p % PROVIDERS].who;
        bytes memory list = _records(k % PAYERS, p % PROVIDERS, l % LANES, raw, false);
        uint256 before = token.balanceOf(to);
        vm.prank(to);
        vault.claim(list, to);
        eq(balanceOf(to), 0, "everything is paid out");
        withdrawn += token.balanceOf(to) - before;
    }

    /// @dev One signed voucher as records for its payee: between claimed and allocated, or of any value.
    function _records(uint256 k, uint256 p, uint256 l, uint256 raw, bool extreme) internal returns (bytes memory) {
        address to = providers[p].who;
        (uint96 allocated, uint96 claimed, uint24 epoch,) = vault.channelOf(payers[k].who, to, lanes[l]);
        uint96 total = uint96(extreme ? biased(raw, 0, type(uint96).max) : biased(raw, claimed, allocated));
        _sign(k, p, l, epoch, total);
        bytes memory signed = row(payers[k].pk, to, lanes[l], total, epoch);
        return records(lanes[l], signed);
    }

    function quorum(uint256 k, uint256 l, uint256 subset, uint256 rawFlat, uint256 rawFuel)
        external
        observed("quorum")
    {
        (k, l) = (k % PAYERS, l % LANES);
        uint8[4] memory subsets = [3, 5, 6, 7];
        uint8 members = subsets[subset % 4];
        Plan memory p = _plan(k, l, uint96(biased(rawFlat, 0, 5 * UNIT)), uint64(biased(rawFuel, 0, 10e9)));
        settle(p, members);
    }

    function _plan(uint256 k, uint256 l, uint96 flat, uint64 fuel) internal returns (Plan memory p) {
        p.payer = payers[k];
        p.leaves = new Leaf[](PROVIDERS);
        p.fuel = fuel;
        p.resultsRoot = keccak256("root");
        p.order.work = keccak256(abi.encode("work", seen["quorum"]));
        p.order.royalty = bytes22(lanes[l]);
        p.order.quorum = 2;
        p.order.maxFuel = 10e9;
        p.order.settleBy = uint40(block.timestamp);
        for (uint256 i; i < PROVIDERS; ++i) {
            (, uint96 claimed, uint24 epoch,) = vault.channelOf(payers[k].who, providers[i].who, lanes[l]);
            p.leaves[i] = Leaf(providers[i], claimed, flat, UNIT / 10, epoch, 1, bytes32(i));
            _sign(k, i, l, epoch, claimed + vault.priceOf(flat, UNIT / 10, fuel));
        }
        sort(p.leaves);
        p.order.roster = rosterOf(p.leaves);
    }

    function _sign(uint256 k, uint256 p, uint256 l, uint24 epoch, uint256 total) internal {
        bytes32 id = vault.channelId(payers[k].who, providers[p].who, lanes[l]);
        if (total > highestSigned[id][epoch]) highestSigned[id][epoch] = total;
    }

    function release(uint256 k, uint256 p, uint256 l) external observed("release") {
        (k, p, l) = (k % PAYERS, p % PROVIDERS, l % LANES);
        (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry) =
            vault.channelOf(payers[k].who, providers[p].who, lanes[l]);
        bytes memory signature;
        if (block.timestamp < expiry) {
            signature = consent(providers[p], payers[k].who, lanes[l], epoch);
            seen["early release"]++;
        }
        uint96 before = balanceOf(ownerOfKey(k));
        vm.prank(ownerOfKey(k));
        uint96 refund = vault.release(payers[k].who, lanes[l], closing(providers[p].who, signature));
        eq(refund, allocated - claimed, "the owner always gets the rest");
        eq(balanceOf(ownerOfKey(k)), before + refund, "into its account");
    }

    function payMany(uint256 who, uint256 raw) external observed("payMany") {
        address from = payers[who % 2].who;
        bytes32[] memory words = new bytes32[](2);
        uint96 amount = uint96(biased(raw, 0, balanceOf(from) / 2));
        words[0] = word(providers[who % PROVIDERS].who, amount);
        words[1] = word(from, amount);
        vm.prank(from);
        vault.payMany(words);
    }

    function stake(uint256 p, uint256 raw) external observed("stake") {
        address who = providers[p % PROVIDERS].who;
        uint96 amount = uint96(biased(raw, 0, balanceOf(who)));
        if (amount == 0) return;
        vm.prank(who);
        vault.stake(amount);
    }

    function unstake(uint256 p) external observed("unstake") {
        address who = providers[p % PROVIDERS].who;
        (, uint96 staked, uint40 unbondingAt) = vault.accountOf(who);
        if (staked == 0) return;
        vm.startPrank(who);
        if (unbondingAt == 0) {
            vault.requestUnstake();
        } else if (block.timestamp >= unbondingAt) {
            vault.withdrawStake();
            seen["stake withdrawn"]++;
        }
        vm.stopPrank();
    }

    function equivocate(uint256 p, uint64 fuel) external observed("equivocate") {
        Actor memory guilty = providers[p % PROVIDERS];
        if (stakeOf(guilty.who) == 0) return;
        Result memory first = Result(keccak256(abi.encode(seen["slashed"])), bytes32(0), fuel, bytes32(0));
        Result memory second = first;
        second = Result(first.order, first.resultsRoot, fuel ^ 1, first.seals);
        bytes memory a = sign(guilty.pk, vault.hashResult(first));
        bytes memory b = sign(guilty.pk, vault.hashResult(second));
        vm.prank(stranger.who);
        court.slash(vault, first, a, second, b);
        eq(stakeOf(guilty.who), 0, "the whole stake");
        seen["slashed"]++;
    }

    function wait(uint256 raw) external observed("wait") {
        vm.warp(block.timestamp + biased(raw, 1, 20 days));
    }
}
