// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "solady/src/tokens/ERC20.sol";

/// @title DevToken
/// @notice The settlement token of a devnet: anybody may mint. Worth nothing, by design.
contract DevToken is ERC20 {
    function name() public pure override returns (string memory) {
        return "symbolon devnet token";
    }

    function symbol() public pure override returns (string memory) {
        return "SYMD";
    }

    /// @notice Mints `amount` base units (18 decimals) to `to`.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _constantNameHash() internal pure override returns (bytes32) {
        return keccak256("symbolon devnet token");
    }

    function _givePermit2InfiniteAllowance() internal pure override returns (bool) {
        return false;
    }
}
