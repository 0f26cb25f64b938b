// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Bind, IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract BindTest is Fixture {
    function refusedBind(address owner, Actor memory key, bytes memory why) internal {
        bytes memory signature = sign(key.pk, vault.hashBind(Bind(owner)));
        refuses(why);
        vm.prank(owner);
        vault.bind(key.who, signature);
    }

    function test_SYM_05a_a_key_is_bound_once_and_for_ever() public {
        bytes memory signature = sign(stranger.pk, vault.hashBind(Bind(payer.who)));
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.Bound(payer.who, stranger.who);
        vm.prank(payer.who);
        vault.bind(stranger.who, signature);
        (address owner, bool revoked) = vault.ownerOfKey(stranger.who);
        eq(owner, payer.who, "owner");
        yes(!revoked, "not revoked");
        refusedBind(payer.who, stranger, abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who));
        refusedBind(payee.who, stranger, abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who));
    }

    function test_SYM_05a_an_account_of_its_own_has_no_owner() public {
        (address owner, bool revoked) = vault.ownerOfKey(payer.who);
        eq(owner, address(0), "owner");
        yes(!revoked, "not revoked");
    }

    function test_SYM_05a_a_key_cannot_be_squatted() public {
        // Signed for another owner, by another key, for another vault, or not at all.
        bytes memory forPayee = sign(stranger.pk, vault.hashBind(Bind(payee.who)));
        bytes memory byPayer = sign(payer.pk, vault.hashBind(Bind(payer.who)));
        bytes[4] memory signatures = [forPayee, byPayer, bytes(""), new bytes(64)];
        for (uint256 i; i < signatures.length; ++i) {
            refuses(IVault.BadSignature.selector);
            vm.prank(payer.who);
            vault.bind(stranger.who, signatures[i]);
        }
        refuses(IVault.ZeroAddress.selector);
        vm.prank(payer.who);
        vault.bind(address(0), new bytes(64));
    }

    function test_SYM_05a_owners_and_stakers_cannot_be_bound() public {
        refusedBind(payer.who, payer, abi.encodeWithSelector(IVault.KeyCannotBeBound.selector, payer.who));
        bindKey(payer.who, stranger);
        refusedBind(payee.who, payer, abi.encodeWithSelector(IVault.KeyCannotBeBound.selector, payer.who));

        Actor memory staker = actor("staker");
        fund(staker.who, UNIT);
        vm.prank(staker.who);
        vault.stake(UNIT);
        refusedBind(payee.who, staker, abi.encodeWithSelector(IVault.KeyCannotBeBound.selector, staker.who));
    }

    function test_SYM_05a_an_owner_that_is_bound_cannot_bind() public {
        bindKey(payer.who, stranger);
        refusedBind(stranger.who, payee, abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who));
    }

    function test_SYM_05a_binding_keeps_balances_and_channels() public {
        channel(stranger, payee.who, LANE, 2 * UNIT);
        fund(stranger.who, UNIT);
        fund(payer.who, UNIT);
        bindKey(payer.who, stranger);
        eq(balanceOf(stranger.who), UNIT, "key's balance");
        eq(balanceOf(payer.who), UNIT, "owner's balance");
        eq(claimOne(stranger, payee.who, LANE, 2 * UNIT, 0), 2 * UNIT, "old earmarks stay good");
    }

    function test_SYM_05a_a_bound_key_acts_for_nobody() public {
        bindKey(payer.who, stranger);
        bytes memory why = abi.encodeWithSelector(IVault.KeyIsBound.selector, stranger.who);
        vm.startPrank(stranger.who);
        refuses(why);
        vault.open(stranger.who, EXPIRY, one(LANE, payee.who, 0));
        refuses(why);
        vault.release(stranger.who, LANE, closing(payee.who, ""));
        refuses(why);
        vault.revoke(stranger.who);
        refuses(why);
        vault.stake(0);
        refuses(why);
        vault.requestUnstake();
        refuses(why);
        vault.withdrawStake();
        refuses(why);
        vault.register("", "", "");
        refuses(why);
        vault.claim("", stranger.who);
        vm.stopPrank();
    }
}
