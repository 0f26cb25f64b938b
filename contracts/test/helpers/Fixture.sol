// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IFactory} from "../../src/interfaces/IFactory.sol";
import {Bind, Closing, Earmarks, IVault, Release, Result, Voucher, WorkOrder} from "../../src/interfaces/IVault.sol";
import {Assertions} from "./Assertions.sol";
import {IDevToken} from "./IDevToken.sol";
import {Vm} from "./Vm.sol";

/// @notice Deployed contracts, actors with keys, and builders of every instrument.
abstract contract Fixture is Assertions {
    struct Actor {
        address who;
        uint256 pk;
    }

    /// @dev One roster leaf and what its provider adds to it.
    struct Leaf {
        Actor provider;
        uint96 owed;
        uint96 flat;
        uint96 rate;
        uint24 epoch;
        uint16 laneNumber;
        bytes32 nonce;
    }

    /// @dev An order with its whole roster; leaves ascend by provider.
    struct Plan {
        WorkOrder order;
        Leaf[] leaves;
        bytes32 resultsRoot;
        uint64 fuel;
        Actor payer;
    }

    uint256 internal constant CURVE = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint256 internal constant NOW = 1_800_000_000;
    uint40 internal constant EXPIRY = uint40(NOW + 30 days);
    uint96 internal constant UNIT = 1e18;
    bytes32 internal constant LANE = bytes32(uint256(1));

    IDevToken internal token;
    ICourt internal court;
    IFactory internal factory;
    IVault internal vault;

    Actor internal payer;
    Actor internal payee;
    Actor internal stranger;
    address internal author;

    function setUp() public virtual {
        vm.warp(NOW);
        token = IDevToken(vm.deployCode("src/dev/DevToken.sol:DevToken"));
        court = ICourt(vm.deployCode("src/Court.sol:Court"));
        factory = IFactory(vm.deployCode("src/Factory.sol:Factory", abi.encode(court)));
        vault = IVault(factory.deploy(address(token)));
        payer = actor("payer");
        payee = actor("payee");
        stranger = actor("stranger");
        author = actor("author").who;
    }

    /// @dev The contracts are deployed as they ship: tests compile with other settings than these.
    function newVault(address token_, address court_) internal returns (IVault) {
        return IVault(vm.deployCode("src/Vault.sol:Vault", abi.encode(token_, court_)));
    }

    /* ---------- actors and money ---------- */

    function actor(string memory name) internal pure returns (Actor memory) {
        return actorOf(uint256(keccak256(bytes(name))));
    }

    function actorOf(uint256 seed) internal pure returns (Actor memory a) {
        a.pk = seed % (CURVE - 1) + 1;
        a.who = vm.addr(a.pk);
    }

    function fund(address who, uint96 amount) internal {
        token.mint(who, amount);
        vm.startPrank(who);
        token.approve(address(vault), amount);
        vault.deposit(who, amount);
        vm.stopPrank();
    }

    function lastLog() internal returns (Vm.Log memory) {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        return logs[logs.length - 1];
    }

    function balanceOf(address who) internal view returns (uint96 balance) {
        (balance,,) = vault.accountOf(who);
    }

    function stakeOf(address who) internal view returns (uint96 staked) {
        (, staked,) = vault.accountOf(who);
    }

    function bindKey(address owner, Actor memory key) internal {
        bytes memory signature = sign(key.pk, vault.hashBind(Bind(owner)));
        vm.prank(owner);
        vault.bind(key.who, signature);
    }

    /* ---------- signatures ---------- */

    function sign(uint256 pk, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 vs) = vm.signCompact(pk, digest);
        return abi.encodePacked(r, vs);
    }

    /* ---------- channels ---------- */

    function lane(address author_, uint16 bps, uint80 number) internal pure returns (bytes32) {
        return bytes32((uint256(uint160(author_)) << 96) | (uint256(bps) << 80) | number);
    }

    function word(address to, uint96 amount) internal pure returns (bytes32) {
        return bytes32((uint256(uint160(to)) << 96) | amount);
    }

    function one(bytes32 laneOf, address to, uint96 amount) internal pure returns (Earmarks[] memory list) {
        list = new Earmarks[](1);
        list[0].lane = laneOf;
        list[0].words = new bytes32[](1);
        list[0].words[0] = word(to, amount);
    }

    function earmark(address key, address to, bytes32 laneOf, uint96 amount) internal {
        vm.prank(key);
        vault.open(key, EXPIRY, one(laneOf, to, amount));
    }

    /// @dev A funded payer key with one channel.
    function channel(Actor memory from, address to, bytes32 laneOf, uint96 amount) internal {
        fund(from.who, amount);
        earmark(from.who, to, laneOf, amount);
    }

    function claimedOf(address key, address to, bytes32 laneOf) internal view returns (uint96 claimed) {
        (, claimed,,) = vault.channelOf(key, to, laneOf);
    }

    function allocatedOf(address key, address to, bytes32 laneOf) internal view returns (uint96 allocated) {
        (allocated,,,) = vault.channelOf(key, to, laneOf);
    }

    function epochOf(address key, address to, bytes32 laneOf) internal view returns (uint24 epoch) {
        (,, epoch,) = vault.channelOf(key, to, laneOf);
    }

    function expiryOf(address key, address to, bytes32 laneOf) internal view returns (uint40 expiry) {
        (,,, expiry) = vault.channelOf(key, to, laneOf);
    }

    function closing(address to, bytes memory signature) internal pure returns (Closing[] memory rows) {
        rows = new Closing[](1);
        rows[0] = Closing(to, signature);
    }

    function consent(Actor memory from, address key, bytes32 laneOf, uint24 epoch)
        internal
        view
        returns (bytes memory)
    {
        return sign(from.pk, vault.hashRelease(Release(key, laneOf, epoch)));
    }

    /* ---------- vouchers ---------- */

    /// @dev One row of a claim, 79 bytes.
    function row(uint256 pk, address to, bytes32 laneOf, uint96 cumulative, uint24 epoch)
        internal
        view
        returns (bytes memory)
    {
        bytes32 digest = vault.hashVoucher(Voucher(to, laneOf, cumulative, epoch));
        return abi.encodePacked(sign(pk, digest), cumulative, epoch);
    }

    function records(bytes32 laneOf, bytes memory rows) internal pure returns (bytes memory) {
        return abi.encodePacked(laneOf, uint8(rows.length / 79), rows);
    }

    function recordsFor(address to, bytes32 laneOf, bytes memory rows) internal pure returns (bytes memory) {
        return abi.encodePacked(to, records(laneOf, rows));
    }

    /// @dev Anyone submits one voucher.
    function claimOne(Actor memory from, address to, bytes32 laneOf, uint96 cumulative, uint24 epoch)
        internal
        returns (uint96)
    {
        return vault.claimFor(recordsFor(to, laneOf, row(from.pk, to, laneOf, cumulative, epoch)));
    }

    /* ---------- orders ---------- */

    /// @dev `count` providers with a channel of `allocated` each, and an order over all of them.
    function plan(uint256 count, uint8 quorum, uint96 allocated, bytes22 royalty) internal returns (Plan memory p) {
        p.payer = payer;
        p.leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            p.leaves[i] = Leaf({
                provider: actorOf(uint256(keccak256(abi.encode("provider", i)))),
                owed: 0,
                flat: uint96(UNIT),
                rate: uint96(2 * UNIT),
                epoch: 0,
                laneNumber: uint16(i),
                nonce: keccak256(abi.encode("nonce", i))
            });
        }
        sort(p.leaves);
        if (allocated != 0) {
            for (uint256 i; i < count; ++i) {
                channel(payer, p.leaves[i].provider.who, laneFor(royalty, p.leaves[i].laneNumber), allocated);
            }
        }
        p.resultsRoot = keccak256("results");
        p.fuel = 3e9;
        p.order = WorkOrder({
            work: keccak256("work"),
            royalty: royalty,
            roster: rosterOf(p.leaves),
            quorum: quorum,
            maxFuel: 10e9,
            settleBy: uint40(NOW + 1 days)
        });
    }

    function sort(Leaf[] memory leaves) internal pure {
        for (uint256 i = 1; i < leaves.length; ++i) {
            for (uint256 j = i; j > 0 && leaves[j].provider.who < leaves[j - 1].provider.who; --j) {
                (leaves[j], leaves[j - 1]) = (leaves[j - 1], leaves[j]);
            }
        }
    }

    function laneFor(bytes22 royalty, uint16 number) internal pure returns (bytes32) {
        return bytes32(royalty) | bytes32(uint256(number));
    }

    function leafBytes(Leaf memory leaf) internal pure returns (bytes memory) {
        return abi.encodePacked(leaf.provider.who, leaf.owed, leaf.flat, leaf.rate, leaf.epoch, leaf.laneNumber);
    }

    function rosterOf(Leaf[] memory leaves) internal pure returns (bytes32) {
        bytes memory hashes;
        for (uint256 i; i < leaves.length; ++i) {
            hashes = abi.encodePacked(hashes, keccak256(leafBytes(leaves[i])));
        }
        return keccak256(hashes);
    }

    function isRow(uint8 members, uint256 i) internal pure returns (bool) {
        return (members >> i) & 1 == 1;
    }

    function sealsOf(Plan memory p, uint8 members) internal view returns (bytes32) {
        bytes32 digest = vault.hashOrder(p.order);
        bytes memory seals;
        for (uint256 i; i < p.leaves.length; ++i) {
            if (!isRow(members, i)) continue;
            bytes32 seal =
                keccak256(abi.encode(digest, p.leaves[i].provider.who, p.resultsRoot, p.fuel, p.leaves[i].nonce));
            seals = abi.encodePacked(seals, seal);
        }
        return keccak256(seals);
    }

    function resultOf(Plan memory p, uint8 members) internal view returns (Result memory) {
        return Result(vault.hashOrder(p.order), p.resultsRoot, p.fuel, sealsOf(p, members));
    }

    function rowsOf(Plan memory p, uint8 members) internal view returns (bytes memory rows) {
        bytes32 result = vault.hashResult(resultOf(p, members));
        for (uint256 i; i < p.leaves.length; ++i) {
            if (!isRow(members, i)) continue;
            Leaf memory leaf = p.leaves[i];
            rows = abi.encodePacked(rows, leafBytes(leaf), leaf.nonce, sign(leaf.provider.pk, result));
        }
    }

    function othersOf(Plan memory p, uint8 members) internal pure returns (bytes32[] memory others) {
        uint256 count;
        for (uint256 i; i < p.leaves.length; ++i) {
            if (!isRow(members, i)) ++count;
        }
        others = new bytes32[](count);
        count = 0;
        for (uint256 i; i < p.leaves.length; ++i) {
            if (!isRow(members, i)) others[count++] = keccak256(leafBytes(p.leaves[i]));
        }
    }

    function orderSignature(Plan memory p) internal view returns (bytes memory) {
        return sign(p.payer.pk, vault.hashOrder(p.order));
    }

    function settle(Plan memory p, uint8 members) internal returns (uint96 paid) {
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, members);
        bytes32[] memory others = othersOf(p, members);
        return vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, members, others);
    }

    /// @dev Everything is built before the expectation, which holds for the very next call.
    function settleRefused(Plan memory p, uint8 members, bytes memory why) internal {
        bytes memory signature = orderSignature(p);
        bytes memory rows = rowsOf(p, members);
        bytes32[] memory others = othersOf(p, members);
        refuses(why);
        vault.settleQuorum(p.order, signature, p.fuel, p.resultsRoot, rows, members, others);
    }
}
