// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Earmarks, IVault} from "../../src/interfaces/IVault.sol";
import {Fixture} from "../helpers/Fixture.sol";

/// @notice Gas ceilings, as whole transactions: each measured call runs isolated, so that the
/// figure has the intrinsic gas, the calldata and the refunds of its own transaction. Existing slots, no royalty
/// unless said. Where the protocol's budget (docs/protocol.md) is lower than what is reached, it stands beside the
/// ceiling; snapshots/Budgets.json has the exact figures.
/// forge-config: default.isolate = true
contract BudgetsTest is Fixture {
    uint96 internal constant DEEP = 100 * UNIT;

    function used() internal view returns (uint256) {
        return vm.lastCallGas().gasTotalUsed;
    }

    function within(string memory name, uint256 gas, uint256 budget) internal {
        vm.snapshotValue("Budgets", name, gas);
        atMost(gas, budget, name);
    }

    function key(uint256 i) internal pure returns (Actor memory) {
        return actorOf(uint256(keccak256(abi.encode("key", i))));
    }

    function test_gas_deposit() public {
        token.mint(payer.who, 10 * UNIT);
        token.mint(stranger.who, 10 * UNIT);
        vm.prank(payer.who);
        token.approve(address(vault), type(uint256).max);
        vm.prank(stranger.who);
        token.approve(address(vault), type(uint256).max);
        vm.prank(stranger.who);
        vault.deposit(stranger.who, UNIT);
        vm.prank(payer.who);
        vault.deposit(payer.who, UNIT);
        within("deposit, first of an account", used(), 65_300); // budget: 65_000
        vm.prank(payer.who);
        vault.deposit(payer.who, UNIT);
        within("deposit, later", used(), 48_200); // budget: 48_000
    }

    function test_gas_claim_in_a_batch_of_100() public {
        fund(payee.who, UNIT);
        fund(author, UNIT);
        bytes memory first;
        bytes memory second;
        for (uint256 i; i < 100; ++i) {
            channel(key(i), payee.who, LANE, DEEP);
            first = bytes.concat(first, row(key(i).pk, payee.who, LANE, UNIT, 0));
            second = bytes.concat(second, row(key(i).pk, payee.who, LANE, 2 * UNIT + uint96(i), 0));
        }
        vault.claimFor(recordsFor(payee.who, LANE, first));
        vault.claimFor(recordsFor(payee.who, LANE, second));
        within("claim, each of 100", used() / 100, 12_000);
    }

    function test_gas_single_claim_paid_out() public {
        channel(payer, payee.who, LANE, DEEP);
        token.mint(payee.who, 1);
        bytes memory list = records(LANE, row(payer.pk, payee.who, LANE, UNIT, 0));
        vm.prank(payee.who);
        vault.claim(list, payee.who);
        list = records(LANE, row(payer.pk, payee.who, LANE, 2 * UNIT, 0));
        vm.prank(payee.who);
        vault.claim(list, payee.who);
        within("claim, single, paid out", used(), 55_400); // budget: 55_000
    }

    function earmarks(uint96 amount) internal pure returns (Earmarks[] memory list) {
        list = new Earmarks[](1);
        list[0] = Earmarks(LANE, new bytes32[](100));
        for (uint256 i; i < 100; ++i) {
            list[0].words[i] = word(key(i).who, amount + uint96(i));
        }
    }

    function test_gas_open_for_100() public {
        fund(payer.who, 1000 * UNIT);
        vm.prank(payer.who);
        vault.open(payer.who, EXPIRY, earmarks(UNIT));
        within("open, each of 100, new", used() / 100, 24_000);
        vm.prank(payer.who);
        vault.open(payer.who, EXPIRY, earmarks(UNIT));
        within("open, each of 100, again", used() / 100, 7000);
    }

    function test_gas_payMany_for_100() public {
        fund(payer.who, 1000 * UNIT);
        bytes32[] memory words = earmarks(UNIT)[0].words;
        vm.prank(payer.who);
        vault.payMany(words);
        vm.prank(payer.who);
        vault.payMany(words);
        within("payMany, each of 100", used() / 100, 6500);
    }

    function quorum(string memory name, uint256 replicas, uint8 rows, bytes22 royalty, uint256 budget) internal {
        Plan memory p = plan(replicas, rows, DEEP, royalty);
        uint8 members = uint8((1 << rows) - 1);
        settle(p, members);
        for (uint256 i; i < replicas; ++i) {
            p.leaves[i].owed = 7 * UNIT;
        }
        p.order.roster = rosterOf(p.leaves);
        settle(p, members);
        within(name, used(), budget);
    }

    function test_gas_quorum_2_of_3() public {
        quorum("settleQuorum, 2 of 3", 3, 2, 0, 70_000);
    }

    function test_gas_quorum_2_of_3_with_royalty() public {
        bytes22 royalty = bytes22(abi.encodePacked(author, uint16(1000)));
        quorum("settleQuorum, 2 of 3, royalty", 3, 2, royalty, 79_600); // budget: 76_200
    }

    function test_gas_quorum_3_of_5() public {
        quorum("settleQuorum, 3 of 5", 5, 3, 0, 88_000);
    }

    function test_gas_quorum_4_of_7() public {
        quorum("settleQuorum, 4 of 7", 7, 4, 0, 106_000);
    }

    function test_gas_exits() public {
        fund(payer.who, 1000 * UNIT);
        earmark(payer.who, payee.who, LANE, UNIT);
        vm.warp(EXPIRY);
        vm.prank(payer.who);
        vault.release(payer.who, LANE, closing(payee.who, ""));
        within("release, one", used(), 45_000);
        token.mint(payer.who, 1);
        vm.prank(payer.who);
        vault.withdraw(payer.who, payer.who, UNIT);
        within("withdraw", used(), 50_000);
    }
}
