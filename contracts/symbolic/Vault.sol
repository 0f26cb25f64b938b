// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Vault} from "../src/Vault.sol";
import {Closing, Earmarks, IVault, Voucher, WorkOrder} from "../src/interfaces/IVault.sol";
import {ChannelSlot, ChannelSlotLibrary} from "../src/types/ChannelSlot.sol";

interface Cheats {
    function assume(bool) external;
    function store(address, bytes32, bytes32) external;
    function load(address, bytes32) external view returns (bytes32);
    function prank(address) external;
    function warp(uint256) external;
}

/// @notice Symbolic properties of the vault itself: any state of the slots that a call touches, any arguments. A call
/// that reverts changes nothing; what is asserted holds after every call that does not. The token is none of this.
contract VaultCheck {
    Cheats private constant vm = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));
    address private constant ALICE = address(0xa11ce);
    address private constant BOB = address(0xb0b);
    address private constant COURT = address(0xc0);
    uint256 private constant FLAGS = 3 << 232;

    IVault private vault;

    function setUp() public {
        vault = new Vault(address(0x70), COURT);
        vm.warp(1_800_000_000);
    }

    /* ---------- what the slots hold ---------- */

    function account(address who, uint96 balance, uint96 stake, uint40 timer) private {
        uint256 packed = uint256(balance) | (uint256(stake) << 96) | (uint256(timer) << 192);
        vm.store(address(vault), keccak256(abi.encode(who, uint256(0))), bytes32(packed));
    }

    function balanceOf(address who) private view returns (uint256 balance) {
        (balance,,) = vault.accountOf(who);
    }

    function stakeOf(address who) private view returns (uint256 stake) {
        (, stake,) = vault.accountOf(who);
    }

    function channel(address key, address payee, bytes32 lane, uint96 a, uint96 c, uint24 e, uint40 t) private {
        bytes32 slot = vault.channelId(key, payee, lane);
        vm.store(address(vault), slot, bytes32(ChannelSlot.unwrap(ChannelSlotLibrary.pack(a, c, e, t))));
    }

    function one(bytes32 lane, address payee, uint96 amount) private pure returns (Earmarks[] memory list) {
        list = new Earmarks[](1);
        list[0].lane = lane;
        list[0].words = new bytes32[](1);
        list[0].words[0] = word(payee, amount);
    }

    function word(address payee, uint96 amount) private pure returns (bytes32) {
        return bytes32((uint256(uint160(payee)) << 96) | amount);
    }

    function closing(address payee) private pure returns (Closing[] memory rows) {
        rows = new Closing[](1);
        rows[0].payee = payee;
    }

    /* ---------- gifts and stakes ---------- */

    function check_payMany_conserves(uint96 a, uint96 b, uint96 x) external {
        account(ALICE, a, 0, 0);
        account(BOB, b, 0, 0);
        bytes32[] memory words = new bytes32[](1);
        words[0] = word(BOB, x);
        vm.prank(ALICE);
        vault.payMany(words);
        assert(balanceOf(ALICE) == uint256(a) - x && balanceOf(BOB) == uint256(b) + x && x <= a);
    }

    function check_payMany_to_oneself_changes_nothing(uint96 a, uint96 x) external {
        account(ALICE, a, 0, 0);
        bytes32[] memory words = new bytes32[](1);
        words[0] = word(ALICE, x);
        vm.prank(ALICE);
        vault.payMany(words);
        assert(balanceOf(ALICE) == a);
    }

    function check_stake_conserves(uint96 a, uint96 s, uint40 t, uint96 x) external {
        account(ALICE, a, s, t);
        vm.prank(ALICE);
        vault.stake(x);
        assert(balanceOf(ALICE) == uint256(a) - x && stakeOf(ALICE) == uint256(s) + x && x <= a);
    }

    function check_stake_stops_the_timer(uint96 a, uint96 s, uint40 t, uint96 x) external {
        account(ALICE, a, s, t);
        vm.prank(ALICE);
        vault.stake(x);
        (,, uint40 timer) = vault.accountOf(ALICE);
        assert(timer == 0);
    }

    function check_requestUnstake_moves_no_money(uint96 a, uint96 s, uint40 t) external {
        account(ALICE, a, s, t);
        vm.prank(ALICE);
        vault.requestUnstake();
        (uint96 balance, uint96 stake, uint40 timer) = vault.accountOf(ALICE);
        assert(balance == a && stake == s && t == 0 && timer == block.timestamp + 14 days);
    }

    function check_withdrawStake_conserves(uint96 a, uint96 s, uint40 t) external {
        account(ALICE, a, s, t);
        vm.prank(ALICE);
        vault.withdrawStake();
        assert(balanceOf(ALICE) == uint256(a) + s && stakeOf(ALICE) == 0);
    }

    function check_withdrawStake_waits_for_the_timer(uint96 a, uint96 s, uint40 t) external {
        account(ALICE, a, s, t);
        vm.prank(ALICE);
        vault.withdrawStake();
        assert(t != 0 && t <= block.timestamp);
    }

    /* ---------- slashing ---------- */

    function check_slash_takes_all_and_splits_it(uint96 a, uint96 s, uint40 t, uint96 b, bytes32 order) external {
        account(ALICE, a, s, t);
        account(BOB, b, 0, 0);
        vm.prank(COURT);
        (uint96 taken, uint96 reward) = vault.slash(ALICE, order, BOB);
        assert(taken == s && stakeOf(ALICE) == 0 && balanceOf(ALICE) == a);
        assert(balanceOf(BOB) == uint256(b) + reward);
        assert(uint256(vault.burnedStake()) + reward == s);
    }

    function check_slash_rewards_at_most_the_cap(uint96 s, bytes32 order) external {
        account(ALICE, 0, s, 0);
        vm.prank(COURT);
        (uint96 taken, uint96 reward) = vault.slash(ALICE, order, BOB);
        assert(reward <= taken && reward <= 100e18);
    }

    function check_slash_rewards_a_twentieth_up_to_the_cap(uint96 s, uint40 t, bytes32 order) external {
        account(ALICE, 0, s, t);
        vm.prank(COURT);
        (, uint96 reward) = vault.slash(ALICE, order, BOB);
        uint96 part = s / 20;
        assert(reward == (part > 100e18 ? 100e18 : part));
    }

    function check_slash_is_the_courts_alone(address caller, uint96 s, bytes32 order) external {
        account(ALICE, 0, s, 0);
        vm.prank(caller);
        vault.slash(ALICE, order, BOB);
        assert(caller == COURT);
    }

    function check_slash_is_once_for_an_order(uint96 s, uint96 again, bytes32 order) external {
        account(ALICE, 0, s, 0);
        vm.prank(COURT);
        vault.slash(ALICE, order, BOB);
        account(ALICE, 0, again, 0);
        vm.prank(COURT);
        (bool ok,) = address(vault).call(abi.encodeCall(vault.slash, (ALICE, order, BOB)));
        assert(!ok);
    }

    /* ---------- channels ---------- */

    function check_open_moves_what_it_earmarks(uint96 a, uint96 al, uint96 c, uint24 e, uint40 t, uint40 u, uint96 x)
        external
    {
        vm.assume(c <= al);
        account(ALICE, a, 0, 0);
        channel(ALICE, BOB, 0, al, c, e, t);
        vm.prank(ALICE);
        vault.open(ALICE, u, one(0, BOB, x));
        (uint96 allocated, uint96 claimed, uint24 epoch,) = vault.channelOf(ALICE, BOB, 0);
        assert(uint256(allocated) == uint256(al) + x && claimed == c && epoch == e);
        assert(balanceOf(ALICE) == uint256(a) - x && x <= a);
    }

    function check_open_never_shortens_an_expiry(uint40 t, uint40 u) external {
        channel(ALICE, BOB, 0, 0, 0, 0, t);
        vm.prank(ALICE);
        vault.open(ALICE, u, one(0, BOB, 0));
        (,,, uint40 expiry) = vault.channelOf(ALICE, BOB, 0);
        assert(expiry == (t > u ? t : u) && u > block.timestamp && u <= block.timestamp + 400 days);
    }

    function check_open_is_the_callers_own(address caller, address key, uint40 u) external {
        vm.assume(caller != address(0));
        vm.prank(caller);
        vault.open(key, u, one(0, BOB, 0));
        assert(caller == key);
    }

    function check_release_returns_exactly_the_rest(uint96 a, uint96 al, uint96 c, uint24 e, uint40 t) external {
        vm.assume(c <= al);
        account(ALICE, a, 0, 0);
        channel(ALICE, BOB, 0, al, c, e, t);
        vm.prank(ALICE);
        uint96 refund = vault.release(ALICE, 0, closing(BOB));
        assert(refund == al - c && balanceOf(ALICE) == uint256(a) + refund);
    }

    function check_release_ends_the_epoch(uint96 al, uint96 c, uint24 e, uint40 t) external {
        vm.assume(c <= al);
        channel(ALICE, BOB, 0, al, c, e, t);
        vm.prank(ALICE);
        vault.release(ALICE, 0, closing(BOB));
        (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry) = vault.channelOf(ALICE, BOB, 0);
        assert(allocated == c && claimed == c && uint256(epoch) == uint256(e) + 1 && expiry == t);
    }

    function check_release_without_consent_waits_for_the_expiry(uint96 al, uint96 c, uint24 e, uint40 t) external {
        vm.assume(c <= al);
        channel(ALICE, BOB, 0, al, c, e, t);
        vm.prank(ALICE);
        vault.release(ALICE, 0, closing(BOB));
        assert(t <= block.timestamp);
    }

    function check_release_is_the_callers_own(address caller, uint96 al, uint40 t) external {
        vm.assume(caller != address(0));
        channel(ALICE, BOB, 0, al, 0, 0, t);
        vm.prank(caller);
        vault.release(ALICE, 0, closing(BOB));
        assert(caller == ALICE);
    }

    /* ---------- quorums ---------- */

    /// @dev Two rows of any bytes, and one more leaf. Whether it settles is the vault's to say.
    function settle(WorkOrder calldata order, uint64 fuel, uint8 members, bytes32[10] calldata words) private {
        bytes memory rows = bytes.concat(abi.encodePacked(words[0], words[1], words[2], words[3], words[4]), hex"");
        rows = bytes.concat(rows, abi.encodePacked(words[5], words[6], words[7], words[8], bytes26(words[9])));
        bytes32[] memory others = new bytes32[](1);
        others[0] = words[9];
        vault.settleQuorum(order, abi.encodePacked(words[0], words[1]), fuel, words[2], rows, members, others);
    }

    function check_quorum_is_a_majority_of_two_or_more(
        WorkOrder calldata order,
        uint64 fuel,
        uint8 members,
        bytes32[10] calldata words
    ) external {
        settle(order, fuel, members, words);
        assert(order.quorum == 2);
    }

    function check_quorum_bills_at_most_the_maximum(
        WorkOrder calldata order,
        uint64 fuel,
        uint8 members,
        bytes32[10] calldata words
    ) external {
        settle(order, fuel, members, words);
        assert(fuel <= order.maxFuel);
    }

    function check_quorum_settles_in_time(
        WorkOrder calldata order,
        uint64 fuel,
        uint8 members,
        bytes32[10] calldata words
    ) external {
        settle(order, fuel, members, words);
        assert(block.timestamp <= order.settleBy);
    }

    function check_quorum_names_exactly_its_rows(
        WorkOrder calldata order,
        uint64 fuel,
        uint8 members,
        bytes32[10] calldata words
    ) external {
        settle(order, fuel, members, words);
        assert(members == 3 || members == 5 || members == 6);
    }

    /* ---------- claims ---------- */

    struct Claim {
        bytes32 r;
        bytes32 vs;
        uint96 total;
        uint24 epoch;
    }

    /// @dev One voucher of ALICE to BOB: whatever its signature is, it recovers to ALICE.
    function submit(bytes32 lane, Claim calldata c) private returns (uint96 credited) {
        bytes32 digest = vault.hashVoucher(Voucher(BOB, lane, c.total, c.epoch));
        uint8 v = uint8(27 + (uint256(c.vs) >> 255));
        vm.assume(ecrecover(digest, v, c.r, bytes32(uint256(c.vs) & (type(uint256).max >> 1))) == ALICE);
        return vault.claimFor(abi.encodePacked(BOB, lane, uint8(1), c.r, c.vs, c.total, c.epoch));
    }

    function check_claim_is_the_one_payment_rule(Claim calldata c, uint96 al, uint96 had, uint24 e, uint40 t, uint96 b)
        external
    {
        vm.assume(had <= al && uint256(c.vs) & (type(uint256).max >> 1) <= type(uint256).max >> 2);
        account(BOB, b, 0, 0);
        channel(ALICE, BOB, 0, al, had, e, t);
        uint96 credited = submit(0, c);
        uint96 target = c.total < al ? c.total : al;
        uint96 due = c.epoch == e && target > had ? target - had : 0;
        (uint96 allocated, uint96 now_, uint24 epoch, uint40 expiry) = vault.channelOf(ALICE, BOB, 0);
        assert(credited == due && now_ == had + due && balanceOf(BOB) == uint256(b) + due);
        assert(allocated == al && epoch == e && expiry == t);
    }

    function check_claim_again_pays_nothing(Claim calldata c, uint96 al, uint96 had, uint24 e) external {
        vm.assume(had <= al);
        channel(ALICE, BOB, 0, al, had, e, 0);
        submit(0, c);
        assert(submit(0, c) == 0);
    }

    function check_claim_never_lowers_claimed(Claim calldata c, uint96 al, uint96 had, uint24 e) external {
        vm.assume(had <= al);
        channel(ALICE, BOB, 0, al, had, e, 0);
        submit(0, c);
        (, uint96 now_,,) = vault.channelOf(ALICE, BOB, 0);
        assert(now_ >= had && now_ <= al);
    }

    function check_price_of_the_vault_is_the_librarys(uint96 flat, uint96 rate) external view {
        assert(vault.priceOf(flat, rate, 0) == flat);
    }
}
