//! Proposals: how a demand and an offer become terms that both sides accept.
//!
//! Initial → Draft → … → Accepted, or Rejected on the way; expiry always wins.
//! Nothing here is money: what counts afterwards is the signed agreement alone.

use crate::body::{Body, matches, negotiate};
use serde::{Deserialize, Serialize};
use symbolon_primitives::{B256, Timestamp};

/// The most drafts of one proposal, both sides together.
pub const MAX_ROUNDS: u8 = 8;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Who wants work done.
    Requestor,
    /// Who computes.
    Provider,
}

/// Why a side says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RejectReason {
    /// The bodies do not match.
    NoMatch,
    /// Price above what the requestor pays.
    PriceTooHigh,
    /// Price below what the provider takes.
    PriceTooLow,
    /// Deadlines, limits or the exposure do not suit.
    Terms,
    /// Nothing free right now.
    NoCapacity,
    /// The payer key has not paid enough yet for what it asks.
    UnprovenPayer,
    /// Too little stake without a running timer.
    NotEnoughStake,
    /// The side has lost interest.
    Withdrawn,
}

impl RejectReason {
    const ALL: [Self; 8] = [
        Self::NoMatch,
        Self::PriceTooHigh,
        Self::PriceTooLow,
        Self::Terms,
        Self::NoCapacity,
        Self::UnprovenPayer,
        Self::NotEnoughStake,
        Self::Withdrawn,
    ];

    /// The number that stands in messages.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NoMatch => 0,
            Self::PriceTooHigh => 1,
            Self::PriceTooLow => 2,
            Self::Terms => 3,
            Self::NoCapacity => 4,
            Self::UnprovenPayer => 5,
            Self::NotEnoughStake => 6,
            Self::Withdrawn => 7,
        }
    }

    /// The reason of this number, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProposalState {
    /// Demand and offer match; nobody has spoken.
    Initial,
    /// One side has written a body of its own for this proposal.
    Draft {
        /// Who wrote last.
        by: Side,
        /// How many drafts there were.
        round: u8,
    },
    /// One side said no.
    Rejected {
        /// Who.
        by: Side,
        /// Why.
        reason: RejectReason,
        /// Whether that is its last word.
        is_final: bool,
        /// How many drafts there were.
        round: u8,
    },
    /// Both sides stand by the same two bodies.
    Accepted {
        /// Who accepted what the other had written.
        by: Side,
    },
    /// Its time is over, whatever it was before.
    Expired,
}

/// What reaches a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposalInput {
    /// The side's own body, changed.
    Counter {
        /// Who speaks.
        from: Side,
        /// Its new body.
        body: Box<Body>,
    },
    /// No.
    Reject {
        /// Who speaks.
        from: Side,
        /// Why.
        reason: RejectReason,
        /// Whether that is its last word.
        is_final: bool,
    },
    /// Yes, to exactly these bodies.
    Accept {
        /// Who speaks.
        from: Side,
        /// Hash of the demand's body.
        demand: B256,
        /// Hash of the offer's body.
        offer: B256,
    },
    /// Time has passed.
    Tick,
}

/// What to do about who sent a refused input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing: messages may cross.
    Ignore,
    /// Remember it.
    Warn,
    /// Talk to it no more.
    Disconnect,
}

/// Why an input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// Its time is over.
    #[error("the proposal has expired")]
    Expired,
    /// It is accepted, or rejected for good.
    #[error("the proposal is closed")]
    Closed,
    /// The side spoke last.
    #[error("it is the other side's turn")]
    NotItsTurn,
    /// More than [`MAX_ROUNDS`] drafts.
    #[error("more than {MAX_ROUNDS} drafts")]
    TooManyRounds,
    /// The bodies accepted are not the ones on the table.
    #[error("other bodies were accepted than those on the table")]
    OtherBodies,
    /// The bodies do not match.
    #[error("demand and offer do not match")]
    NoMatch,
    /// Negotiable properties differ.
    #[error("{count} negotiable properties are open")]
    OpenProperties {
        /// How many.
        count: usize,
    },
}

