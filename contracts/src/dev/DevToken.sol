// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title DevToken
/// @notice The settlement token of a devnet: anybody may mint. Worth nothing, by design.
contract DevToken is ERC20, ERC20Permit {
    constructor() ERC20("symbolon devnet token", "SYMD") ERC20Permit("symbolon devnet token") {}

    /// @notice Mints `amount` base units (18 decimals) to `to`.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
