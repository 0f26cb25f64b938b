// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "../../../src/interfaces/ICourt.sol";
import {IVault, Result} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract CourtSlashTest is Fixture {
    Result internal first;
    Result internal second;

    function setUp() public override {
        super.setUp();
        fund(payee.who, 100 * UNIT);
        vm.prank(payee.who);
        vault.stake(100 * UNIT);
        first = Result(keccak256("order"), keccak256("root"), 7, keccak256("seals"));
        second = first;
    }

    function by(Actor memory who, Result memory result) internal view returns (bytes memory) {
        return sign(who.pk, vault.hashResult(result));
    }

    function refused(bytes memory a, bytes memory b, bytes memory why) internal {
        refuses(why);
        court.slash(vault, first, a, second, b);
        eq(stakeOf(payee.who), 100 * UNIT, "stake");
    }

    function accepted() internal {
        bytes memory a = by(payee, first);
        bytes memory b = by(payee, second);
        vm.prank(stranger.who);
        (address provider, uint96 taken, uint96 reward) = court.slash(vault, first, a, second, b);
        eq(provider, payee.who, "provider");
        eq(taken, 100 * UNIT, "taken");
        eq(reward, 5 * UNIT, "reward");
        eq(balanceOf(stranger.who), 5 * UNIT, "reporter");
        yes(vault.isSlashed(payee.who, first.order), "recorded");
    }

    function test_SYM_12_two_roots_for_one_order() public {
        second.resultsRoot = keccak256("other root");
        accepted();
    }

    function test_SYM_12_two_fuels_for_one_order() public {
        second.fuel = 8;
        accepted();
    }

    function test_SYM_12_other_seals_beside_another_root() public {
        second.fuel = 8;
        second.seals = keccak256("other seals");
        accepted();
    }

    function test_SYM_12_equal_results_and_other_seals_are_no_evidence() public {
        refused(by(payee, first), by(payee, second), abi.encodeWithSelector(ICourt.SameResult.selector));
        second.seals = keccak256("other seals");
        refused(by(payee, first), by(payee, second), abi.encodeWithSelector(ICourt.SameResult.selector));
    }

    function test_SYM_12_two_orders_are_no_evidence() public {
        second.order = keccak256("other order");
        second.fuel = 8;
        refused(by(payee, first), by(payee, second), abi.encodeWithSelector(ICourt.DifferentOrders.selector));
    }

    function test_SYM_12_two_signers_are_no_evidence() public {
        second.fuel = 8;
        refused(by(payee, first), by(stranger, second), abi.encodeWithSelector(ICourt.BadEvidence.selector, 1));
        refused(by(stranger, first), by(payee, second), abi.encodeWithSelector(ICourt.BadEvidence.selector, 1));
    }

    function test_SYM_12_no_signature_is_no_evidence() public {
        second.fuel = 8;
        bytes memory good = by(payee, first);
        refused(new bytes(64), by(payee, second), abi.encodeWithSelector(ICourt.BadEvidence.selector, 0));
        refused("", "", abi.encodeWithSelector(ICourt.BadEvidence.selector, 0));
        refused(bytes.concat(good, hex"00"), good, abi.encodeWithSelector(ICourt.BadEvidence.selector, 0));
        refused(good, new bytes(64), abi.encodeWithSelector(ICourt.BadEvidence.selector, 1));
        refused(good, good, abi.encodeWithSelector(ICourt.BadEvidence.selector, 1));
    }

    function test_SYM_12_C12_evidence_is_used_once() public {
        second.fuel = 8;
        accepted();
        fund(payee.who, 100 * UNIT);
        vm.prank(payee.who);
        vault.stake(100 * UNIT);
        // In either order, and with a third Result for the same order.
        bytes memory why = abi.encodeWithSelector(IVault.AlreadySlashed.selector, payee.who, first.order);
        refused(by(payee, first), by(payee, second), why);
        Result memory swapped = first;
        first = second;
        second = swapped;
        refused(by(payee, first), by(payee, second), why);
        first.fuel = 9;
        refused(by(payee, first), by(payee, second), why);
    }

    function test_SYM_12_results_for_one_vault_are_no_evidence_in_another() public {
        second.fuel = 8;
        IVault other = newVault(address(token), address(court));
        bytes memory a = by(payee, first);
        bytes memory b = by(payee, second);
        (bool ok,) = address(court).call(abi.encodeCall(court.slash, (other, first, a, second, b)));
        yes(!ok, "refused");
        eq(stakeOf(payee.who), 100 * UNIT, "this vault's stake is untouched");
    }

    function test_SYM_12_a_hostile_vault_judges_only_itself() public {
        second.fuel = 8;
        HostileVault fake = new HostileVault(vault.hashResult(first));
        bytes memory a = by(payee, first);
        court.slash(IVault(address(fake)), first, a, second, a);
        eq(fake.accused(), payee.who, "the fake may believe what it likes");
        eq(stakeOf(payee.who), 100 * UNIT, "the real stake is untouched");
        yes(!vault.isSlashed(payee.who, first.order), "nothing recorded");
    }

    function test_SYM_12_a_dissent_settled_by_a_quorum_is_no_evidence() public {
        // Two providers, two results, one order: a dissent, not an equivocation (SYM-13).
        second.resultsRoot = keccak256("dissent");
        refused(by(payee, first), by(stranger, second), abi.encodeWithSelector(ICourt.BadEvidence.selector, 1));
    }
}

/// @dev Says that every Result has one digest, and that everybody is guilty.
contract HostileVault {
    bytes32 internal immutable digest;
    address public accused;

    constructor(bytes32 digest_) {
        digest = digest_;
    }

    function hashResult(Result calldata) external view returns (bytes32) {
        return digest;
    }

    function slash(address provider, bytes32, address) external returns (uint96, uint96) {
        accused = provider;
        return (1, 1);
    }
}
