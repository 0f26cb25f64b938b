// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IFactory} from "../../../src/interfaces/IFactory.sol";
import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract DeployTest is Fixture {
    function test_one_vault_per_token_at_the_address_said_before() public {
        address other = address(0xbeef);
        address expected = factory.vaultOf(other);
        yes(!factory.isVault(expected), "not yet");
        vm.expectEmit(true, true, true, true, address(factory));
        emit IFactory.VaultDeployed(other, expected);
        eq(factory.deploy(other), expected, "address");
        yes(factory.isVault(expected), "now");
        eq(IVault(expected).token(), other, "token");
        eq(IVault(expected).court(), address(court), "court");
        vm.recordLogs();
        eq(factory.deploy(other), expected, "again");
        eq(vm.getRecordedLogs().length, 0, "nothing happens");
        yes(expected != factory.vaultOf(address(token)), "another token, another vault");
    }

    function test_a_vault_of_another_origin_is_not_the_factorys() public {
        yes(!factory.isVault(address(newVault(address(token), address(court)))), "made by hand");
        yes(!factory.isVault(address(this)), "no vault at all");
    }

    function test_zero_addresses_are_refused() public {
        refuses(IVault.ZeroAddress.selector);
        factory.deploy(address(0));
        refuses(IVault.ZeroAddress.selector);
        vm.deployCode("src/Factory.sol:Factory", abi.encode(address(0)));
        eq(factory.court(), address(court), "court");
    }
}
