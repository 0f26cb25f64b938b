// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ICourt} from "./interfaces/ICourt.sol";
import {IVault, Result} from "./interfaces/IVault.sol";
import {Signatures} from "./libraries/Signatures.sol";

/// @title Court
/// @notice Documented in ICourt. Holds no state and no money; a hostile `vault` argument can only judge itself,
/// because digests come from the vault's own domain and only that vault is told to slash.
contract Court is ICourt {
    /// @inheritdoc ICourt
    function slash(
        IVault vault,
        Result calldata first,
        bytes calldata firstSignature,
        Result calldata second,
        bytes calldata secondSignature
    ) external returns (address provider, uint96 taken, uint96 reward) {
        if (first.order != second.order) revert DifferentOrders();
        if (first.resultsRoot == second.resultsRoot && first.fuel == second.fuel) revert SameResult();
        provider = Signatures.recover(vault.hashResult(first), firstSignature);
        if (provider == address(0)) revert BadEvidence(0);
        if (Signatures.recover(vault.hashResult(second), secondSignature) != provider) revert BadEvidence(1);
        (taken, reward) = vault.slash(provider, first.order, msg.sender);
    }
}
