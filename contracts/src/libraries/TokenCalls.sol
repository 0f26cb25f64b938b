// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../interfaces/IVault.sol";

/// @title TokenCalls
/// @notice Calls to an ERC-20 that may be hostile: nothing here copies more than one word of
/// what the token returns. What arrived or left is measured by the vault, not believed (SYM-02).
library TokenCalls {
    bytes4 private constant BALANCE_OF = 0x70a08231;
    bytes4 private constant TRANSFER = 0xa9059cbb;
    bytes4 private constant TRANSFER_FROM = 0x23b872dd;
    bytes4 private constant PERMIT = 0xd505accf;

    /// @return ok False when the token has no code, reverted or returned less than a word.
    function tryBalanceOf(address token, address account) internal view returns (bool ok, uint256 amount) {
        bytes memory input = abi.encodeWithSelector(BALANCE_OF, account);
        // memory-safe: the output goes to scratch space, at most one word of it.
        assembly ("memory-safe") {
            ok := staticcall(gas(), token, add(input, 0x20), mload(input), 0x00, 0x20)
            ok := and(ok, gt(returndatasize(), 0x1f))
            amount := mul(mload(0x00), ok)
        }
    }

    /// @notice Pays out, and measures what left this contract.
    /// @return False when nothing left. Anything between nothing and the amount is the token's own affair; a token
    /// that took more, or took it and then failed, undoes the whole call.
    function payOut(address token, address to, uint256 amount) internal returns (bool) {
        (bool known, uint256 held) = tryBalanceOf(token, address(this));
        if (!known) return false;
        bool sent = tryCall(token, abi.encodeWithSelector(TRANSFER, to, amount));
        uint256 holds;
        (known, holds) = tryBalanceOf(token, address(this));
        if (known && holds >= held) return false;
        // unchecked: the line above returned unless holds < held.
        unchecked {
            if (!known || !sent || held - holds > amount) revert IVault.TokenTransferFailed();
        }
        return true;
    }

    function tryTransferFrom(address token, address from, address to, uint256 amount) internal returns (bool) {
        return tryCall(token, abi.encodeWithSelector(TRANSFER_FROM, from, to, amount));
    }

    /// @notice EIP-2612. A failure is the caller's to ignore: the allowance decides.
    function tryPermit(
        address token,
        address owner,
        address spender,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) internal returns (bool) {
        return tryCall(token, abi.encodeWithSelector(PERMIT, owner, spender, amount, deadline, v, r, s));
    }

    /// @dev True when the call succeeded and returned nothing at all or a word that is exactly one. An address
    /// without code counts as success here; the balances measured around the call tell.
    function tryCall(address token, bytes memory input) private returns (bool ok) {
        // memory-safe: the output goes to scratch space, at most one word of it.
        assembly ("memory-safe") {
            ok := call(gas(), token, 0, add(input, 0x20), mload(input), 0x00, 0x20)
            if returndatasize() {
                ok := and(ok, and(gt(returndatasize(), 0x1f), eq(mload(0x00), 1)))
            }
        }
    }
}
