// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Bind, Release, Result, Voucher, WorkOrder} from "../interfaces/IVault.sol";

/// @title Digests
/// @notice EIP-712 struct hashes of everything that is signed. No member is dynamic (SYM-05).
library Digests {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant VOUCHER_TYPEHASH =
        keccak256("Voucher(address payee,bytes32 lane,uint96 cumulative,uint24 epoch)");
    bytes32 internal constant WORK_ORDER_TYPEHASH =
        keccak256("WorkOrder(bytes32 work,bytes22 royalty,bytes32 roster,uint8 quorum,uint64 maxFuel,uint40 settleBy)");
    bytes32 internal constant RESULT_TYPEHASH =
        keccak256("Result(bytes32 order,bytes32 resultsRoot,uint64 fuel,bytes32 seals)");
    bytes32 internal constant BIND_TYPEHASH = keccak256("Bind(address owner)");
    bytes32 internal constant RELEASE_TYPEHASH = keccak256("Release(address payer,bytes32 lane,uint24 epoch)");

    bytes32 internal constant NAME_HASH = keccak256("symbolon");
    bytes32 internal constant VERSION_HASH = keccak256("1");

    function domainSeparator(address vault) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, vault));
    }

    /// @notice `keccak256(0x1901 ‖ domain ‖ struct hash)`.
    function typed(bytes32 domain, bytes32 structHash) internal pure returns (bytes32 digest) {
        // memory-safe: 66 bytes above the free pointer, which batches would otherwise move once a row.
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, hex"1901")
            mstore(add(start, 0x02), domain)
            mstore(add(start, 0x22), structHash)
            digest := keccak256(start, 0x42)
        }
    }

    /// @notice `keccak256(abi.encode(key, payee, lane))`.
    function channelId(address key, address payee, bytes32 lane) internal pure returns (bytes32 id) {
        // memory-safe: three words above the free pointer.
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, and(key, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(start, 0x20), and(payee, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(start, 0x40), lane)
            id := keccak256(start, 0x60)
        }
    }

    /// @notice The struct hash of a voucher, member by member: claims never hold one in memory.
    function voucher(address payee, bytes32 lane, uint96 cumulative, uint24 epoch) internal pure returns (bytes32 h) {
        bytes32 typehash = VOUCHER_TYPEHASH;
        // memory-safe: five words above the free pointer; narrow values are cleaned by their types' masks.
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typehash)
            mstore(add(start, 0x20), and(payee, 0xffffffffffffffffffffffffffffffffffffffff))
            mstore(add(start, 0x40), lane)
            mstore(add(start, 0x60), and(cumulative, 0xffffffffffffffffffffffff))
            mstore(add(start, 0x80), and(epoch, 0xffffff))
            h := keccak256(start, 0xa0)
        }
    }

    function hash(Voucher calldata v) internal pure returns (bytes32) {
        return voucher(v.payee, v.lane, v.cumulative, v.epoch);
    }

    function hash(WorkOrder calldata o) internal pure returns (bytes32) {
        return keccak256(abi.encode(WORK_ORDER_TYPEHASH, o.work, o.royalty, o.roster, o.quorum, o.maxFuel, o.settleBy));
    }

    /// @notice The same for an order whose narrow members the caller has read, and so checked: the six words are hashed
    /// as they lie in the calldata, which saves a quorum the encoder's work.
    function hashOfWords(WorkOrder calldata o) internal pure returns (bytes32 h) {
        bytes32 typehash = WORK_ORDER_TYPEHASH;
        // memory-safe: seven words above the free pointer.
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typehash)
            calldatacopy(add(start, 0x20), o, 0xc0)
            h := keccak256(start, 0xe0)
        }
    }

    function hash(Result calldata r) internal pure returns (bytes32) {
        return result(r.order, r.resultsRoot, r.fuel, r.seals);
    }

    function result(bytes32 order, bytes32 resultsRoot, uint64 fuel, bytes32 seals) internal pure returns (bytes32 h) {
        bytes32 typehash = RESULT_TYPEHASH;
        // memory-safe: five words above the free pointer.
        assembly ("memory-safe") {
            let start := mload(0x40)
            mstore(start, typehash)
            mstore(add(start, 0x20), order)
            mstore(add(start, 0x40), resultsRoot)
            mstore(add(start, 0x60), and(fuel, 0xffffffffffffffff))
            mstore(add(start, 0x80), seals)
            h := keccak256(start, 0xa0)
        }
    }

    function hash(Bind calldata b) internal pure returns (bytes32) {
        return bind(b.owner);
    }

    function bind(address owner) internal pure returns (bytes32) {
        return keccak256(abi.encode(BIND_TYPEHASH, owner));
    }

    function hash(Release calldata r) internal pure returns (bytes32) {
        return release(r.payer, r.lane, r.epoch);
    }

    function release(address payer, bytes32 lane, uint24 epoch) internal pure returns (bytes32) {
        return keccak256(abi.encode(RELEASE_TYPEHASH, payer, lane, epoch));
    }
}
