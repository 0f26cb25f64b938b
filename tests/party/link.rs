//! What parties say to each other, through a hub that writes everything down.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, Read, Write},
    path::PathBuf,
};
use symbolon_channel::SignedVoucher;
use symbolon_primitives::{Address, Amount, Epoch, OrderDigest, Signature, SignedOrder};
use symbolon_quorum::Message;

/// The most bytes of a frame.
const MAX_FRAME: u32 = 1 << 20;

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Say {
    /// To the hub: this connection speaks for the sender.
    Hello,
    /// An order.
    Order(SignedOrder),
    /// A message of the quorum machines.
    Member { order: OrderDigest, message: Message },
    /// A voucher.
    Voucher { order: OrderDigest, signed: SignedVoucher },
    /// The voucher is durable.
    Stored { order: OrderDigest, cumulative: Amount },
    /// All orders are paid: claim.
    Claim,
    /// What is held is claimed.
    Claimed,
    /// Close the epoch.
    Release { epoch: Epoch },
    /// The payee's consent.
    Consent { epoch: Epoch, signature: Signature },
    /// To the hub: nothing is left to do.
    Finished,
}

/// From whom, to whom, what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frame {
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) say: Say,
}

/// A store with a durability hole, planted so that the harness can be seen to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hole {
    /// What is said goes out before it is stored.
    SaidBeforeStored,
}

/// All a party is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    pub(crate) chain_id: u64,
    pub(crate) vault: Address,
    pub(crate) token: Address,
    pub(crate) hub: u16,
    pub(crate) secret: [u8; 32],
    pub(crate) payer: Address,
    /// Ascending.
    pub(crate) payees: Vec<Address>,
    pub(crate) orders: u8,
    pub(crate) deposit: u64,
    pub(crate) earmark: u64,
    /// When the channels expire.
    pub(crate) expiry: u64,
    /// How far this party's clock is off, in seconds (N11).
    pub(crate) clock_off_secs: i64,
    /// Kill this process at this passing of this point.
    pub(crate) kill: Option<(String, u64)>,
    /// Write every point to standard output.
    pub(crate) record: bool,
    pub(crate) hole: Option<Hole>,
}

/// Writes one value with its length.
pub(crate) fn put(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_allocvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&[length.to_be_bytes().as_slice(), &bytes].concat())
}

/// Reads one value.
pub(crate) fn get<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_FRAME {
        return Err(io::Error::other("a frame too long"));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(io::Error::other)
}
