// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Signatures
/// @notice Recovers signers of compact signatures (EIP-2098: r, then y-parity and s in one word).
library Signatures {
    uint256 private constant S_MASK = type(uint256).max >> 1;
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The signer of `digest`, or zero for anything that is not a valid signature with a low s (SYM-05).
    /// @dev Callers must refuse zero themselves.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal view returns (address signer) {
        uint256 s = uint256(vs) & S_MASK;
        if (s > HALF_ORDER) return address(0);
        // memory-safe: the call's input lies above the free pointer, its output in scratch space. A failing
        // call returns nothing, hence the zero written first.
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, digest)
            mstore(add(input, 0x20), add(27, shr(255, vs)))
            mstore(add(input, 0x40), r)
            mstore(add(input, 0x60), s)
            mstore(0x00, 0)
            pop(staticcall(gas(), 1, input, 0x80, 0x00, 0x20))
            signer := mload(0x00)
        }
    }

    /// @notice The same for 64 bytes of calldata; any other length recovers zero.
    function recover(bytes32 digest, bytes calldata signature) internal view returns (address) {
        if (signature.length != 64) return address(0);
        bytes32 r;
        bytes32 vs;
        // memory-safe: no memory at all. Slices would check again what the line above did.
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            vs := calldataload(add(signature.offset, 0x20))
        }
        return recover(digest, r, vs);
    }
}
