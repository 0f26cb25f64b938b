//! The register of providers on chain, as nodes write and read it: a newcomer
//! finds its first peers there and nowhere else.

use crate::peer::Peer;
use symbolon_net::{Multiaddr, PeerId, verify_peer_signature};
use symbolon_primitives::{Address, Domain};
use symbolon_settlement::Registration;
use symbolon_wire::MAX_ADDRS;

/// What a peer id signs to speak for a provider: domain, chain, vault and address.
#[must_use]
pub(crate) fn statement(domain: Domain, provider: Address) -> Vec<u8> {
    [
        b"symbolon registration 1".as_slice(),
        &domain.chain_id.to_be_bytes(),
        domain.vault.as_slice(),
        provider.as_slice(),
    ]
    .concat()
}

/// The addresses of a registration: multiaddr texts, one a line.
#[must_use]
pub(crate) fn write_addresses(addrs: &[Multiaddr]) -> Vec<u8> {
    let lines: Vec<String> = addrs.iter().take(MAX_ADDRS).map(ToString::to_string).collect();
    lines.join("\n").into_bytes()
}

/// The peer of a registration, if its peer id signed for the provider.
#[must_use]
pub(crate) fn read(registration: &Registration, domain: Domain) -> Option<Peer> {
    let id = PeerId::from_bytes(&registration.peer_id).ok()?;
    verify_peer_signature(&id, None, &statement(domain, registration.provider), &registration.signature).ok()?;
    let text = std::str::from_utf8(&registration.addresses).ok()?;
    let addrs = text.lines().take(MAX_ADDRS).filter_map(|line| line.parse().ok()).collect();
    Some(Peer { id, addrs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use symbolon_net::Identity;

    #[test]
    fn sym_15_a_registration_counts_only_when_the_peer_id_signed_the_address() {
        let identity = Identity::generate();
        let domain = Domain { chain_id: 1, vault: Address::repeat_byte(1) };
        let provider = Address::repeat_byte(2);
        let addr: Option<Multiaddr> = "/ip4/127.0.0.1/tcp/9".parse().ok();
        let addrs: Vec<Multiaddr> = addr.into_iter().collect();
        let sound = Registration {
            provider,
            peer_id: identity.peer_id().to_bytes(),
            signature: identity.sign(&statement(domain, provider)),
            addresses: write_addresses(&addrs),
            block: 1,
        };
        assert_eq!(read(&sound, domain), Some(Peer { id: identity.peer_id(), addrs }));
        assert_eq!(read(&sound, Domain { chain_id: 2, ..domain }), None);
        let stolen = Registration { provider: Address::repeat_byte(3), ..sound.clone() };
        assert_eq!(read(&stolen, domain), None);
        let other = Registration { peer_id: Identity::generate().peer_id().to_bytes(), ..sound };
        assert_eq!(read(&other, domain), None);
    }
}
