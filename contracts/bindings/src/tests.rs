//! The bindings agree with the contracts' interfaces and with type strings written by hand.
#![allow(clippy::unwrap_used)]

use alloy_primitives::{Address, B256, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolStruct, SolValue};

use super::*;

const VAULT: Address = address!("0x00000000000000000000000000000000000000a1");

#[test]
fn sym_05_type_strings_are_the_protocols() {
    for (have, want) in [
        (Voucher::eip712_encode_type(), "Voucher(address payee,bytes32 lane,uint96 cumulative,uint24 epoch)"),
        (
            WorkOrder::eip712_encode_type(),
            "WorkOrder(bytes32 work,bytes22 royalty,bytes32 roster,uint8 quorum,uint64 maxFuel,uint40 settleBy)",
        ),
        (Result::eip712_encode_type(), "Result(bytes32 order,bytes32 resultsRoot,uint64 fuel,bytes32 seals)"),
        (Bind::eip712_encode_type(), "Bind(address owner)"),
        (Release::eip712_encode_type(), "Release(address payer,bytes32 lane,uint24 epoch)"),
    ] {
        assert_eq!(have, want);
    }
    assert_eq!(
        Voucher::default().eip712_type_hash(),
        keccak256("Voucher(address payee,bytes32 lane,uint96 cumulative,uint24 epoch)")
    );
}

#[test]
fn sym_05_domain_is_name_version_chain_and_vault() {
    let typehash = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    let by_hand = keccak256((typehash, keccak256("symbolon"), keccak256("1"), U256::from(31337), VAULT).abi_encode());
    assert_eq!(domain(31337, VAULT).separator(), by_hand);
}

#[test]
fn sym_05_a_voucher_digest_by_hand() {
    let voucher = Voucher {
        payee: VAULT,
        lane: B256::repeat_byte(7),
        cumulative: alloy_primitives::Uint::from(1_000_000u64),
        epoch: alloy_primitives::Uint::from(3u64),
    };
    let members = (
        Voucher::default().eip712_type_hash(),
        VAULT,
        B256::repeat_byte(7),
        U256::from(1_000_000u64),
        U256::from(3u64),
    );
    let domain = domain(1, VAULT);
    let by_hand =
        keccak256([&[0x19, 0x01], domain.separator().as_slice(), keccak256(members.abi_encode()).as_slice()].concat());
    assert_eq!(voucher.eip712_signing_hash(&domain), by_hand);
}

#[test]
fn selectors_are_the_interfaces() {
    assert_eq!(vault::claimForCall::SIGNATURE, "claimFor(bytes)");
    assert_eq!(vault::claimCall::SIGNATURE, "claim(bytes,address)");
    assert_eq!(
        vault::settleQuorumCall::SIGNATURE,
        "settleQuorum((bytes32,bytes22,bytes32,uint8,uint64,uint40),bytes,uint64,bytes32,bytes,uint8,bytes32[])"
    );
    assert_eq!(
        court::slashCall::SIGNATURE,
        "slash(address,(bytes32,bytes32,uint64,bytes32),bytes,(bytes32,bytes32,uint64,bytes32),bytes)"
    );
    assert_eq!(vault::Claimed::SIGNATURE, "Claimed(address,bytes32,uint256,uint96)");
    assert_eq!(token::mintCall::SIGNATURE, "mint(address,uint256)");
}

#[test]
fn addresses_follow_from_code_and_arguments() {
    let token = address!("0x00000000000000000000000000000000000000b2");
    let other = address!("0x00000000000000000000000000000000000000b3");
    assert_ne!(court_address(), factory_address());
    assert_ne!(vault_address(token), vault_address(other));
    assert_eq!(vault_address(token), vault_address_of(factory_address(), court_address(), token));
    assert_ne!(vault_address(token), vault_address_of(factory_address(), other, token));

    // The last word of the creation code is the last constructor argument.
    let code = vault_creation_code(token, other);
    assert!(code.starts_with(&vault::BYTECODE));
    assert!(code.ends_with(other.as_slice()));
    assert!(court_deployment().starts_with(SALT.as_slice()));
    assert!(factory_deployment().ends_with(court_address().as_slice()));
}

#[test]
fn the_courts_result_is_the_vaults() {
    let result =
        Result { order: B256::repeat_byte(1), resultsRoot: B256::repeat_byte(2), fuel: 3, seals: B256::repeat_byte(4) };
    let courts = court::Result::from(result.clone());
    assert_eq!(courts.eip712_hash_struct(), result.eip712_hash_struct());
}
