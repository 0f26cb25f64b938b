//! Channels that a conflict with the chain stopped, and the word of a person that they go on.

use crate::{
    context::{NodeError, now},
    known::{KnownChannel, Role},
    provider::ChannelRecord,
    requestor::PayerRecord,
    snapshot,
};
use symbolon_channel::{Conflict, PayeeInput, PayerInput, View};
use symbolon_primitives::{Amount, Domain, Key};
use symbolon_settlement::{ChannelState, Header, VaultView};
use symbolon_store::StoreHandle;

/// What a stopped channel comes to, for the person who has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The channel as the folder knows it.
    pub channel: KnownChannel,
    /// What the chain showed and could not be.
    pub conflict: Conflict,
    /// The channel at depth, as the chain shows it now.
    pub state: ChannelState,
    /// The block it was read at.
    block: u64,
}

/// Why a channel stays stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaysHalted {
    /// The chain is still in the past: going on would sign again, and lower, what was signed before.
    #[error("the chain still shows epoch {have}, and epoch {seen} was seen: nothing can be signed in it again")]
    StillWrong {
        /// What it shows.
        have: u32,
        /// What it had shown.
        seen: u32,
    },
    /// It was read at an older block than the folder has seen.
    #[error("the chain is read at block {have}, this folder has seen block {seen}")]
    Behind {
        /// This reading's block.
        have: u64,
        /// The folder's.
        seen: u64,
    },
    /// It is stopped no more, or was never known.
    #[error("the channel is not stopped")]
    NotHalted,
    /// The node's own parts.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl Halt {
    /// Reads a stopped channel at a block of the depth that the network asks for.
    ///
    /// # Errors
    /// [`StaysHalted::NotHalted`], and errors of the chain.
    pub async fn read(vault: &VaultView, channel: KnownChannel, deep: &Header) -> Result<Self, StaysHalted> {
        let conflict = channel.halted.ok_or(StaysHalted::NotHalted)?;
        let read = vault.channel(channel.payer, channel.payee, channel.lane, deep).await;
        let state = read.map_err(NodeError::from)?;
        Ok(Self { channel, conflict, state, block: deep.number })
    }

    /// The most that may be lost by going on, in base units. At the payer: what instruments that it does not know of
    /// can still claim. At the payee: what it earned and no instrument pays any more.
    #[must_use]
    pub fn at_risk(&self) -> Amount {
        let ChannelState { allocated, claimed, epoch, .. } = self.state;
        match self.channel.role {
            Role::Payer => allocated.saturating_sub(claimed),
            Role::Payee if epoch == self.channel.seen.epoch => {
                self.channel.earned.saturating_sub(allocated.max(claimed))
            }
            Role::Payee => self.channel.earned,
        }
    }

    /// Lets the channel go on from what the chain shows. The folder must be no node's.
    ///
    /// # Errors
    /// [`StaysHalted`], and nothing is changed.
    ///
    /// # Safety of funds
    /// Only when a person has seen [`Halt::conflict`] and [`Halt::at_risk`]. At the payer another copy of its key
    /// has signed, or its state is not its newest: what that one promised is paid beside what is promised from now on.
    pub async fn overrule(&self, store: &StoreHandle, key: &Key, domain: &Domain) -> Result<(), StaysHalted> {
        let KnownChannel { payer, payee, lane, role, seen, .. } = self.channel;
        if self.state.epoch < seen.epoch {
            return Err(StaysHalted::StillWrong { have: self.state.epoch, seen: seen.epoch });
        }
        let write = match role {
            Role::Payer => {
                let records: Vec<PayerRecord> = snapshot::all(store)?;
                let is_it = |record: &PayerRecord| {
                    let terms = record.payer.terms();
                    terms.domain == *domain && (terms.payer, terms.payee, terms.lane) == (payer, payee, lane)
                };
                let mut record = records.into_iter().find(is_it).ok_or(StaysHalted::NotHalted)?;
                if record.payer.halted().is_none() {
                    return Err(StaysHalted::NotHalted);
                }
                if self.block < record.payer.view().block {
                    return Err(StaysHalted::Behind { have: self.block, seen: record.payer.view().block });
                }
                // What was claimed since it stopped belongs to what the person was shown.
                let ChannelState { allocated, claimed, epoch, expiry } = self.state;
                let view = View { allocated, claimed, epoch, expiry, block: self.block };
                for input in [PayerInput::Seen(view), PayerInput::Overruled] {
                    record.payer.handle(key, input, now()).map_err(NodeError::from)?;
                }
                record.put()?
            }
            Role::Payee => {
                let records: Vec<ChannelRecord> = snapshot::all(store)?;
                let is_it = |record: &ChannelRecord| {
                    let terms = record.payee.terms();
                    terms.domain == *domain && (terms.payer, terms.payee, terms.lane) == (payer, payee, lane)
                };
                let mut record = records.into_iter().find(is_it).ok_or(StaysHalted::NotHalted)?;
                if record.payee.halted().is_none() {
                    return Err(StaysHalted::NotHalted);
                }
                record.payee.handle(key, PayeeInput::Overruled, now()).map_err(NodeError::from)?;
                record.put()?
            }
        };
        store.write(vec![write]).await.map_err(NodeError::from)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::known::{NextStep, known_channels};
    use symbolon_channel::{ChannelTerms, Payer};
    use symbolon_primitives::{Address, Royalty, Signer, Timestamp};

    const DOMAIN: Domain = Domain { chain_id: 1, vault: Address::repeat_byte(7) };

    fn key() -> Key {
        Key::from_bytes(&[1; 32]).unwrap()
    }

    fn state(allocated: u64, claimed: u64, epoch: u32) -> ChannelState {
        let amount = Amount::from_u64;
        ChannelState { allocated: amount(allocated), claimed: amount(claimed), epoch, expiry: Timestamp(1_000) }
    }

    fn view(state: ChannelState, block: u64) -> View {
        let ChannelState { allocated, claimed, epoch, expiry } = state;
        View { allocated, claimed, epoch, expiry, block }
    }

    /// A folder with one channel that saw these states, block after block.
    async fn folder(dir: &std::path::Path, states: &[ChannelState]) -> (StoreHandle, KnownChannel) {
        let mut payer = Payer::new(ChannelTerms {
            domain: DOMAIN,
            payer: key().address(),
            payee: Address::repeat_byte(2),
            lane: Royalty::NONE.lane(0),
            margin_secs: 10,
        });
        for (block, state) in (1..).zip(states) {
            payer.handle(&key(), PayerInput::Seen(view(*state, block)), Timestamp(5)).unwrap();
        }
        let store = StoreHandle::open(dir.to_owned()).await.unwrap();
        store.write(vec![PayerRecord { payer }.put().unwrap()]).await.unwrap();
        let known = only(&store);
        (store, known)
    }

    fn only(store: &StoreHandle) -> KnownChannel {
        let known = store.read(|view| known_channels(&view, &DOMAIN)).unwrap();
        let [known] = known.as_slice() else { panic!("{known:?}") };
        *known
    }

    fn halt(channel: KnownChannel, state: ChannelState, block: u64) -> Halt {
        Halt { channel, conflict: channel.halted.unwrap(), state, block }
    }

    #[tokio::test]
    async fn l12_what_a_twin_claimed_stops_a_channel_and_a_person_lets_it_go_on_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let (store, known) = folder(dir.path(), &[state(100, 0, 0), state(100, 40, 0)]).await;
        assert!(matches!(known.halted, Some(Conflict::ClaimedAboveSigned { .. })));
        assert_eq!(known.next_step(&known.seen), NextStep::Look);
        // It went further since.
        let halt = halt(known, state(100, 45, 0), 3);
        assert_eq!(halt.at_risk(), Amount::from_u64(55));
        let stranger = Key::from_bytes(&[2; 32]).unwrap();
        assert!(matches!(halt.overrule(&store, &stranger, &DOMAIN).await, Err(StaysHalted::Node(_))));
        assert_eq!(only(&store), known, "nothing is changed by a refusal");
        halt.overrule(&store, &key(), &DOMAIN).await.unwrap();
        let resumed = only(&store);
        assert_eq!((resumed.halted, resumed.earned, resumed.seen), (None, Amount::from_u64(45), state(100, 45, 0)));
        assert!(matches!(halt.overrule(&store, &key(), &DOMAIN).await, Err(StaysHalted::NotHalted)));
        store.close().await;
    }

    #[tokio::test]
    async fn l2_no_word_of_a_person_lets_an_epoch_be_signed_in_again() {
        let dir = tempfile::tempdir().unwrap();
        let (store, known) = folder(dir.path(), &[state(100, 0, 3), state(100, 0, 2)]).await;
        assert!(matches!(known.halted, Some(Conflict::EpochWentBack { have: 2, seen: 3 })));
        let back = halt(known, state(100, 0, 2), 9).overrule(&store, &key(), &DOMAIN).await;
        assert!(matches!(back, Err(StaysHalted::StillWrong { have: 2, seen: 3 })));
        let behind = halt(known, state(100, 0, 3), 0).overrule(&store, &key(), &DOMAIN).await;
        assert!(matches!(behind, Err(StaysHalted::Behind { have: 0, .. })));
        assert_eq!(only(&store), known);
        halt(known, state(100, 0, 3), 9).overrule(&store, &key(), &DOMAIN).await.unwrap();
        assert_eq!(only(&store).halted, None);
        store.close().await;
    }

    #[tokio::test]
    async fn l12_what_may_be_lost_is_said_for_either_side() {
        let dir = tempfile::tempdir().unwrap();
        let (store, known) = folder(dir.path(), &[state(100, 0, 1), state(60, 0, 1)]).await;
        let payee = KnownChannel { role: Role::Payee, earned: Amount::from_u64(90), ..known };
        for (channel, now, risk) in [
            (known, state(60, 0, 1), 60),
            (known, state(60, 60, 1), 0),
            (payee, state(60, 0, 1), 30),
            (payee, state(90, 0, 1), 0),
            (payee, state(60, 95, 1), 0),
            (payee, state(60, 0, 2), 90),
        ] {
            assert_eq!(halt(channel, now, 5).at_risk(), Amount::from_u64(risk), "{channel:?} {now:?}");
        }
        store.close().await;
    }
}