/// A refused input: the state is as it was, unless it expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
pub struct Rejected {
    /// What to do.
    pub reaction: Reaction,
    /// Why.
    #[source]
    pub why: ProposalError,
}

const fn refuse(reaction: Reaction, why: ProposalError) -> Result<(), Rejected> {
    Err(Rejected { reaction, why })
}

/// One negotiation between a demand and an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    demand: Body,
    offer: Body,
    expires: Timestamp,
    state: ProposalState,
}

impl Proposal {
    /// Opens a proposal over a demand and an offer that match, until `expires`.
    ///
    /// # Errors
    /// [`ProposalError::NoMatch`] when they do not.
    pub fn new(demand: Body, offer: Body, expires: Timestamp) -> Result<Self, ProposalError> {
        if matches(&demand, &offer) {
            Ok(Self { demand, offer, expires, state: ProposalState::Initial })
        } else {
            Err(ProposalError::NoMatch)
        }
    }

    /// Where it stands at `now`. From its expiry on it is Expired, whatever it was.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> ProposalState {
        if now >= self.expires { ProposalState::Expired } else { self.state }
    }

    /// When it ends.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The requestor's body as it stands.
    #[must_use]
    pub const fn demand(&self) -> &Body {
        &self.demand
    }

    /// The provider's body as it stands.
    #[must_use]
    pub const fn offer(&self) -> &Body {
        &self.offer
    }

    /// Takes one input. A repeated one changes nothing and is no error.
    ///
    /// # Errors
    /// [`Rejected`] says what to do about the sender, and why.
    pub fn handle(&mut self, input: ProposalInput, now: Timestamp) -> Result<ProposalState, Rejected> {
        if self.state(now) == ProposalState::Expired {
            self.state = ProposalState::Expired;
        }
        match (self.state, input) {
            (_, ProposalInput::Tick) => {}
            (ProposalState::Expired, _) => refuse(Reaction::Ignore, ProposalError::Expired)?,
            (_, ProposalInput::Counter { from, body }) => self.counter(from, *body)?,
            (_, ProposalInput::Reject { from, reason, is_final }) => self.reject(from, reason, is_final)?,
            (_, ProposalInput::Accept { from, demand, offer }) => self.accept(from, demand, offer)?,
        }
        Ok(self.state)
    }

    fn counter(&mut self, from: Side, body: Body) -> Result<(), Rejected> {
        let own = match from {
            Side::Requestor => &mut self.demand,
            Side::Provider => &mut self.offer,
        };
        let round = match self.state {
            ProposalState::Initial => 0,
            ProposalState::Draft { by, .. } if by == from && *own == body => return Ok(()),
            ProposalState::Draft { by, .. } if by == from => {
                return refuse(Reaction::Warn, ProposalError::NotItsTurn);
            }
            ProposalState::Rejected { by, is_final: false, .. } if by == from => {
                return refuse(Reaction::Warn, ProposalError::NotItsTurn);
            }
            ProposalState::Draft { round, .. } | ProposalState::Rejected { is_final: false, round, .. } => round,
            ProposalState::Rejected { .. } => return refuse(Reaction::Warn, ProposalError::Closed),
            // A draft may cross with an acceptance on its way here.
            ProposalState::Accepted { .. } => return refuse(Reaction::Ignore, ProposalError::Closed),
            ProposalState::Expired => return refuse(Reaction::Ignore, ProposalError::Expired),
        };
        if round >= MAX_ROUNDS {
            return refuse(Reaction::Disconnect, ProposalError::TooManyRounds);
        }
        *own = body;
        self.state = ProposalState::Draft { by: from, round: round.saturating_add(1) };
        Ok(())
    }

    fn reject(&mut self, from: Side, reason: RejectReason, is_final: bool) -> Result<(), Rejected> {
        let round = match self.state {
            ProposalState::Initial => 0,
            ProposalState::Draft { round, .. } | ProposalState::Rejected { is_final: false, round, .. } => round,
            ProposalState::Rejected { .. } => return Ok(()),
            ProposalState::Accepted { .. } => return refuse(Reaction::Ignore, ProposalError::Closed),
            ProposalState::Expired => return refuse(Reaction::Ignore, ProposalError::Expired),
        };
        self.state = ProposalState::Rejected { by: from, reason, is_final, round };
        Ok(())
    }

    fn accept(&mut self, from: Side, demand: B256, offer: B256) -> Result<(), Rejected> {
        let same = demand == self.demand.hash() && offer == self.offer.hash();
        match self.state {
            ProposalState::Accepted { .. } if same => return Ok(()),
            ProposalState::Draft { by, .. } if by == from => {
                return refuse(Reaction::Warn, ProposalError::NotItsTurn);
            }
            ProposalState::Initial | ProposalState::Draft { .. } => {}
            ProposalState::Rejected { is_final: false, .. } => return refuse(Reaction::Ignore, ProposalError::Closed),
            ProposalState::Rejected { .. } | ProposalState::Accepted { .. } => {
                return refuse(Reaction::Warn, ProposalError::Closed);
            }
            ProposalState::Expired => return refuse(Reaction::Ignore, ProposalError::Expired),
        }
        if !same {
            // The other side may have written again in the meantime.
            return refuse(Reaction::Ignore, ProposalError::OtherBodies);
        }
        if !matches(&self.demand, &self.offer) {
            return refuse(Reaction::Warn, ProposalError::NoMatch);
        }
        let open = negotiate(&self.demand, &self.offer).open;
        if !open.is_empty() {
            return refuse(Reaction::Warn, ProposalError::OpenProperties { count: open.len() });
        }
        self.state = ProposalState::Accepted { by: from };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::body::tests::body;
    use proptest::prelude::*;

    const END: Timestamp = Timestamp(100);

    fn demand(wish: u8) -> Body {
        body(&format!("{{\"wish?\":{wish}}}"), "(cores>=1)")
    }

    fn offer(wish: u8, cores: u8) -> Body {
        body(&format!("{{\"cores\":{cores},\"wish?\":{wish}}}"), "()")
    }

    fn proposal() -> Proposal {
        Proposal::new(demand(1), offer(2, 1), END).unwrap()
    }

    fn accept(proposal: &Proposal, from: Side) -> ProposalInput {
        ProposalInput::Accept { from, demand: proposal.demand().hash(), offer: proposal.offer().hash() }
    }

    fn counter(from: Side, body: Body) -> ProposalInput {
        ProposalInput::Counter { from, body: Box::new(body) }
    }

    fn why(result: Result<ProposalState, Rejected>) -> ProposalError {
        result.unwrap_err().why
    }

    #[test]
    fn sides_meet_on_a_negotiable_property() {
        let mut p = proposal();
        let now = Timestamp(1);
        let early = accept(&p, Side::Requestor);
        assert_eq!(why(p.handle(early, now)), ProposalError::OpenProperties { count: 1 });
        let draft = counter(Side::Requestor, demand(2));
        assert_eq!(p.handle(draft.clone(), now), Ok(ProposalState::Draft { by: Side::Requestor, round: 1 }));
        assert_eq!(p.handle(draft, now), Ok(ProposalState::Draft { by: Side::Requestor, round: 1 }));
        assert_eq!(why(p.handle(counter(Side::Requestor, demand(3)), now)), ProposalError::NotItsTurn);
        let own = accept(&p, Side::Requestor);
        assert_eq!(why(p.handle(own, now)), ProposalError::NotItsTurn);
        let stale = ProposalInput::Accept { from: Side::Provider, demand: demand(1).hash(), offer: p.offer().hash() };
        assert_eq!(why(p.handle(stale, now)), ProposalError::OtherBodies);
        let yes = accept(&p, Side::Provider);
        assert_eq!(p.handle(yes.clone(), now), Ok(ProposalState::Accepted { by: Side::Provider }));
        assert_eq!(p.handle(yes, now), Ok(ProposalState::Accepted { by: Side::Provider }));
        assert_eq!(why(p.handle(counter(Side::Requestor, demand(1)), now)), ProposalError::Closed);
        let no = ProposalInput::Reject { from: Side::Provider, reason: RejectReason::Withdrawn, is_final: true };
        assert_eq!(why(p.handle(no, now)), ProposalError::Closed);
    }

    #[test]
    fn a_draft_that_does_not_match_is_never_accepted() {
        let mut p = proposal();
        p.handle(counter(Side::Provider, offer(1, 0)), Timestamp(1)).unwrap();
        let yes = accept(&p, Side::Requestor);
        assert_eq!(why(p.handle(yes, Timestamp(1))), ProposalError::NoMatch);
        assert_eq!(Proposal::new(demand(1), offer(1, 0), END), Err(ProposalError::NoMatch));
    }

    #[test]
    fn a_rejection_is_answered_unless_it_is_final() {
        let mut p = proposal();
        let reject =
            |is_final| ProposalInput::Reject { from: Side::Provider, reason: RejectReason::PriceTooLow, is_final };
        p.handle(reject(false), Timestamp(1)).unwrap();
        assert_eq!(why(p.handle(counter(Side::Provider, offer(1, 1)), Timestamp(1))), ProposalError::NotItsTurn);
        let yes = accept(&p, Side::Requestor);
        assert_eq!(why(p.handle(yes, Timestamp(1))), ProposalError::Closed);
        p.handle(counter(Side::Requestor, demand(2)), Timestamp(1)).unwrap();
        let refused = p.handle(reject(true), Timestamp(1)).unwrap();
        assert!(matches!(refused, ProposalState::Rejected { is_final: true, .. }));
        assert_eq!(why(p.handle(counter(Side::Requestor, demand(1)), Timestamp(1))), ProposalError::Closed);
        assert_eq!(p.handle(reject(false), Timestamp(1)), Ok(refused));
    }

    #[test]
    fn n3_drafts_are_bounded() {
        let mut p = proposal();
        for round in 0..MAX_ROUNDS {
            let (from, draft) =
                if round % 2 == 0 { (Side::Requestor, demand(round)) } else { (Side::Provider, offer(round, 1)) };
            p.handle(counter(from, draft), Timestamp(1)).unwrap();
        }
        let more = p.handle(counter(Side::Requestor, demand(99)), Timestamp(1)).unwrap_err();
        assert_eq!(more, Rejected { reaction: Reaction::Disconnect, why: ProposalError::TooManyRounds });
    }

    #[test]
    fn every_reason_has_a_number_of_its_own() {
        for code in 0..=u8::MAX {
            assert_eq!(RejectReason::from_code(code).map(RejectReason::code), (code < 8).then_some(code));
        }
    }

    proptest! {
        #[test]
        fn expiry_always_wins(
            steps in proptest::collection::vec((0_u8..6, any::<bool>(), 0_u8..3, 0_u64..12), 0..40),
        ) {
            let mut p = proposal();
            let mut now = Timestamp(0);
            let mut closed = false;
            for (kind, requestor, wish, secs) in steps {
                now = now.plus_secs(secs);
                let from = if requestor { Side::Requestor } else { Side::Provider };
                let input = match kind {
                    0 | 1 => counter(from, if requestor { demand(wish) } else { offer(wish, 1) }),
                    2 => ProposalInput::Reject { from, reason: RejectReason::Terms, is_final: wish == 0 },
                    3 | 4 => accept(&p, from),
                    _ => ProposalInput::Tick,
                };
                let before = p.state(now);
                let result = p.handle(input, now);
                if now >= END {
                    prop_assert_eq!(p.state(now), ProposalState::Expired);
                    prop_assert!(result.is_err_and(|e| e.why == ProposalError::Expired) || kind == 5);
                    continue;
                }
                if closed {
                    prop_assert_eq!(p.state(now), before);
                }
                closed = matches!(
                    p.state(now),
                    ProposalState::Accepted { .. } | ProposalState::Rejected { is_final: true, .. }
                );
                if let ProposalState::Accepted { .. } = p.state(now) {
                    prop_assert!(matches(p.demand(), p.offer()));
                    prop_assert!(negotiate(p.demand(), p.offer()).open.is_empty());
                }
            }
        }
    }
}
