// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Earmarks, IVault, Voucher} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";
import {HostileToken} from "../../helpers/HostileTokens.sol";
import {Vm} from "../../helpers/Vm.sol";

contract ClaimTest is Fixture {
    function claim(bytes memory list, address payTo) internal returns (uint96) {
        vm.prank(payee.who);
        return vault.claim(list, payTo);
    }

    function test_SYM_06_the_payee_claims_into_its_account() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory list = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Claimed(payee.who, LANE, 1, 2 * UNIT);
        eq(claim(list, address(0)), 2 * UNIT, "credited");
        eq(balanceOf(payee.who), 2 * UNIT, "balance");
        eq(claimedOf(payer.who, payee.who, LANE), 2 * UNIT, "claimed");
        eq(token.balanceOf(payee.who), 0, "no tokens yet");
    }

    function test_SYM_06_claim_pays_out_the_whole_balance() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        fund(payee.who, UNIT);
        bytes memory list = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        vm.recordLogs();
        eq(claim(list, stranger.who), 2 * UNIT, "credited");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        eq(logs.length, 2, "the claim and the token's own log");
        eq(logs[1].emitter, address(token), "the token's");
        eq(uint256(logs[1].topics[1]), uint160(address(vault)), "from the vault");
        eq(abi.decode(logs[1].data, (uint256)), 3 * UNIT, "of the whole balance");
        eq(balanceOf(payee.who), 0, "balance");
        eq(token.balanceOf(stranger.who), 3 * UNIT, "tokens");
        eq(claim(list, stranger.who), 0, "again");
        eq(token.balanceOf(stranger.who), 3 * UNIT, "tokens after");
    }

    function test_SYM_06_what_lies_behind_the_records_is_no_row() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory list = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        // A good voucher where the next row would be, beyond the count and the length.
        bytes memory call = abi.encodePacked(
            IVault.claim.selector,
            abi.encode(0x40, address(0), list.length),
            list,
            row(payer.pk, payee.who, LANE, 3 * UNIT, 0)
        );
        vm.prank(payee.who);
        (bool ok, bytes memory answer) = address(vault).call(call);
        yes(ok, "taken");
        eq(abi.decode(answer, (uint96)), 2 * UNIT, "credited");
        eq(claimedOf(payer.who, payee.who, LANE), 2 * UNIT, "claimed");
    }

    function test_SYM_06_a_payout_of_nothing_calls_no_token_and_says_nothing() public {
        vm.recordLogs();
        eq(claim("", stranger.who), 0, "credited");
        eq(vm.getRecordedLogs().length, 0, "logs");
    }

    function test_SYM_06_only_vouchers_to_the_caller_pay_the_caller() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory list = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        vm.prank(stranger.who);
        eq(vault.claim(list, stranger.who), 0, "a stranger");
        eq(claimedOf(payer.who, payee.who, LANE), 0, "untouched");
    }

    function test_SYM_05a_a_bound_key_is_credited_but_pays_out_nothing() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bindKey(stranger.who, payee);
        bytes memory list = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        refuses(abi.encodeWithSelector(IVault.KeyIsBound.selector, payee.who));
        claim(list, payee.who);
        eq(claim(list, address(0)), 2 * UNIT, "credited");
        vm.prank(stranger.who);
        vault.withdraw(payee.who, stranger.who, 2 * UNIT);
        eq(token.balanceOf(stranger.who), 2 * UNIT, "its owner withdraws");
    }

    function hostile() internal returns (HostileToken bad, IVault own, bytes memory list) {
        bad = new HostileToken();
        own = IVault(factory.deploy(address(bad)));
        bad.mint(payer.who, 1000);
        vm.startPrank(payer.who);
        bad.approve(address(own), type(uint256).max);
        own.deposit(payer.who, 1000);
        own.open(payer.who, EXPIRY, one(LANE, payee.who, 500));
        vm.stopPrank();
        bytes32 digest = own.hashVoucher(Voucher(payee.who, LANE, 300, 0));
        list = records(LANE, abi.encodePacked(sign(payer.pk, digest), uint96(300), uint24(0)));
    }

    function test_SYM_02_a_payout_that_fails_leaves_the_credit_and_the_claim() public {
        (HostileToken bad, IVault own, bytes memory list) = hostile();
        HostileToken.Mode[5] memory modes = [
            HostileToken.Mode.False,
            HostileToken.Mode.TrueButStays,
            HostileToken.Mode.Reverts,
            HostileToken.Mode.HugeReturn,
            HostileToken.Mode.Reverts
        ];
        for (uint256 i; i < modes.length; ++i) {
            bad.become(modes[i]);
            vm.expectEmit(true, true, true, true, address(own));
            emit IVault.PayoutFailed(payee.who, payee.who, 300);
            vm.prank(payee.who);
            eq(own.claim(list, payee.who), i == 0 ? 300 : 0, "credited once");
            (uint96 balance,,) = own.accountOf(payee.who);
            eq(balance, 300, "the credit stays");
            eq(bad.balanceOf(address(own)), 1000, "held");
        }
        bad.become(HostileToken.Mode.Honest);
        vm.prank(payee.who);
        own.claim("", payee.who);
        eq(bad.balanceOf(payee.who), 300, "paid out later");
    }

    function test_SYM_02_a_payout_that_took_too_much_undoes_the_call() public {
        (HostileToken bad, IVault own, bytes memory list) = hostile();
        HostileToken.Mode[2] memory modes = [HostileToken.Mode.FeeOnTop, HostileToken.Mode.FalseButMoves];
        for (uint256 i; i < modes.length; ++i) {
            bad.become(modes[i]);
            refuses(IVault.TokenTransferFailed.selector);
            vm.prank(payee.who);
            own.claim(list, payee.who);
            eq(bad.balanceOf(address(own)), 1000, "held");
        }
        vm.prank(payee.who);
        eq(own.claim(list, address(0)), 300, "without a payout it is credited");
    }

    function test_SYM_02_a_reentrant_payout_pays_once() public {
        (HostileToken bad, IVault own, bytes memory list) = hostile();
        // claimFor may run while the token holds control; it finds nothing new.
        bad.callBack(address(own), abi.encodeCall(own.claimFor, (abi.encodePacked(payee.who, list))));
        vm.prank(payee.who);
        own.claim(list, payee.who);
        yes(bad.calledBack() && bad.callbackSucceeded(), "the callback ran");
        eq(abi.decode(bad.callbackData(), (uint96)), 0, "and was credited nothing");
        eq(bad.balanceOf(payee.who), 300, "paid once");
        (uint96 balance,,) = own.accountOf(payee.who);
        eq(balance, 0, "nothing left");
        eq(bad.balanceOf(address(own)), 700, "held");
    }

    function test_SYM_06_malformed_records_are_refused_whole() public {
        channel(payer, payee.who, LANE, 5 * UNIT);
        bytes memory good = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, 0));
        claim(hex"01", address(0));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, 32));
        claim(abi.encodePacked(LANE, uint8(0)), address(0));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, 33));
        claim(abi.encodePacked(LANE, uint8(1), new bytes(78)), address(0));
        refuses(abi.encodeWithSelector(IVault.BadRecords.selector, good.length));
        claim(bytes.concat(good, hex"00"), address(0));
        eq(claimedOf(payer.who, payee.who, LANE), 0, "nothing happened");
        eq(claim("", address(0)), 0, "no records are no mistake");
    }

    function test_SYM_06_several_lanes_in_one_call() public {
        bytes32 second = lane(author, 1000, 1);
        channel(payer, payee.who, LANE, 5 * UNIT);
        channel(stranger, payee.who, second, 5 * UNIT);
        bytes memory list = bytes.concat(
            records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0)),
            records(second, row(stranger.pk, payee.who, second, UNIT, 0))
        );
        eq(claim(list, address(0)), 2 * UNIT + UNIT * 9 / 10, "net of royalty");
        eq(balanceOf(author), UNIT / 10, "author");
    }
}
