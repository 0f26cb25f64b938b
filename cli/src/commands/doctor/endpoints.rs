//! What `symbolon doctor` says of each endpoint, and of this machine's clock beside the chain's.

use super::Findings;
use crate::{args::NetworkArgs, network::NetworkFile, output::foreign};
use std::time::Duration;
use symbolon_node::{CLOCK_SLACK_SECS, now};
use symbolon_primitives::Timestamp;
use symbolon_settlement::{ChainError, ChainView, Header};

/// How old a block is at most when it comes from a chain whose clock is this machine's, in seconds.
const TRAVEL_SECS: u64 = 5;
/// Blocks by which it is told how often one comes.
const RECENT_BLOCKS: u64 = 16;
/// The longest wait for a new block.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// What came of asking each endpoint by itself.
pub(super) struct Asked {
    /// How many are configured.
    count: usize,
    /// Which of them something was said about.
    bad: Vec<usize>,
    mend: String,
}

impl Asked {
    /// Whether an only endpoint is no good, so that nothing more can be said of the network.
    pub(super) fn is_hopeless(&self) -> bool {
        self.count == 1 && !self.bad.is_empty()
    }

    /// What the endpoints' answers, compared, brought to light since.
    pub(super) fn compared(&self, found: &mut Findings, chain: &ChainView) {
        for (index, status) in chain.endpoints().into_iter().enumerate() {
            let Some(trouble) = status.trouble.filter(|_| !self.bad.contains(&index)) else { continue };
            let says = format!("{}: {}", status.endpoint, foreign(&trouble.to_string()));
            found.soon("endpoint", says, self.mend.clone());
        }
    }
}

/// Asks each endpoint by itself for its chain, its newest block and the vault.
pub(super) async fn ask(found: &mut Findings, network: &NetworkFile, args: &NetworkArgs) -> Asked {
    let config = network.chain_config();
    let mend = format!(
        "name others, all of them at once: symbolon doctor --rpc URL,URL tries them; every command takes --rpc or \
         SYMBOLON_RPC, rpc and more_rpc in {} keep them",
        args.network.display()
    );
    let probes: Vec<_> = config.urls.iter().map(|url| tokio::spawn(probe(network.clone(), url.clone()))).collect();
    let (mut heads, mut bad) = (Vec::new(), Vec::new());
    for (index, probe) in probes.into_iter().enumerate() {
        match probe.await {
            Ok(Ok((endpoint, head))) => heads.push((index, endpoint, head)),
            Ok(Err(ChainError::BadUrl { .. })) => bad.push((index, ChainError::BadUrl { index })),
            Ok(Err(error)) => bad.push((index, error)),
            Err(_) => {}
        }
    }
    let newest = heads.iter().map(|(_, _, head)| head.number).max().unwrap_or_default();
    let is_behind = |head: &Header| head.number.saturating_add(config.max_lag_blocks) < newest;
    let (behind, fit): (Vec<_>, Vec<_>) = heads.into_iter().partition(|(_, _, head)| is_behind(head));
    bad.extend(
        behind
            .into_iter()
            .map(|(index, endpoint, head)| (index, ChainError::Stale { endpoint, have: head.number, need: newest })),
    );
    let count = config.urls.len();
    let need = count / 2 + 1;
    let stand = match count {
        1 => String::new(),
        _ => format!(" ({} of {count} endpoints are good, {need} have to be)", fit.len()),
    };
    for (_, error) in &bad {
        let says = format!("{}{stand}", foreign(&error.to_string()));
        if fit.len() < need {
            found.wrong("endpoint", says, mend.clone());
        } else {
            found.soon("endpoint", says, mend.clone());
        }
    }
    if bad.is_empty() {
        found.fine("endpoint", format!("right chain and vault, block {newest}{stand}"));
    }
    Asked { count, bad: bad.into_iter().map(|(index, _)| index).collect(), mend }
}

/// An endpoint's name and newest block, if it has the chain and the vault.
async fn probe(network: NetworkFile, url: String) -> Result<(String, Header), ChainError> {
    let view = ChainView::connect_any(&network.chain_config().with_urls(vec![url])).await?.for_collecting();
    let head = view.head().await?;
    view.vault(network.vault, network.token, &head).await?;
    Ok((view.endpoints().into_iter().map(|status| status.endpoint).collect(), head))
}

/// Compares this machine's clock with the chain's, and tells a clock that is ahead from an endpoint that stands still.
pub(super) async fn clock(found: &mut Findings, chain: &ChainView, head: &Header, asked: &Asked) {
    let most = CLOCK_SLACK_SECS.saturating_add(TRAVEL_SECS);
    let behind = Timestamp(head.timestamp).secs_since(now());
    if behind > CLOCK_SLACK_SECS {
        return is_off(found, &format!("{behind} s behind the chain's"));
    }
    if age_of(head) <= most {
        return found.fine("clock", format!("at most {most} s from the chain's"));
    }
    let usual = usual_secs(chain, head).await;
    let patience = Duration::from_secs(usual.saturating_mul(2).saturating_add(2)).min(PATIENCE);
    match next_block(chain, head, patience).await {
        Some(block) if age_of(&block) > most => {
            let lags = if asked.count == 1 { ", unless the only endpoint lags" } else { "" };
            let how = format!("{} s ahead of the chain's: a new block is that old when it comes{lags}", age_of(&block));
            is_off(found, &how);
        }
        Some(_) => found.fine("clock", format!("at most {most} s from the chain's")),
        None if age_of(head) > usual.saturating_mul(2).saturating_add(most) => found.wrong(
            "endpoint",
            format!(
                "no new block: the newest, {}, is {} s old, and one comes every {usual} s; the endpoint is stale",
                head.number,
                age_of(head)
            ),
            asked.mend.clone(),
        ),
        None => found.fine("clock", format!("not compared: blocks are {usual} s apart")),
    }
}

fn is_off(found: &mut Findings, how: &str) {
    found.wrong(
        "clock",
        format!(
            "this machine's clock is {how}; up to {CLOCK_SLACK_SECS} s between the members of an order are allowed for, \
             beyond it orders are refused and answers come too late; claims are safe while it is less than the margin \
             before an expiry"
        ),
        "set the clock, for example: timedatectl set-ntp true",
    );
}

fn age_of(block: &Header) -> u64 {
    now().secs_since(Timestamp(block.timestamp))
}

/// How many seconds lie between two blocks, at least one.
async fn usual_secs(chain: &ChainView, head: &Header) -> u64 {
    let back = RECENT_BLOCKS.min(head.number);
    let Ok(earlier) = chain.block(head.number.saturating_sub(back)).await else { return 1 };
    head.timestamp.saturating_sub(earlier.timestamp).checked_div(back).unwrap_or_default().max(1)
}

/// The next block that comes within `patience`.
async fn next_block(chain: &ChainView, head: &Header, patience: Duration) -> Option<Header> {
    let look = async {
        let mut again = tokio::time::interval(LOOK);
        loop {
            again.tick().await;
            match chain.head().await {
                Ok(next) if next.number > head.number => return next,
                _ => {}
            }
        }
    };
    tokio::time::timeout(patience, look).await.ok()
}
