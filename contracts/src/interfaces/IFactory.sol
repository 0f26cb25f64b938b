// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Factory
/// @notice Deploys one vault per token by CREATE2 and remembers nothing but which addresses it deployed.
interface IFactory {
    event VaultDeployed(address indexed token, address indexed vault);

    function court() external view returns (address);
    /// @notice Deploys the token's vault, or returns the one already there.
    function deploy(address token) external returns (address vault);
    function vaultOf(address token) external view returns (address vault);
    function isVault(address vault) external view returns (bool);
}
