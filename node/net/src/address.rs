//! Addresses: which can be dialled, who is known under which, and network groups.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// How many addresses are remembered for one peer.
pub(crate) const ADDRESSES_PER_PEER: usize = 8;

/// How many addresses one attempt to connect tries.
pub(crate) const ADDRESSES_PER_DIAL: usize = 16;

/// The part of an address that one operator is taken to control: IPv4 /16 or
/// IPv6 /32, as this node sees the peer. Loopback and private addresses have
/// groups like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkGroup {
    /// The first 16 bits of an IPv4 address.
    V4([u8; 2]),
    /// The first 32 bits of an IPv6 address.
    V6([u8; 4]),
}

/// The network group of an address, if it begins with an IP address. An IPv4
/// address mapped into IPv6 has the group that it has as IPv4.
pub fn network_group(addr: &Multiaddr) -> Option<NetworkGroup> {
    Some(match ip_of(addr)? {
        IpAddr::V4(ip) => {
            let [a, b, _, _] = ip.octets();
            NetworkGroup::V4([a, b])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.octets();
            NetworkGroup::V6([a, b, c, d])
        }
    })
}

/// The address without a trailing peer id, if `peer` can be dialled there:
/// an IP address that names one host, and a TCP port other than 0.
///
/// Loopback and private addresses count: whether they make sense is known
/// only to whoever dials.
pub fn dialable(peer: &PeerId, addr: &Multiaddr) -> Option<Multiaddr> {
    let mut parts = addr.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) if !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() => Protocol::Ip4(ip),
        Protocol::Ip6(ip) if !ip.is_unspecified() && !ip.is_multicast() => Protocol::Ip6(ip),
        _ => return None,
    };
    let port = match parts.next()? {
        Protocol::Tcp(port) if port != 0 => Protocol::Tcp(port),
        _ => return None,
    };
    match parts.next() {
        None => {}
        Some(Protocol::P2p(named)) if named == *peer => {}
        Some(_) => return None,
    }
    if parts.next().is_some() {
        return None;
    }
    Some(Multiaddr::empty().with(host).with(port))
}

/// The peer that an address ends with, if it names one.
#[must_use]
pub fn named_peer(addr: &Multiaddr) -> Option<PeerId> {
    match addr.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The IP address that an address begins with; IPv4 mapped into IPv6 as IPv4.
pub(crate) fn ip_of(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

/// Where peers were last known to be. Bounded in peers and in addresses; the
/// peer that was added first is forgotten first.
#[derive(Debug)]
pub(crate) struct AddressBook {
    capacity: usize,
    known: HashMap<PeerId, VecDeque<Multiaddr>>,
    order: VecDeque<PeerId>,
}

impl AddressBook {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, known: HashMap::new(), order: VecDeque::new() }
    }

    /// Remembers an address as the best one: given by the application, or seen to work.
    pub(crate) fn prefer(&mut self, peer: PeerId, addr: Multiaddr) {
        let addresses = self.entry(peer);
        addresses.retain(|known| *known != addr);
        addresses.push_front(addr);
        addresses.truncate(ADDRESSES_PER_PEER);
    }

    /// Remembers an address that the peer itself claims, if there is room.
    pub(crate) fn learn(&mut self, peer: PeerId, addr: Multiaddr) {
        let addresses = self.entry(peer);
        if addresses.len() < ADDRESSES_PER_PEER && !addresses.contains(&addr) {
            addresses.push_back(addr);
        }
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> impl Iterator<Item = &Multiaddr> {
        self.known.get(peer).into_iter().flatten()
    }

    pub(crate) fn forget(&mut self, peer: &PeerId) {
        if self.known.remove(peer).is_some() {
            self.order.retain(|known| known != peer);
        }
    }

    fn entry(&mut self, peer: PeerId) -> &mut VecDeque<Multiaddr> {
        if !self.known.contains_key(&peer) {
            while self.order.len() >= self.capacity {
                match self.order.pop_front() {
                    Some(oldest) => self.known.remove(&oldest),
                    None => break,
                };
            }
            self.order.push_back(peer);
        }
        self.known.entry(peer).or_default()
    }
}

#[cfg(test)]
mod tests {
    //! Only real hosts are dialled; the book forgets the oldest.
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn addr(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_a_host_and_a_port_can_be_dialled() {
        let peer = PeerId::random();
        let plain = addr("/ip4/127.0.0.1/tcp/4001");
        assert_eq!(dialable(&peer, &plain), Some(plain.clone()));
        let named = plain.clone().with(Protocol::P2p(peer));
        assert_eq!((named_peer(&named), named_peer(&plain)), (Some(peer), None));
        assert_eq!(dialable(&peer, &named), Some(plain.clone()));
        let other = plain.with(Protocol::P2p(PeerId::random()));
        assert_eq!(dialable(&peer, &other), None);
        assert!(dialable(&peer, &addr("/ip6/::1/tcp/1")).is_some());
        for refused in [
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip6/::/tcp/1",
            "/ip6/ff02::1/tcp/1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/dns4/localhost/tcp/1",
            "/memory/1",
            "/ip4/127.0.0.1",
        ] {
            assert_eq!(dialable(&peer, &addr(refused)), None, "{refused}");
        }
        assert_eq!(dialable(&peer, &Multiaddr::empty()), None);
    }

    #[test]
    fn sym_28_network_groups_are_16_bits_of_ipv4_and_32_of_ipv6() {
        let group = |text| network_group(&addr(text));
        assert_eq!(group("/ip4/10.1.2.3/tcp/1"), Some(NetworkGroup::V4([10, 1])));
        assert_eq!(group("/ip4/10.1.9.9/tcp/2"), group("/ip4/10.1.2.3/tcp/1"));
        assert_ne!(group("/ip4/10.2.2.3/tcp/1"), group("/ip4/10.1.2.3/tcp/1"));
        assert_eq!(group("/ip6/2001:db8:1::1/tcp/1"), Some(NetworkGroup::V6([0x20, 0x01, 0x0d, 0xb8])));
        assert_eq!(group("/ip6/::ffff:10.1.2.3/tcp/1"), Some(NetworkGroup::V4([10, 1])));
        assert_eq!(group("/memory/1"), None);
    }

    #[test]
    fn n3_the_book_is_bounded_in_peers_and_addresses() {
        let mut book = AddressBook::new(2);
        let [a, b, c] = [PeerId::random(), PeerId::random(), PeerId::random()];
        for port in 1..=20 {
            book.prefer(a, addr(&format!("/ip4/127.0.0.1/tcp/{port}")));
            book.learn(b, addr(&format!("/ip4/127.0.0.1/tcp/{port}")));
        }
        assert_eq!(book.addresses(&a).count(), ADDRESSES_PER_PEER);
        assert_eq!(book.addresses(&a).next(), Some(&addr("/ip4/127.0.0.1/tcp/20")));
        assert_eq!(book.addresses(&b).next(), Some(&addr("/ip4/127.0.0.1/tcp/1")));
        book.learn(c, addr("/ip4/127.0.0.1/tcp/1"));
        assert_eq!(book.addresses(&a).count(), 0);
        assert_eq!(book.addresses(&c).count(), 1);
        book.forget(&b);
        book.learn(a, addr("/ip4/127.0.0.1/tcp/1"));
        assert_eq!(book.addresses(&c).count(), 1);
        assert_eq!(book.known.len(), book.order.len());
    }
}
