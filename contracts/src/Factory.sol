// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Vault} from "./Vault.sol";
import {IFactory} from "./interfaces/IFactory.sol";
import {IVault} from "./interfaces/IVault.sol";

/// @title Factory
/// @notice Documented in IFactory.
contract Factory is IFactory {
    /// @inheritdoc IFactory
    address public immutable court;
    /// @inheritdoc IFactory
    mapping(address vault => bool) public isVault;

    constructor(address court_) {
        if (court_ == address(0)) revert IVault.ZeroAddress();
        court = court_;
    }

    /// @inheritdoc IFactory
    function deploy(address token) external returns (address vault) {
        vault = vaultOf(token);
        if (isVault[vault]) return vault;
        new Vault{salt: 0}(token, court);
        isVault[vault] = true;
        emit VaultDeployed(token, vault);
    }

    /// @inheritdoc IFactory
    function vaultOf(address token) public view returns (address vault) {
        bytes32 codeHash = keccak256(abi.encodePacked(type(Vault).creationCode, abi.encode(token, court)));
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), bytes32(0), codeHash)))));
    }
}
