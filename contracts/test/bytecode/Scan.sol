// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @notice Walks deployed code opcode by opcode and passes over what PUSH pushes. There is no metadata behind the code
/// (foundry.toml: cbor_metadata = false); what a contract deploys lies behind its own code, from an INVALID on, and is
/// walked as well.
library Scan {
    uint8 internal constant SLOAD = 0x54;
    uint8 internal constant TLOAD = 0x5c;
    uint8 internal constant ORIGIN = 0x32;
    uint8 internal constant CREATE = 0xf0;
    uint8 internal constant CALLCODE = 0xf2;
    uint8 internal constant DELEGATECALL = 0xf4;
    uint8 internal constant CREATE2 = 0xf5;
    uint8 internal constant SELFDESTRUCT = 0xff;
    uint8 private constant PUSH0 = 0x5f;
    uint8 private constant PUSH32 = 0x7f;

    /// @notice How often each opcode stands in `code`.
    function opcodes(bytes memory code) internal pure returns (uint256[256] memory count) {
        for (uint256 i; i < code.length;) {
            uint8 op = uint8(code[i]);
            count[op]++;
            i += 1 + pushed(op);
        }
    }

    /// @notice How often `code` reads storage at a constant slot, and the highest such slot: what an owner, a pause or
    /// an implementation address would be read from. A mapping's entry lies at a hash, which no PUSH names.
    function fixedReads(bytes memory code) internal pure returns (uint256 count, uint256 highest) {
        uint256 value = type(uint256).max;
        for (uint256 i; i < code.length;) {
            uint8 op = uint8(code[i]);
            uint256 width = pushed(op);
            if (op == SLOAD && value != type(uint256).max) {
                ++count;
                if (value > highest) highest = value;
            }
            value = type(uint256).max;
            if (op == PUSH0) value = 0;
            // A slot number is short; longer pushes are hashes, masks and addresses.
            if (width > 0 && width <= 4 && i + width < code.length) value = read(code, i + 1, width);
            i += 1 + width;
        }
    }

    /// @dev How many bytes of data follow an opcode.
    function pushed(uint8 op) private pure returns (uint256) {
        return op > PUSH0 && op <= PUSH32 ? op - PUSH0 : 0;
    }

    function read(bytes memory code, uint256 from, uint256 width) private pure returns (uint256 value) {
        for (uint256 i; i < width; ++i) {
            value = value << 8 | uint8(code[from + i]);
        }
    }
}
