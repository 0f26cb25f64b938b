// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Bind, IVault, Release, Result, Voucher, WorkOrder} from "../../../src/interfaces/IVault.sol";
import {Fixture} from "../../helpers/Fixture.sol";

contract DigestsTest is Fixture {
    function digest(bytes memory members) internal returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("symbolon"),
                keccak256("1"),
                block.chainid,
                address(vault)
            )
        );
        eq(vault.DOMAIN_SEPARATOR(), domain, "domain");
        return keccak256(abi.encodePacked(hex"1901", domain, keccak256(members)));
    }

    function check(Voucher memory v, WorkOrder memory o, Result memory r, address owner) internal {
        eq(
            vault.hashVoucher(v),
            digest(
                abi.encode(
                    keccak256("Voucher(address payee,bytes32 lane,uint96 cumulative,uint24 epoch)"),
                    v.payee,
                    v.lane,
                    v.cumulative,
                    v.epoch
                )
            ),
            "voucher"
        );
        bytes32 typehash = keccak256(
            "WorkOrder(bytes32 work,bytes22 royalty,bytes32 roster,uint8 quorum,uint64 maxFuel,uint40 settleBy)"
        );
        eq(
            vault.hashOrder(o),
            digest(abi.encode(typehash, o.work, o.royalty, o.roster, o.quorum, o.maxFuel, o.settleBy)),
            "order"
        );
        typehash = keccak256("Result(bytes32 order,bytes32 resultsRoot,uint64 fuel,bytes32 seals)");
        eq(vault.hashResult(r), digest(abi.encode(typehash, r.order, r.resultsRoot, r.fuel, r.seals)), "result");
        eq(vault.hashBind(Bind(owner)), digest(abi.encode(keccak256("Bind(address owner)"), owner)), "bind");
        eq(
            vault.hashRelease(Release(owner, v.lane, v.epoch)),
            digest(abi.encode(keccak256("Release(address payer,bytes32 lane,uint24 epoch)"), owner, v.lane, v.epoch)),
            "release"
        );
    }

    function testFuzz_SYM_05_every_digest_is_the_vaults_own(
        Voucher memory v,
        WorkOrder memory o,
        Result memory r,
        address owner
    ) public {
        check(v, o, r, owner);
    }

    function test_SYM_05_the_domain_follows_the_chain_id() public {
        bytes32 before = vault.DOMAIN_SEPARATOR();
        vm.chainId(8453);
        Voucher memory v;
        WorkOrder memory o;
        Result memory r;
        check(v, o, r, address(0));
        yes(vault.DOMAIN_SEPARATOR() != before, "another chain, another domain");
        vm.chainId(11_155_111);
        check(v, o, r, address(0));
        vm.chainId(31_337);
        eq(vault.DOMAIN_SEPARATOR(), before, "and back");
    }

    function test_SYM_05_a_channel_is_key_payee_and_lane() public {
        bytes32 id = vault.channelId(payer.who, payee.who, LANE);
        eq(id, keccak256(abi.encode(payer.who, payee.who, LANE)), "id");
        yes(id != vault.channelId(payee.who, payer.who, LANE), "not symmetric");
    }
}
