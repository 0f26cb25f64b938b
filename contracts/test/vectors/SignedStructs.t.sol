// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Bind, IVault, Release, Result, Voucher, WorkOrder} from "../../src/interfaces/IVault.sol";
import {Assertions} from "../helpers/Assertions.sol";

/// @notice The vault's own hash functions over the committed cases that Rust writes and ethers checks
/// (tests/vectors/signed_structs.json). The vault is put where the file's domain says it is.
contract SignedStructsTest is Assertions {
    string internal json;
    IVault internal vault;
    address internal signer;

    function setUp() public {
        json = vm.readFile("../tests/vectors/signed_structs.json");
        address at = vm.parseJsonAddress(json, ".domain.verifyingContract");
        vm.chainId(vm.parseJsonUint(json, ".domain.chainId"));
        // The creation code runs at the address itself, so that the domain it stores is that address's.
        vm.etch(at, abi.encodePacked(vm.getCode("Vault.sol:Vault"), abi.encode(address(1), address(2))));
        (bool created, bytes memory code) = at.call("");
        yes(created, "created");
        vm.etch(at, code);
        vault = IVault(at);
        signer = vm.parseJsonAddress(json, ".signer");
    }

    function at(string memory name, uint256 i, string memory member) internal pure returns (string memory) {
        bytes memory digit = abi.encodePacked(bytes1(uint8(48 + i)));
        return string.concat(".structs.", name, ".cases[", string(digit), "]", member);
    }

    function word(string memory name, uint256 i, string memory member) internal view returns (bytes32) {
        return vm.parseJsonBytes32(json, at(name, i, string.concat(".message.", member)));
    }

    function number(string memory name, uint256 i, string memory member) internal view returns (uint256) {
        return vm.parseJsonUint(json, at(name, i, string.concat(".message.", member)));
    }

    function who(string memory name, uint256 i, string memory member) internal view returns (address) {
        return vm.parseJsonAddress(json, at(name, i, string.concat(".message.", member)));
    }

    function check(string memory name, uint256 i, bytes32 digest) internal {
        eq(digest, vm.parseJsonBytes32(json, at(name, i, ".digest")), name);
        bytes memory signature = vm.parseJsonBytes(json, at(name, i, ".signature"));
        eq(signature.length, 64, "compact");
        bytes32 r;
        uint256 vs;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            vs := mload(add(signature, 0x40))
        }
        bytes32 s = bytes32(vs & (type(uint256).max >> 1));
        eq(ecrecover(digest, uint8(27 + (vs >> 255)), r, s), signer, "signer");
    }

    function test_SYM_05_the_vault_hashes_the_committed_cases_alike() public {
        for (uint256 i; i < 4; ++i) {
            check(
                "Voucher",
                i,
                vault.hashVoucher(
                    Voucher(
                        who("Voucher", i, "payee"),
                        word("Voucher", i, "lane"),
                        uint96(number("Voucher", i, "cumulative")),
                        uint24(number("Voucher", i, "epoch"))
                    )
                )
            );
            check(
                "WorkOrder",
                i,
                vault.hashOrder(
                    WorkOrder(
                        word("WorkOrder", i, "work"),
                        bytes22(vm.parseJsonBytes(json, at("WorkOrder", i, ".message.royalty"))),
                        word("WorkOrder", i, "roster"),
                        uint8(number("WorkOrder", i, "quorum")),
                        uint64(number("WorkOrder", i, "maxFuel")),
                        uint40(number("WorkOrder", i, "settleBy"))
                    )
                )
            );
            check(
                "Result",
                i,
                vault.hashResult(
                    Result(
                        word("Result", i, "order"),
                        word("Result", i, "resultsRoot"),
                        uint64(number("Result", i, "fuel")),
                        word("Result", i, "seals")
                    )
                )
            );
            check("Bind", i, vault.hashBind(Bind(who("Bind", i, "owner"))));
            check(
                "Release",
                i,
                vault.hashRelease(
                    Release(
                        who("Release", i, "payer"), word("Release", i, "lane"), uint24(number("Release", i, "epoch"))
                    )
                )
            );
        }
    }
}
