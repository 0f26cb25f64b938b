//! Proposals: how a demand and an offer that match become terms that both sides
//! accept.
//!
//! Initial → Draft → … → Accepted, or Rejected on the way; expiry always wins.
//! Nothing here is money: what counts afterwards is the signed agreement alone
//! (SYM-20).

use crate::body::{Body, matches, negotiate};
use core::fmt;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Agreement, Timestamp};

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
    /// It says nothing that this node knows.
    Unstated,
}

impl RejectReason {
    const WORDS: [(Self, &str); 9] = [
        (Self::NoMatch, "no-match"),
        (Self::PriceTooHigh, "price-too-high"),
        (Self::PriceTooLow, "price-too-low"),
        (Self::Terms, "terms"),
        (Self::NoCapacity, "no-capacity"),
        (Self::UnprovenPayer, "unproven-payer"),
        (Self::NotEnoughStake, "not-enough-stake"),
        (Self::Withdrawn, "withdrawn"),
        (Self::Unstated, "unstated"),
    ];

    /// The word that stands in messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.into_iter().find(|(reason, _)| *reason == self).map_or("unstated", |(_, word)| word)
    }

    /// The reason behind a peer's word. What it does not know is unstated, and
    /// the peer's own text goes no further.
    #[must_use]
    pub fn from_word(text: &str) -> Self {
        Self::WORDS.into_iter().find(|(_, word)| *word == text).map_or(Self::Unstated, |(reason, _)| reason)
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProposalState {
    /// Demand and offer match; nobody has spoken.
    Initial,
    /// Terms are on the table.
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
    /// Both sides stand by the same terms.
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
    /// Terms that the side would sign.
    Draft {
        /// Who speaks.
        from: Side,
        /// The terms.
        terms: Box<Agreement>,
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
    /// Yes, to exactly these terms.
    Accept {
        /// Who speaks.
        from: Side,
        /// The terms it accepts.
        terms: Box<Agreement>,
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

/// Why an input was refused, or a proposal not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// Its time is over.
    #[error("the proposal has expired")]
    Expired,
    /// It is accepted, or rejected for good.
    #[error("the proposal is closed")]
    Closed,
    /// The side spoke last, or nobody has spoken.
    #[error("it is the other side's turn")]
    NotItsTurn,
    /// More than [`MAX_ROUNDS`] drafts.
    #[error("more than {MAX_ROUNDS} drafts")]
    TooManyRounds,
    /// The terms accepted are not the ones on the table.
    #[error("other terms were accepted than those on the table")]
    OtherTerms,
    /// A draft names another demand, offer or party than the one before it.
    #[error("the draft is about somebody else's demand or offer")]
    OtherSubject,
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
    terms: Option<Agreement>,
    expires: Timestamp,
    state: ProposalState,
}

impl Proposal {
    /// Opens a proposal over a demand and an offer that match, until `expires`
    /// (the earlier of their two expiries).
    ///
    /// # Errors
    /// [`ProposalError::NoMatch`] when they do not match, and
    /// [`ProposalError::OpenProperties`] when a negotiable property is not
    /// repeated: a side repeats it in a new demand or offer, which it signs.
    pub fn new(demand: &Body, offer: &Body, expires: Timestamp) -> Result<Self, ProposalError> {
        if !matches(demand, offer) {
            return Err(ProposalError::NoMatch);
        }
        match negotiate(demand, offer).open.len() {
            0 => Ok(Self { terms: None, expires, state: ProposalState::Initial }),
            count => Err(ProposalError::OpenProperties { count }),
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

    /// The terms on the table. Nobody is bound by them before both have signed (SYM-20).
    #[must_use]
    pub const fn terms(&self) -> Option<&Agreement> {
        self.terms.as_ref()
    }

    /// Takes one input. A repeated one changes nothing and is no error.
    ///
    /// # Errors
    /// [`Rejected`] says what to do about the sender, and why.
    pub fn handle(&mut self, input: ProposalInput, now: Timestamp) -> Result<ProposalState, Rejected> {
        if now >= self.expires {
            self.state = ProposalState::Expired;
        }
        match (self.state, input) {
            (_, ProposalInput::Tick) => {}
            (ProposalState::Expired, _) => refuse(Reaction::Ignore, ProposalError::Expired)?,
            (_, ProposalInput::Draft { from, terms }) => self.draft(from, &terms)?,
            (_, ProposalInput::Reject { from, reason, is_final }) => self.reject(from, reason, is_final)?,
            (_, ProposalInput::Accept { from, terms }) => self.accept(from, &terms)?,
        }
        Ok(self.state)
    }

    fn draft(&mut self, from: Side, terms: &Agreement) -> Result<(), Rejected> {
        let same = self.terms.as_ref() == Some(terms);
        let round = match self.state {
            ProposalState::Initial => 0,
            ProposalState::Draft { by, .. } if by == from && same => return Ok(()),
            ProposalState::Draft { by, .. } | ProposalState::Rejected { by, is_final: false, .. } if by == from => {
                return refuse(Reaction::Warn, ProposalError::NotItsTurn);
            }
            ProposalState::Draft { round, .. } | ProposalState::Rejected { is_final: false, round, .. } => round,
            ProposalState::Rejected { .. } => return refuse(Reaction::Warn, ProposalError::Closed),
            // A draft may cross with an acceptance on its way here.
            ProposalState::Accepted { .. } => return refuse(Reaction::Ignore, ProposalError::Closed),
            ProposalState::Expired => return refuse(Reaction::Ignore, ProposalError::Expired),
        };
        let subject = |terms: &Agreement| (terms.demand, terms.offer, terms.owner, terms.payer, terms.payee);
        if self.terms.as_ref().is_some_and(|before| subject(before) != subject(terms)) {
            return refuse(Reaction::Warn, ProposalError::OtherSubject);
        }
        if round >= MAX_ROUNDS {
            return refuse(Reaction::Disconnect, ProposalError::TooManyRounds);
        }
        self.terms = Some(*terms);
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

    fn accept(&mut self, from: Side, terms: &Agreement) -> Result<(), Rejected> {
        let same = self.terms.as_ref() == Some(terms);
        match self.state {
            ProposalState::Accepted { .. } if same => return Ok(()),
            ProposalState::Draft { by, .. } if by != from => {}
            ProposalState::Initial | ProposalState::Draft { .. } => {
                return refuse(Reaction::Warn, ProposalError::NotItsTurn);
            }
            ProposalState::Rejected { is_final: false, .. } => return refuse(Reaction::Ignore, ProposalError::Closed),
            ProposalState::Rejected { .. } | ProposalState::Accepted { .. } => {
                return refuse(Reaction::Warn, ProposalError::Closed);
            }
            ProposalState::Expired => return refuse(Reaction::Ignore, ProposalError::Expired),
        }
        if !same {
            return refuse(Reaction::Warn, ProposalError::OtherTerms);
        }
        self.state = ProposalState::Accepted { by: from };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{body::tests::body, quote::tests::agreement};
    use proptest::prelude::*;
    use symbolon_primitives::Amount;

    const END: Timestamp = Timestamp(100);

    fn proposal() -> Proposal {
        Proposal::new(&body("{}", "(cores>=1)"), &body(r#"{"cores":1}"#, "()"), END).unwrap()
    }

    fn terms(rate: u8) -> Box<Agreement> {
        Box::new(Agreement { rate: Amount::from_u64(rate.into()), ..agreement() })
    }

    fn draft(from: Side, rate: u8) -> ProposalInput {
        ProposalInput::Draft { from, terms: terms(rate) }
    }

    fn accept(from: Side, rate: u8) -> ProposalInput {
        ProposalInput::Accept { from, terms: terms(rate) }
    }

    fn why(result: Result<ProposalState, Rejected>) -> ProposalError {
        result.unwrap_err().why
    }

    #[test]
    fn only_bodies_that_match_open_a_proposal() {
        let open = |demand: &str, offer: &str| Proposal::new(&body(demand, "(cores>=1)"), &body(offer, "()"), END);
        assert_eq!(open("{}", r#"{"cores":0}"#), Err(ProposalError::NoMatch));
        assert_eq!(open("{}", "{}"), Err(ProposalError::NoMatch));
        assert_eq!(open("{}", r#"{"cores":1,"wish?":2}"#), Err(ProposalError::OpenProperties { count: 1 }));
        assert!(open(r#"{"wish":2}"#, r#"{"cores":1,"wish?":2}"#).is_ok());
    }

    #[test]
    fn only_the_other_side_accepts_and_only_what_lies_on_the_table() {
        let mut p = proposal();
        let now = Timestamp(1);
        assert_eq!(why(p.handle(accept(Side::Provider, 1), now)), ProposalError::NotItsTurn);
        let first = ProposalState::Draft { by: Side::Requestor, round: 1 };
        assert_eq!(p.handle(draft(Side::Requestor, 1), now), Ok(first));
        assert_eq!(p.handle(draft(Side::Requestor, 1), now), Ok(first));
        assert_eq!(why(p.handle(draft(Side::Requestor, 2), now)), ProposalError::NotItsTurn);
        assert_eq!(why(p.handle(accept(Side::Requestor, 1), now)), ProposalError::NotItsTurn);
        assert_eq!(why(p.handle(accept(Side::Provider, 2), now)), ProposalError::OtherTerms);
        let stranger = Box::new(Agreement { payee: symbolon_primitives::Address::ZERO, ..*terms(2) });
        let stranger = ProposalInput::Draft { from: Side::Provider, terms: stranger };
        assert_eq!(why(p.handle(stranger, now)), ProposalError::OtherSubject);
        p.handle(draft(Side::Provider, 3), now).unwrap();
        let yes = Ok(ProposalState::Accepted { by: Side::Requestor });
        assert_eq!(p.handle(accept(Side::Requestor, 3), now), yes);
        assert_eq!(p.handle(accept(Side::Requestor, 3), now), yes);
        assert_eq!(p.terms(), Some(&*terms(3)));
        assert_eq!(why(p.handle(accept(Side::Requestor, 4), now)), ProposalError::Closed);
        assert_eq!(why(p.handle(draft(Side::Provider, 4), now)), ProposalError::Closed);
        let no = ProposalInput::Reject { from: Side::Provider, reason: RejectReason::Withdrawn, is_final: true };
        assert_eq!(why(p.handle(no, now)), ProposalError::Closed);
    }

    #[test]
    fn a_rejection_is_answered_unless_it_is_final() {
        let mut p = proposal();
        let now = Timestamp(1);
        let reject =
            |is_final| ProposalInput::Reject { from: Side::Provider, reason: RejectReason::PriceTooLow, is_final };
        p.handle(draft(Side::Requestor, 1), now).unwrap();
        p.handle(reject(false), now).unwrap();
        assert_eq!(why(p.handle(draft(Side::Provider, 2), now)), ProposalError::NotItsTurn);
        assert_eq!(why(p.handle(accept(Side::Provider, 1), now)), ProposalError::Closed);
        let second = ProposalState::Draft { by: Side::Requestor, round: 2 };
        assert_eq!(p.handle(draft(Side::Requestor, 2), now), Ok(second));
        let refused = p.handle(reject(true), now).unwrap();
        assert!(matches!(refused, ProposalState::Rejected { is_final: true, .. }));
        assert_eq!(why(p.handle(draft(Side::Requestor, 3), now)), ProposalError::Closed);
        assert_eq!(p.handle(reject(false), now), Ok(refused));
    }

    #[test]
    fn n3_drafts_are_bounded() {
        let mut p = proposal();
        for round in 0..MAX_ROUNDS {
            let from = if round % 2 == 0 { Side::Requestor } else { Side::Provider };
            p.handle(draft(from, round), Timestamp(1)).unwrap();
        }
        let more = p.handle(draft(Side::Requestor, 99), Timestamp(1)).unwrap_err();
        assert_eq!(more, Rejected { reaction: Reaction::Disconnect, why: ProposalError::TooManyRounds });
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        for (reason, word) in RejectReason::WORDS {
            assert_eq!(RejectReason::from_word(word), reason);
            assert_eq!(reason.to_string(), word);
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{word}\""));
        }
        assert_eq!(RejectReason::from_word("\u{1b}[2J"), RejectReason::Unstated);
    }

    proptest! {
        #[test]
        fn expiry_always_wins(
            steps in proptest::collection::vec((0_u8..6, any::<bool>(), 0_u8..3, 0_u64..12), 0..40),
        ) {
            let mut p = proposal();
            let mut now = Timestamp(0);
            let mut closed = None;
            for (kind, requestor, rate, secs) in steps {
                now = now.plus_secs(secs);
                let from = if requestor { Side::Requestor } else { Side::Provider };
                let result = p.handle(match kind {
                    0 | 1 => draft(from, rate),
                    2 => ProposalInput::Reject { from, reason: RejectReason::Terms, is_final: rate == 0 },
                    3 | 4 => accept(from, rate),
                    _ => ProposalInput::Tick,
                }, now);
                if now >= END {
                    prop_assert_eq!(p.state(now), ProposalState::Expired);
                    prop_assert!(result.is_err_and(|e| e.why == ProposalError::Expired) || kind == 5);
                    continue;
                }
                let state = p.state(now);
                if let Some(before) = closed {
                    prop_assert_eq!(&(state, p.terms().copied()), &before);
                }
                if matches!(state, ProposalState::Accepted { .. } | ProposalState::Rejected { is_final: true, .. }) {
                    closed = Some((state, p.terms().copied()));
                }
            }
        }
    }
}
