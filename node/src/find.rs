//! Channels that a key has on chain and its folder does not know: what is left to look for when a folder was lost,
//! was restored from an old backup, or has a twin with the same key.
//!
//! A node needs no event to follow the channels it knows: what they hold is read from the contract, one by one, at
//! each look. Events are for finding those that nothing here names.

use crate::{
    context::NodeError,
    known::{Role, known_channels},
    provider::agreed_payers,
};
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use symbolon_primitives::{Address, Lane};
use symbolon_settlement::{ChannelBook, ChannelState, Header, Party, Place, VaultView};
use symbolon_store::{StoreError, StoreHandle, View, Write};

/// Channels that others opened and the folder does not know are read so many at most, those with most earmarked: anybody
/// may open some.
const MOST_OF_OTHERS: usize = 1_024;
/// Reads of channels under way at once.
const READS_AT_ONCE: usize = 16;

/// A channel on chain that the folder has no record of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundChannel {
    /// The payer key.
    pub payer: Address,
    /// The payee.
    pub payee: Address,
    /// The lane.
    pub lane: Lane,
    /// This key's side.
    pub role: Role,
    /// The channel as the block shows it.
    pub state: ChannelState,
    /// Payee: whether the folder has an agreement with its payer, so that it may only be waiting for its first order.
    pub agreed: bool,
}

impl FoundChannel {
    /// Whether money of an earmark is still in it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state.allocated > self.state.claimed
    }
}

/// Where a key's channels are looked for, on both sides.
#[derive(Debug)]
pub struct Finder {
    vault: VaultView,
    books: [(Role, ChannelBook); 2],
    known: BTreeSet<(Address, Address, Lane)>,
    agreed: BTreeSet<Address>,
}

impl Finder {
    /// Begins where an earlier look left off, or at the block of the deployment. Without a folder nothing is known.
    ///
    /// # Errors
    /// [`NodeError`] when the store does not read.
    pub fn open(vault: &VaultView, me: Address, deployed_at: u64, view: Option<&View<'_>>) -> Result<Self, NodeError> {
        let book = |party| match view {
            Some(view) => ChannelBook::open_in(vault, party, deployed_at, view),
            None => Ok(ChannelBook::new(vault, party, deployed_at)),
        };
        let known = view.map(|view| known_channels(view, &vault.domain())).transpose()?.unwrap_or_default();
        Ok(Self {
            vault: vault.clone(),
            books: [(Role::Payer, book(Party::Payer(me))?), (Role::Payee, book(Party::Payee(me))?)],
            known: known.iter().map(|known| (known.payer, known.payee, known.lane)).collect(),
            agreed: view.map(agreed_payers).transpose()?.unwrap_or_default(),
        })
    }

    /// Reads on to a block and answers what the folder does not know, as it is there: on each side those first for which
    /// most was earmarked.
    ///
    /// # Errors
    /// [`NodeError::Chain`] when the endpoints do not answer, or not alike.
    pub async fn find(&mut self, at: &Header) -> Result<Vec<FoundChannel>, NodeError> {
        let mut found = Vec::new();
        for (role, book) in &mut self.books {
            let role = *role;
            book.follow(at).await?;
            let mut places = book.by_earmark();
            places.retain(|place| !self.known.contains(&(place.payer, place.payee, place.lane)));
            if role == Role::Payee && places.len() > MOST_OF_OTHERS {
                let left = places.split_off(MOST_OF_OTHERS).len();
                tracing::warn!(left, "channels with less earmarked that this folder does not know are not looked at");
            }
            let (vault, agreed) = (&self.vault, &self.agreed);
            let reads = places.into_iter().map(|Place { payer, payee, lane }| async move {
                let state = vault.channel(payer, payee, lane, at).await?;
                let agreed = role == Role::Payee && agreed.contains(&payer);
                Ok::<_, NodeError>(FoundChannel { payer, payee, lane, role, state, agreed })
            });
            let reads: Vec<_> = reads.collect();
            let read: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
            found.extend(read);
        }
        Ok(found)
    }

    /// Stores how far it looked, so that the next look goes on from there.
    ///
    /// # Errors
    /// [`NodeError::Store`] when the disk fails.
    pub async fn save(&self, store: &StoreHandle) -> Result<(), NodeError> {
        for (_, book) in &self.books {
            save(store, book.save()).await?;
        }
        Ok(())
    }
}

/// The channels that `me` ever opened, up to a block; how far it looked is stored.
pub(crate) async fn opened_by(
    vault: &VaultView,
    me: Address,
    deployed_at: u64,
    store: &StoreHandle,
    at: &Header,
) -> Result<Vec<(Address, Lane)>, NodeError> {
    let mut book = ChannelBook::open(vault, Party::Payer(me), deployed_at, store)?;
    book.follow(at).await?;
    save(store, book.save()).await?;
    Ok(book.opened().map(|place| (place.payee, place.lane)).collect())
}

/// Each book by itself: one that is too large leaves the others as they are.
async fn save(store: &StoreHandle, book: Write) -> Result<(), NodeError> {
    match store.write(vec![book]).await {
        // More channels than a record holds: the next look begins anew.
        Err(StoreError::TooLarge { .. }) => Ok(()),
        written => Ok(written?),
    }
}
