// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IVault} from "../interfaces/IVault.sol";

/// @title TokenCalls
/// @notice Calls to an ERC-20 that may be hostile: nothing here copies more than one word of
/// what the token returns. What arrived or left is measured, not believed (SYM-02). Inputs are written by hand, because
/// deposits and payouts have gas budgets, and the encoder allocates for every call.
library TokenCalls {
    bytes4 private constant BALANCE_OF = 0x70a08231;
    bytes4 private constant TRANSFER = 0xa9059cbb;
    bytes4 private constant TRANSFER_FROM = 0x23b872dd;
    bytes4 private constant PERMIT = 0xd505accf;

    /// @dev No balance is this high: a vault's ends at 2^96-1.
    uint256 private constant UNKNOWN = type(uint256).max;

    /// @notice Pulls tokens from `from`, and measures what arrived.
    /// @return arrived What this contract holds more than before.
    /// @return holds What it holds now. Below 2^256, where the caller draws the line.
    function pullIn(address token, address from, uint256 amount) internal returns (uint256 arrived, uint256 holds) {
        uint256 held = _balance(token);
        if (!_transferFrom(token, from, amount)) revert IVault.TokenTransferFailed();
        holds = _balance(token);
        // Also when either is unknown.
        if (holds <= held || holds == UNKNOWN) revert IVault.TokenTransferFailed();
        // unchecked: holds > held was just checked.
        unchecked {
            arrived = holds - held;
        }
    }

    /// @notice Pays out, and measures what left this contract.
    /// @return False when nothing left. Anything between nothing and the amount is the token's own affair; a token
    /// that took more, or took it and then failed, undoes the whole call.
    function payOut(address token, address to, uint256 amount) internal returns (bool) {
        uint256 held = _balance(token);
        if (held == UNKNOWN) return false;
        bool sent = _transfer(token, to, amount);
        uint256 holds = _balance(token);
        if (holds >= held) {
            if (holds == UNKNOWN) revert IVault.TokenTransferFailed();
            return false;
        }
        // unchecked: the line above returned unless holds < held.
        unchecked {
            if (held - holds > amount) revert IVault.TokenTransferFailed();
        }
        if (!sent) revert IVault.TokenTransferFailed();
        return true;
    }

    /// @dev What this contract holds; UNKNOWN when the token has no code, reverted or returned less than a word.
    function _balance(address token) private view returns (uint256 amount) {
        // memory-safe: input and output in scratch space, at most one word of output.
        assembly ("memory-safe") {
            mstore(0x00, BALANCE_OF)
            mstore(0x04, address())
            let ok := staticcall(gas(), token, 0x00, 0x24, 0x00, 0x20)
            amount := or(mload(0x00), sub(and(ok, gt(returndatasize(), 0x1f)), 1))
        }
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
    ) internal {
        bytes memory input = abi.encodeWithSelector(PERMIT, owner, spender, amount, deadline, v, r, s);
        // memory-safe: no output is copied.
        assembly ("memory-safe") {
            pop(call(gas(), token, 0, add(input, 0x20), mload(input), 0x00, 0x00))
        }
    }

    function _transfer(address token, address to, uint256 amount) private returns (bool) {
        bool success;
        // memory-safe: 68 bytes above the free pointer, the output in scratch space, at most one word of it.
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, TRANSFER)
            mstore(add(input, 0x04), and(to, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(input, 0x24), amount)
            success := call(gas(), token, 0, input, 0x44, 0x00, 0x20)
        }
        return _meansYes(success);
    }

    function _transferFrom(address token, address from, uint256 amount) private returns (bool) {
        bool success;
        // memory-safe: 100 bytes above the free pointer, the output in scratch space, at most one word of it.
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, TRANSFER_FROM)
            mstore(add(input, 0x04), and(from, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(input, 0x24), address())
            mstore(add(input, 0x44), amount)
            success := call(gas(), token, 0, input, 0x64, 0x00, 0x20)
        }
        return _meansYes(success);
    }

    /// @dev True when the call just made succeeded and returned nothing at all or a word that is exactly one. An
    /// address without code counts as success here; the balances measured around the call tell.
    function _meansYes(bool success) private pure returns (bool yes) {
        // memory-safe: reads the scratch space that the call wrote.
        assembly ("memory-safe") {
            yes := and(success, or(iszero(returndatasize()), and(gt(returndatasize(), 0x1f), eq(mload(0x00), 1))))
        }
    }
}
