// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Signatures} from "../../../src/libraries/Signatures.sol";
import {Assertions} from "../../helpers/Assertions.sol";

contract SignaturesTest is Assertions {
    uint256 internal constant HALF = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    function recover(bytes32 digest, bytes calldata signature) external view returns (address) {
        return Signatures.recover(digest, signature);
    }

    function testFuzz_SYM_05_a_compact_signature_recovers_its_signer(uint256 seed, bytes32 digest) public {
        uint256 pk = biased(seed, 1, 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140);
        (bytes32 r, bytes32 vs) = vm.signCompact(pk, digest);
        eq(Signatures.recover(digest, r, vs), vm.addr(pk), "signer");
        eq(this.recover(digest, abi.encodePacked(r, vs)), vm.addr(pk), "from calldata");
        (uint8 v, bytes32 longR, bytes32 s) = vm.sign(pk, digest);
        eq(Signatures.recover(digest, longR, bytes32(uint256(s) | (uint256(v - 27) << 255))), vm.addr(pk), "EIP-2098");
    }

    function testFuzz_SYM_05_a_high_s_is_refused(bytes32 digest, bytes32 r, uint256 rawS, bool parity) public {
        uint256 s = biased(rawS, HALF + 1, type(uint256).max >> 1);
        bytes32 vs = bytes32(s | (parity ? 1 << 255 : 0));
        eq(Signatures.recover(digest, r, vs), address(0), "signer");
    }

    function test_SYM_05_the_highest_low_s_is_accepted() public {
        // Found by search over r: a valid x coordinate recovers somebody; the point is that s is let through.
        bytes32 digest = keccak256("digest");
        address want = ecrecover(digest, 27, bytes32(uint256(1)), bytes32(HALF));
        yes(want != address(0), "the precompile recovers");
        eq(Signatures.recover(digest, bytes32(uint256(1)), bytes32(HALF)), want, "signer");
        yes(
            ecrecover(digest, 27, bytes32(uint256(1)), bytes32(HALF + 1)) != address(0),
            "the precompile itself takes a high s"
        );
        eq(Signatures.recover(digest, bytes32(uint256(1)), bytes32(HALF + 1)), address(0), "we do not");
    }

    function testFuzz_SYM_05_another_length_recovers_nobody(bytes32 digest, uint8 length) public {
        vm.assume(length != 64);
        eq(this.recover(digest, new bytes(length)), address(0), "signer");
    }

    /// @dev Calldata goes on behind a signature, with zeros at least: one that ends in zero is not good without its end.
    function test_SYM_05_a_signature_without_its_last_byte_recovers_nobody() public {
        bytes32 digest;
        bytes32 r;
        bytes32 vs;
        do {
            digest = keccak256(abi.encode(digest));
            (r, vs) = vm.signCompact(1, digest);
        } while (uint8(uint256(vs)) != 0);
        eq(this.recover(digest, abi.encodePacked(r, vs)), vm.addr(1), "whole");
        eq(this.recover(digest, abi.encodePacked(r, bytes31(vs))), address(0), "cut");
    }

    function test_SYM_05_zeros_recover_nobody() public {
        eq(Signatures.recover(0, 0, 0), address(0), "signer");
        eq(this.recover(keccak256("x"), new bytes(64)), address(0), "signer");
    }
}
