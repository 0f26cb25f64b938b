// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract DepositWithPermitTest is Fixture {
    uint96 internal constant AMOUNT = 3 * UNIT;
    uint256 internal constant DEADLINE = NOW + 1 hours;

    function permit(uint256 pk, address owner) internal view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                owner,
                address(vault),
                uint256(AMOUNT),
                token.nonces(owner),
                DEADLINE
            )
        );
        return vm.sign(pk, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function test_permit_and_deposit_in_one_call() public {
        token.mint(payer.who, AMOUNT);
        (uint8 v, bytes32 r, bytes32 s) = permit(payer.pk, payer.who);
        vm.prank(payer.who);
        eq(vault.depositWithPermit(payee.who, AMOUNT, DEADLINE, v, r, s), AMOUNT, "credited");
        eq(balanceOf(payee.who), AMOUNT, "beneficiary");
    }

    function test_a_permit_submitted_by_somebody_else_is_ignored() public {
        token.mint(payer.who, AMOUNT);
        (uint8 v, bytes32 r, bytes32 s) = permit(payer.pk, payer.who);
        vm.prank(stranger.who);
        token.permit(payer.who, address(vault), AMOUNT, DEADLINE, v, r, s);
        vm.prank(payer.who);
        eq(vault.depositWithPermit(payer.who, AMOUNT, DEADLINE, v, r, s), AMOUNT, "credited");
    }

    function test_a_redirected_permit_pulls_from_the_caller_only() public {
        token.mint(payer.who, AMOUNT);
        (uint8 v, bytes32 r, bytes32 s) = permit(payer.pk, payer.who);
        refuses(IVault.TokenTransferFailed.selector);
        vm.prank(stranger.who);
        vault.depositWithPermit(stranger.who, AMOUNT, DEADLINE, v, r, s);
        eq(token.balanceOf(payer.who), AMOUNT, "the signer keeps its tokens");
    }

    function test_a_bad_permit_without_allowance_fails() public {
        token.mint(payer.who, AMOUNT);
        (uint8 v, bytes32 r, bytes32 s) = permit(stranger.pk, payer.who);
        refuses(IVault.TokenTransferFailed.selector);
        vm.prank(payer.who);
        vault.depositWithPermit(payer.who, AMOUNT, DEADLINE, v, r, s);
    }
}
