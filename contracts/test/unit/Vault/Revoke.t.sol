// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract RevokeTest is Fixture {
    function test_SYM_05a_revoke_ends_new_earmarks_and_keeps_the_old() public {
        bindKey(payer.who, stranger);
        fund(payer.who, 3 * UNIT);
        vm.startPrank(payer.who);
        vault.open(stranger.who, EXPIRY, one(LANE, payee.who, UNIT));
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Revoked(payer.who, stranger.who);
        vault.revoke(stranger.who);
        refuses(abi.encodeWithSelector(IVault.KeyIsRevoked.selector, stranger.who));
        vault.open(stranger.who, EXPIRY, one(LANE, payee.who, UNIT));
        refuses(abi.encodeWithSelector(IVault.KeyIsRevoked.selector, stranger.who));
        vault.revoke(stranger.who);
        vm.stopPrank();
        (address owner, bool revoked) = vault.ownerOfKey(stranger.who);
        eq(owner, payer.who, "still the owner's");
        yes(revoked, "revoked");
        eq(claimOne(stranger, payee.who, LANE, UNIT, 0), UNIT, "existing earmark");
    }

    function test_SYM_05a_a_revoked_keys_rest_goes_to_its_owner() public {
        bindKey(payer.who, stranger);
        fund(payer.who, UNIT);
        vm.startPrank(payer.who);
        vault.open(stranger.who, EXPIRY, one(LANE, payee.who, UNIT));
        vault.revoke(stranger.who);
        vm.warp(EXPIRY);
        eq(vault.release(stranger.who, LANE, closing(payee.who, "")), UNIT, "refund");
        vm.stopPrank();
        eq(balanceOf(payer.who), UNIT, "owner");
    }

    function test_SYM_05a_only_the_owner_revokes() public {
        bindKey(payer.who, stranger);
        refuses(abi.encodeWithSelector(IVault.NotKeyOwner.selector, stranger.who, payee.who));
        vm.prank(payee.who);
        vault.revoke(stranger.who);
        refuses(abi.encodeWithSelector(IVault.NotKeyOwner.selector, payer.who, payer.who));
        vm.prank(payer.who);
        vault.revoke(payer.who);
    }
}
