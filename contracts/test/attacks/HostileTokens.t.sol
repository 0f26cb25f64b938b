// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../src/interfaces/IVault.sol";
import {Fixture} from "../helpers/Fixture.sol";
import {HostileToken} from "../helpers/HostileTokens.sol";
import {IDevToken} from "../helpers/IDevToken.sol";

/// @notice C15: whatever a token does, nobody else's money changes, and who wants out gets out, as soon as and as far as
/// the token lets anybody. What single calls do with a misbehaving token stands in unit Deposit, Withdraw and Claim:
/// fee, no return value, false, a revert. Here are all of them at once, with bystanders; and the token from inside.
contract HostileTokensTest is Fixture {
    uint96 internal constant DEPOSIT = 1000;
    HostileToken internal bad;
    Actor internal mallory;

    function setUp() public override {
        super.setUp();
        bad = new HostileToken();
        token = IDevToken(address(bad));
        vault = IVault(factory.deploy(address(bad)));
        mallory = actor("mallory");
        // The bystanders: a payer with a channel, its payee with a stake, and a depositor.
        channel(payer, payee.who, LANE, DEPOSIT);
        fund(payer.who, DEPOSIT);
        fund(payee.who, DEPOSIT);
        vm.prank(payee.who);
        vault.stake(DEPOSIT / 2);
        fund(stranger.who, DEPOSIT);
        // The attackers: one with a channel from a key of its own, and the token itself.
        fund(mallory.who, DEPOSIT);
        Actor memory purse = actor("purse");
        channel(purse, mallory.who, LANE, DEPOSIT);
        channel(purse, address(bad), LANE, DEPOSIT);
        bad.mint(mallory.who, DEPOSIT);
        bad.mint(address(bad), DEPOSIT);
        vm.prank(mallory.who);
        bad.approve(address(vault), DEPOSIT);
        bad.act(address(bad), abi.encodeCall(bad.approve, (address(vault), DEPOSIT)));
        bad.act(address(vault), abi.encodeCall(vault.deposit, (address(bad), DEPOSIT / 2)));
        bad.act(address(vault), abi.encodeCall(vault.stake, (DEPOSIT / 10)));
    }

    function voucher(Actor memory from, address to, uint96 total) internal view returns (bytes memory) {
        return records(LANE, row(from.pk, to, LANE, total, 0));
    }

    /// @dev Everything that the bystanders have.
    function theirs() internal view returns (bytes32 all) {
        for (uint256 i; i < 3; ++i) {
            address who = [payer.who, payee.who, stranger.who][i];
            (uint96 balance, uint96 staked, uint40 unbondingAt) = vault.accountOf(who);
            all = keccak256(abi.encode(all, balance, staked, unbondingAt, bad.onBooks(who)));
        }
        (uint96 allocated, uint96 claimed, uint24 epoch, uint40 expiry) = vault.channelOf(payer.who, payee.who, LANE);
        return keccak256(abi.encode(all, allocated, claimed, epoch, expiry));
    }

    /// @dev Everything that the vault owes to anybody here.
    function owed() internal view returns (uint256 total) {
        address[6] memory who = [payer.who, payee.who, stranger.who, mallory.who, address(bad), actor("purse").who];
        for (uint256 i; i < 6; ++i) {
            total += uint256(balanceOf(who[i])) + stakeOf(who[i]);
            for (uint256 j; j < 3; ++j) {
                address from = [payer.who, actor("purse").who, address(bad)][j];
                total += allocatedOf(from, who[i], LANE) - claimedOf(from, who[i], LANE);
            }
        }
        total += vault.burnedStake();
    }

    /* ---------- every way to misbehave, in every call that reaches the token ---------- */

    function test_SYM_02_C15_no_misbehaviour_changes_anybody_elses_money() public {
        bytes32 before = theirs();
        uint256 start = vm.snapshotState();
        uint256 done;
        for (uint256 mode = 1; mode <= uint256(type(HostileToken.Mode).max); ++mode) {
            if (mode == uint256(HostileToken.Mode.Calls)) continue;
            for (uint256 i; i < 4; ++i) {
                if (mode == uint256(HostileToken.Mode.Blacklists)) bad.block_(mallory.who);
                bad.become(HostileToken.Mode(mode));
                bytes memory data = reaching(i);
                vm.prank(mallory.who);
                (bool ok,) = address(vault).call{gas: 5_000_000}(data);
                if (ok) ++done;
                bad.become(HostileToken.Mode.Honest);
                eq(theirs(), before, "the bystanders");
                atMost(owed(), bad.onBooks(address(vault)), "C1: what is owed is there");
                vm.revertToState(start);
            }
        }
        yes(done >= 8, "some of it goes through all the same");
    }

    /// @dev The calls that reach the token, by mallory.
    function reaching(uint256 i) internal view returns (bytes memory) {
        if (i == 0) return abi.encodeCall(vault.deposit, (mallory.who, DEPOSIT));
        if (i == 1) return abi.encodeCall(vault.depositWithPermit, (mallory.who, DEPOSIT, 0, 27, 0, 0));
        if (i == 2) return abi.encodeCall(vault.withdraw, (mallory.who, mallory.who, DEPOSIT));
        return abi.encodeCall(vault.claim, (voucher(actor("purse"), mallory.who, DEPOSIT), mallory.who));
    }

    /// @dev Nothing but deposits and payouts needs the token: in its worst mood everything else goes on.
    function test_C15_C7_what_needs_no_token_goes_on_whatever_it_does() public {
        uint256 start = vm.snapshotState();
        for (uint256 mode; mode <= uint256(type(HostileToken.Mode).max); ++mode) {
            if (mode == uint256(HostileToken.Mode.Calls)) continue;
            bad.block_(address(vault));
            bad.become(HostileToken.Mode(mode));
            eq(claimOne(payer, payee.who, LANE, 300, 0), 300, "claimFor");
            bytes memory list = voucher(payer, payee.who, 400);
            vm.startPrank(payee.who);
            eq(vault.claim(list, address(0)), 100, "claim");
            vault.stake(1);
            vault.requestUnstake();
            vm.warp(NOW + 14 days);
            vault.withdrawStake();
            vm.stopPrank();
            vm.warp(EXPIRY);
            vm.startPrank(payer.who);
            eq(vault.release(payer.who, LANE, closing(payee.who, "")), DEPOSIT - 400, "release");
            vault.open(payer.who, EXPIRY + 1, one(LANE, payee.who, 100));
            bytes32[] memory gifts = new bytes32[](1);
            gifts[0] = word(payee.who, 100);
            vault.payMany(gifts);
            vm.stopPrank();
            vm.revertToState(start);
        }
    }

    function test_C15_C8_who_could_not_get_out_gets_out_when_the_token_lets_it() public {
        for (uint256 mode = 1; mode <= uint256(type(HostileToken.Mode).max); ++mode) {
            if (mode == uint256(HostileToken.Mode.Calls)) continue;
            uint256 start = vm.snapshotState();
            bad.become(HostileToken.Mode(mode));
            vm.prank(stranger.who);
            (bool ok,) = address(vault).call{gas: 5_000_000}(
                abi.encodeCall(vault.withdraw, (stranger.who, stranger.who, DEPOSIT))
            );
            eq(balanceOf(stranger.who), ok ? 0 : DEPOSIT, "out, or still there");
            bad.become(HostileToken.Mode.Honest);
            if (!ok) {
                vm.prank(stranger.who);
                vault.withdraw(stranger.who, stranger.who, DEPOSIT);
                eq(bad.onBooks(stranger.who), DEPOSIT, "everything, later");
            }
            vm.revertToState(start);
        }
    }

    /* ---------- blacklists ---------- */

    function test_C15_a_blocked_account_leaves_by_another_and_stops_nobody() public {
        bad.block_(payee.who);
        bytes memory list = voucher(payer, payee.who, 400);
        vm.startPrank(payee.who);
        vault.claim(list, payee.who);
        eq(balanceOf(payee.who), DEPOSIT / 2 + 400, "the credit stays");
        refuses(IVault.TokenTransferFailed.selector);
        vault.withdraw(payee.who, payee.who, 1);
        vault.withdraw(payee.who, author, DEPOSIT / 2 + 400);
        vm.stopPrank();
        eq(bad.onBooks(author), DEPOSIT / 2 + 400, "out by another address");
        vm.prank(payer.who);
        vault.withdraw(payer.who, payer.who, DEPOSIT);
        eq(bad.onBooks(payer.who), DEPOSIT, "the payer of somebody blocked");
    }

    /* ---------- gas ---------- */

    /// @dev A token that burns all it is given gets 63 of 64 parts of it. The claim stands, or the call did nothing.
    function test_C15_C16_a_gas_burner_costs_its_caller_gas_and_nothing_else() public {
        bad.become(HostileToken.Mode.BurnsGas);
        bytes memory data = abi.encodeCall(vault.claim, (voucher(payer, payee.who, 400), payee.who));
        uint256[3] memory limits = [uint256(200_000), 1_000_000, 10_000_000];
        for (uint256 i; i < 3; ++i) {
            vm.prank(payee.who);
            (bool ok,) = address(vault).call{gas: limits[i]}(data);
            uint96 claimed = claimedOf(payer.who, payee.who, LANE);
            eq(balanceOf(payee.who), DEPOSIT / 2 + claimed, "credited what was claimed, and paid nothing out");
            yes(!ok || claimed == 400, "a call that went through claimed");
            eq(bad.onBooks(payee.who), 0, "no tokens");
        }
        eq(claimedOf(payer.who, payee.who, LANE), 400, "with enough gas the claim stands");
    }

    /// @dev A megabyte of answer costs the token its memory, not the vault: only one word of it is looked at.
    function test_C15_a_return_bomb_is_not_copied() public {
        bad.become(HostileToken.Mode.Honest);
        uint256 calm = gasOfWithdrawal();
        bad.become(HostileToken.Mode.Bomb);
        uint256 bombed = gasOfWithdrawal();
        // Expanding memory to a megabyte costs 2 million once, in the token's own frame; a copy would cost it again.
        atMost(bombed, calm + 2_200_000, "not a second time");
        bad.become(HostileToken.Mode.BombsBalances);
        atMost(gasOfWithdrawal(), calm + 2 * 2_200_000, "nor for the two balances");
        eq(balanceOf(stranger.who), DEPOSIT - 3, "each paid");
    }

    function gasOfWithdrawal() internal returns (uint256) {
        vm.prank(stranger.who);
        vault.withdraw(stranger.who, stranger.who, 1);
        return vm.lastCallGas().gasTotalUsed;
    }

    /* ---------- re-entrancy ---------- */

    /// @dev From inside a deposit, a withdrawal and a payout the token tries every function there is, with its own
    /// account and with everybody's instruments. What calls the token finds the lock; the rest moves its own money.
    function test_SYM_02_C15_from_inside_the_token_every_function_is_tried() public {
        (bytes[] memory calls, uint256 locked) = everyFunction();
        uint256 start = vm.snapshotState();
        uint256 succeeded;
        for (uint256 outer; outer < 3; ++outer) {
            bytes memory data = reaching(outer == 0 ? 0 : outer + 1);
            for (uint256 i; i < calls.length; ++i) {
                bad.callBack(address(vault), calls[i]);
                bytes32 before = theirs();
                vm.prank(mallory.who);
                (bool ok,) = address(vault).call(data);
                yes(ok && bad.calledBack(), "the outer call goes on");
                if (i < locked) {
                    yes(!bad.callbackSucceeded(), "what calls the token is refused");
                    eq(bytes32(bytes4(bad.callbackData())), bytes32(IVault.Reentered.selector), "by the lock");
                }
                if (bad.callbackSucceeded()) ++succeeded;
                // Instruments of the bystanders may run: they pay the payee from its channel, as at any time.
                if (i != calls.length - 1) eq(theirs(), before, "the bystanders");
                eq(owed(), bad.onBooks(address(vault)), "C2: deposits less payouts, to the unit");
                vm.revertToState(start);
            }
        }
        eq(succeeded, 3 * 10, "everything but the locked four, bind, revoke, withdrawStake and slash goes through");
    }

    /// @dev The four that call the token first; the payment of a bystander's voucher last.
    function everyFunction() internal view returns (bytes[] memory calls, uint256 locked) {
        address own = address(bad);
        calls = new bytes[](18);
        calls[0] = abi.encodeCall(vault.deposit, (own, 1));
        calls[1] = abi.encodeCall(vault.depositWithPermit, (own, 1, 0, 27, 0, 0));
        calls[2] = abi.encodeCall(vault.withdraw, (own, own, 1));
        calls[3] = abi.encodeCall(vault.claim, (voucher(actor("purse"), own, 7), own));
        bytes32[] memory gifts = new bytes32[](1);
        gifts[0] = word(mallory.who, 5);
        calls[4] = abi.encodeCall(vault.payMany, (gifts));
        calls[5] = abi.encodeCall(vault.bind, (payer.who, new bytes(64)));
        calls[6] = abi.encodeCall(vault.revoke, (payer.who));
        calls[7] = abi.encodeCall(vault.open, (own, EXPIRY, one(LANE, mallory.who, 9)));
        calls[8] = abi.encodeCall(vault.release, (own, LANE, closing(mallory.who, "")));
        calls[9] = abi.encodeCall(vault.claim, (voucher(actor("purse"), own, 7), address(0)));
        calls[10] = abi.encodeCall(
            vault.claimFor, (bytes.concat(bytes20(own), voucher(actor("purse"), own, type(uint96).max)))
        );
        calls[11] = quorumCall();
        calls[12] = abi.encodeCall(vault.stake, (1));
        calls[13] = abi.encodeCall(vault.requestUnstake, ());
        calls[14] = abi.encodeCall(vault.withdrawStake, ());
        calls[15] = abi.encodeCall(vault.slash, (payee.who, bytes32(0), own));
        calls[16] = abi.encodeCall(vault.register, ("peer", "", ""));
        calls[17] = abi.encodeCall(vault.claimFor, (bytes.concat(bytes20(payee.who), voucher(payer, payee.who, 400))));
        return (calls, 4);
    }

    /// @dev A quorum of strangers: settles, and pays nothing, since nothing is earmarked for them.
    function quorumCall() internal view returns (bytes memory) {
        Plan memory p;
        p.payer = payer;
        p.leaves = new Leaf[](2);
        p.leaves[0] = Leaf(actor("one"), 0, 1, 1, 0, 1, 0);
        p.leaves[1] = Leaf(actor("two"), 0, 1, 1, 0, 1, 0);
        sort(p.leaves);
        p.order.roster = rosterOf(p.leaves);
        p.order.quorum = 2;
        p.order.settleBy = uint40(NOW);
        return abi.encodeCall(vault.settleQuorum, (p.order, orderSignature(p), 0, 0, rowsOf(p, 3), 3, othersOf(p, 3)));
    }

    /* ---------- decimals ---------- */

    /// @dev A life of a channel with whole tokens of 6, 18 and 24 decimals: the vault knows base units alone.
    function test_SYM_01_tokens_of_6_18_and_24_decimals() public {
        uint8[3] memory places = [6, 18, 24];
        for (uint256 i; i < 3; ++i) {
            bad = new HostileToken();
            bad.setDecimals(places[i]);
            token = IDevToken(address(bad));
            vault = IVault(factory.deploy(address(bad)));
            uint96 whole = uint96(10 ** bad.decimals());
            Plan memory p = plan(3, 2, 100 * whole, bytes22(0));
            for (uint256 j; j < 3; ++j) {
                (p.leaves[j].flat, p.leaves[j].rate) = (whole / 100, 2 * whole);
            }
            p.order.roster = rosterOf(p.leaves);
            eq(settle(p, 7), 3 * (uint256(whole) / 100 + 6 * uint256(whole)), "3 Gfuel at two tokens each");
            address first = p.leaves[0].provider.who;
            vm.prank(first);
            vault.withdraw(first, first, whole / 100 + 6 * whole);
            eq(bad.onBooks(first), uint256(whole) / 100 + 6 * uint256(whole), "paid out");
            roomFor(whole);
        }
    }

    /// @dev 2^96-1 base units are 79,228 whole tokens of 24 decimals. More is refused, not wrapped.
    function roomFor(uint96 whole) internal {
        uint256 room = type(uint96).max - bad.onBooks(address(vault));
        bad.mint(stranger.who, room + whole);
        vm.startPrank(stranger.who);
        bad.approve(address(vault), type(uint256).max);
        if (room + 1 <= type(uint96).max) {
            refuses(abi.encodeWithSelector(IVault.VaultFull.selector, uint256(type(uint96).max) + 1));
            vault.deposit(stranger.who, uint96(room + 1));
        }
        eq(vault.deposit(stranger.who, uint96(room)), room, "the last unit fits");
        vm.stopPrank();
    }
}
