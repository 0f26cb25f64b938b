//! Between what machines say and what goes over the wire.

use symbolon_primitives::{Address, Commit, OrderDigest, UnitResult};
use symbolon_quorum::{Answer, Attestation, MemberSet, Message, SignedCommit, SignedSubset};
use symbolon_wire::{self as wire, OrderMessage, Request};

/// A Commit as the wire carries it.
#[must_use]
pub(crate) fn commit_to_wire(order: OrderDigest, commit: &SignedCommit) -> wire::SignedCommit {
    let SignedCommit { provider, seal, signature } = *commit;
    wire::SignedCommit { provider, commit: Commit { order, seal }, signature }
}

/// A Commit as the machines take it; nothing when it is about another order.
#[must_use]
pub(crate) fn commit_from_wire(order: OrderDigest, commit: &wire::SignedCommit) -> Option<SignedCommit> {
    let wire::SignedCommit { provider, commit, signature } = *commit;
    (commit.order == order).then_some(SignedCommit { provider, seal: commit.seal, signature })
}

fn commits_from_wire(order: OrderDigest, commits: &[wire::SignedCommit]) -> Vec<SignedCommit> {
    commits.iter().filter_map(|commit| commit_from_wire(order, commit)).collect()
}

/// The request that carries a machine's message about `order`.
#[must_use]
pub(crate) fn to_request(
    order: OrderDigest,
    me: Address,
    message: &Message,
    units: &[UnitResult],
    whole: &OrderMessage,
) -> Request {
    let wired = |commits: &[SignedCommit]| commits.iter().map(|commit| commit_to_wire(order, commit)).collect();
    match message {
        Message::Commit(commit) => Request::Commit(commit_to_wire(order, commit)),
        Message::Answer { answer, commits } => Request::Answer(wire::AnswerMessage {
            order,
            provider: me,
            results_root: answer.results_root,
            fuel: answer.fuel,
            nonce: answer.nonce,
            units: units.to_vec(),
            commits: wired(commits),
        }),
        Message::Result(results) => Request::Results(wire::ResultsMessage {
            order,
            provider: me,
            results_root: results.results_root,
            fuel: results.fuel,
            signatures: results
                .signed
                .iter()
                .map(|subset| wire::ResultSignature {
                    members: subset.members.bits(),
                    seals: subset.seals,
                    signature: subset.signature,
                })
                .collect(),
        }),
        Message::Call { commits } => Request::CallReserve(OrderMessage { commits: wired(commits), ..whole.clone() }),
    }
}

/// The order a request is about, who says it, and what it says to the order's
/// machine; nothing for a request that is not for such a machine.
#[must_use]
pub(crate) fn from_request(request: &Request) -> Option<(OrderDigest, Address, Message)> {
    match request {
        Request::Commit(commit) => {
            let order = commit.commit.order;
            Some((order, commit.provider, Message::Commit(commit_from_wire(order, commit)?)))
        }
        Request::Answer(answer) => Some((
            answer.order,
            answer.provider,
            Message::Answer {
                answer: Answer { results_root: answer.results_root, fuel: answer.fuel, nonce: answer.nonce },
                commits: commits_from_wire(answer.order, &answer.commits),
            },
        )),
        Request::Results(results) => Some((
            results.order,
            results.provider,
            Message::Result(Attestation {
                results_root: results.results_root,
                fuel: results.fuel,
                signed: results
                    .signatures
                    .iter()
                    .map(|signed| SignedSubset {
                        members: MemberSet::from_bits(signed.members),
                        seals: signed.seals,
                        signature: signed.signature,
                    })
                    .collect(),
            }),
        )),
        _ => None,
    }
}

/// The call in a forwarded order.
#[must_use]
pub(crate) fn call_of(order: OrderDigest, message: &OrderMessage) -> Message {
    Message::Call { commits: commits_from_wire(order, &message.commits) }
}
