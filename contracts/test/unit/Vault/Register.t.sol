// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract RegisterTest is Fixture {
    function test_a_registration_is_the_stakers_own() public {
        refuses(abi.encodeWithSelector(IVault.NoStake.selector, payee.who));
        vm.prank(payee.who);
        vault.register(hex"01", hex"02", hex"03");
        fund(payee.who, UNIT);
        vm.startPrank(payee.who);
        vault.stake(UNIT);
        vm.expectEmit(true, true, true, true, address(vault));
        emit IVault.ProviderRegistered(payee.who, hex"01", hex"02", hex"03");
        vault.register(hex"01", hex"02", hex"03");
        vault.register(new bytes(24), new bytes(500), new bytes(500));
        refuses(abi.encodeWithSelector(IVault.RegistrationTooLong.selector, 1025));
        vault.register(new bytes(25), new bytes(500), new bytes(500));
        vm.stopPrank();
    }
}
