// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Vm} from "./Vm.sol";

/// @notice Assertions that end in `assert`, so that fuzzers, invariant runs and symbolic tools all count them.
abstract contract Assertions {
    Vm internal constant vm = Vm(0x7109709ECfa91a80626fF3989D68f67F5b1DD12D);

    event log_named_string(string key, string value);
    event log_named_uint(string key, uint256 value);
    event log_named_bytes32(string key, bytes32 value);
    event log_named_address(string key, address value);

    function eq(uint256 have, uint256 want, string memory what) internal {
        if (have == want) return;
        emit log_named_string("failed", what);
        emit log_named_uint("have", have);
        emit log_named_uint("want", want);
        assert(false);
    }

    function eq(address have, address want, string memory what) internal {
        if (have == want) return;
        emit log_named_string("failed", what);
        emit log_named_address("have", have);
        emit log_named_address("want", want);
        assert(false);
    }

    function eq(bytes32 have, bytes32 want, string memory what) internal {
        if (have == want) return;
        emit log_named_string("failed", what);
        emit log_named_bytes32("have", have);
        emit log_named_bytes32("want", want);
        assert(false);
    }

    function atMost(uint256 have, uint256 most, string memory what) internal {
        if (have <= most) return;
        emit log_named_string("failed", what);
        emit log_named_uint("have", have);
        emit log_named_uint("most", most);
        assert(false);
    }

    function yes(bool value, string memory what) internal {
        if (value) return;
        emit log_named_string("failed", what);
        assert(false);
    }

    /// @dev The next call must revert with exactly this.
    function refuses(bytes memory data) internal {
        vm.expectRevert(data);
    }

    function refuses(bytes4 selector) internal {
        vm.expectRevert(abi.encodeWithSelector(selector));
    }

    /// @dev Boundary-biased: half of all inputs land on or beside a bound.
    function biased(uint256 raw, uint256 low, uint256 high) internal pure returns (uint256) {
        uint256 pick = raw % 12;
        raw /= 12;
        if (low == high) return low;
        if (pick < 2) return low;
        if (pick < 4) return high;
        if (pick == 4) return low + 1;
        if (pick == 5) return high - 1;
        return low == 0 && high == type(uint256).max ? raw : low + raw % (high - low + 1);
    }
}
