// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault, Result} from "./IVault.sol";

/// @title Court
/// @notice Stateless judge of the one slashable act: two different signed Results for one order (SYM-12).
interface ICourt {
    error DifferentOrders();
    error SameResult();
    error BadEvidence(uint8 which);

    /// @notice Slashes whoever signed both Results. Signatures are compact (EIP-2098).
    function slash(
        IVault vault,
        Result calldata first,
        bytes calldata firstSignature,
        Result calldata second,
        bytes calldata secondSignature
    ) external returns (address provider, uint96 taken, uint96 reward);
}
