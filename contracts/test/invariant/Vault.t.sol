// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Assertions} from "../helpers/Assertions.sol";
import {Hostile} from "./Hostile.sol";

/// @notice The vault under honest and hostile parties at once.
contract VaultInvariantTest is Assertions {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Hostile internal parties;

    function setUp() public {
        parties = new Hostile();
        parties.setUp();
    }

    function targetContracts() external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(parties);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory list) {
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(parties), selectors());
    }

    function selectors() internal view returns (bytes4[] memory list) {
        bytes4[25] memory all = [
            parties.deposit.selector,
            parties.withdraw.selector,
            parties.open.selector,
            parties.voucher.selector,
            parties.voucher.selector,
            parties.claimOut.selector,
            parties.quorum.selector,
            parties.quorum.selector,
            parties.release.selector,
            parties.payMany.selector,
            parties.stake.selector,
            parties.unstake.selector,
            parties.equivocate.selector,
            parties.wait.selector,
            parties.replay.selector,
            parties.replayAll.selector,
            parties.corrupt.selector,
            parties.junk.selector,
            parties.strangersVoucher.selector,
            parties.overdraw.selector,
            parties.overspend.selector,
            parties.snatch.selector,
            parties.falseQuorum.selector,
            parties.falseAccusation.selector,
            parties.donate.selector
        ];
        list = new bytes4[](26);
        for (uint256 i; i < 25; ++i) {
            list[i] = all[i];
        }
        list[25] = parties.overfill.selector;
    }

    function invariant_SYM_01_the_vault_holds_what_it_owes() public {
        atMost(parties.liabilities(), parties.held(), "liabilities");
    }

    function invariant_SYM_01_money_is_conserved() public {
        eq(parties.held(), parties.deposited() + parties.donated() - parties.withdrawn(), "deposits less payouts");
        eq(parties.liabilities() + parties.donated(), parties.held(), "donations are owed to nobody");
    }

    /// @dev An invariant holds trivially where nothing happens: a fixed random walk must have seen every fact.
    function test_SYM_09_the_parties_reach_everything() public {
        bytes4[] memory list = selectors();
        uint256 seed = 7;
        for (uint256 i; i < 2000; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            bytes4 selector = list[seed % list.length];
            (bool ok,) = address(parties).call(bytes.concat(selector, arguments(selector, seed)));
            yes(ok, "every call of the walk succeeds");
        }
        string[12] memory facts = [
            "paid",
            "paid in full",
            "voucher",
            "claim out",
            "quorum",
            "release",
            "early release",
            "stake withdrawn",
            "slashed",
            "replay all",
            "false quorum",
            "overfill"
        ];
        for (uint256 i; i < facts.length; ++i) {
            yes(parties.seen(bytes32(bytes(facts[i]))) > 0, facts[i]);
        }
        invariant_SYM_01_the_vault_holds_what_it_owes();
        invariant_SYM_01_money_is_conserved();
    }

    /// @dev Five random words, narrowed where a parameter is.
    function arguments(bytes4 selector, uint256 seed) internal view returns (bytes memory words) {
        bool narrow = selector == parties.junk.selector;
        for (uint256 j; j < 5; ++j) {
            uint256 value = uint256(keccak256(abi.encode(seed, j)));
            if (narrow && j == 2) value = uint96(value);
            if (narrow && j == 3) value = uint24(value);
            if (selector == parties.voucher.selector && j == 4) value &= 1;
            if (selector == parties.corrupt.selector && j == 2) value = uint8(value);
            if ((selector == parties.equivocate.selector || selector == parties.falseAccusation.selector) && j == 1) {
                value = uint64(value);
            }
            words = bytes.concat(words, bytes32(value));
        }
    }
}
