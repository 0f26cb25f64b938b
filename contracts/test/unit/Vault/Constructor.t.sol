// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract ConstructorTest is Fixture {
    function test_the_vault_knows_its_token_and_court() public {
        eq(vault.token(), address(token), "token");
        eq(vault.court(), address(court), "court");
    }

    function test_zero_addresses_are_refused() public {
        refuses(IVault.ZeroAddress.selector);
        newVault(address(0), address(court));
        refuses(IVault.ZeroAddress.selector);
        newVault(address(token), address(0));
    }
}
