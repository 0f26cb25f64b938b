// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Honest} from "./Honest.sol";
import {Hostile} from "./Hostile.sol";

/// @notice The functions of the parties, and random walks over them.
abstract contract Walk {
    function selectors() internal pure returns (bytes4[] memory list) {
        bytes4[16] memory honest = [
            Honest.deposit.selector,
            Honest.withdraw.selector,
            Honest.open.selector,
            Honest.voucher.selector,
            Honest.voucher.selector,
            Honest.voucherKept.selector,
            Honest.claimOut.selector,
            Honest.quorum.selector,
            Honest.release.selector,
            Honest.payMany.selector,
            Honest.bindFresh.selector,
            Honest.stake.selector,
            Honest.unstake.selector,
            Honest.register.selector,
            Honest.equivocate.selector,
            Honest.wait.selector
        ];
        bytes4[21] memory hostile = [
            Hostile.replay.selector,
            Hostile.replayAll.selector,
            Hostile.corrupt.selector,
            Hostile.junk.selector,
            Hostile.strangersVoucher.selector,
            Hostile.stealClaim.selector,
            Hostile.overdraw.selector,
            Hostile.overgive.selector,
            Hostile.overspend.selector,
            Hostile.meddle.selector,
            Hostile.overfill.selector,
            Hostile.depositUnfunded.selector,
            Hostile.donate.selector,
            Hostile.snatch.selector,
            Hostile.squat.selector,
            Hostile.replayQuorum.selector,
            Hostile.falseQuorum.selector,
            Hostile.overstake.selector,
            Hostile.unstakeEarly.selector,
            Hostile.falseAccusation.selector,
            Hostile.reuseEvidence.selector
        ];
        list = new bytes4[](38);
        for (uint256 i; i < 16; ++i) {
            list[i] = honest[i];
        }
        for (uint256 i; i < 21; ++i) {
            list[16 + i] = hostile[i];
        }
        list[37] = Hostile.registerFalsely.selector;
    }

    /// @dev Every call of the walk must succeed.
    function walk(address parties, uint256 seed, uint256 length) internal {
        bytes4[] memory list = selectors();
        for (uint256 i; i < length; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            bytes4 selector = list[seed % list.length];
            (bool ok,) = parties.call(bytes.concat(selector, arguments(selector, seed)));
            assert(ok);
        }
    }

    /// @dev Five random words, narrowed where a parameter is.
    function arguments(bytes4 selector, uint256 seed) internal pure returns (bytes memory words) {
        for (uint256 j; j < 5; ++j) {
            uint256 value = uint256(keccak256(abi.encode(seed, j)));
            if (selector == Hostile.junk.selector && j == 2) value = uint96(value);
            if (selector == Hostile.junk.selector && j == 3) value = uint24(value);
            if (selector == Hostile.corrupt.selector && j == 2) value = uint8(value);
            if (selector == Hostile.falseAccusation.selector && j == 1) value = uint64(value);
            if (selector == Hostile.depositUnfunded.selector && j == 1) value = uint96(value);
            if (selector == Hostile.replayAll.selector && j == 1) value &= 1;
            words = bytes.concat(words, bytes32(value));
        }
    }
}
