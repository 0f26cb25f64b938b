//! The chain of a simulated year: the reference model of the vault in blocks,
//! with a pool, fees, and reorganisations that drop what was mined.

use crate::{
    dice::Dice,
    model::{Account, Channel, Model},
    step::{Call, Place, Step},
};
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use std::{collections::VecDeque, rc::Rc};
use symbolon_channel::View;
use symbolon_contracts::{court, vault};
use symbolon_primitives::{Amount, Domain, Lane, Timestamp};
use symbolon_settlement::{ChannelState, Intent, IntentKind};

/// Seconds between two blocks.
pub(crate) const BLOCK_SECS: u64 = 600;
/// How deep a block is relied on.
pub(crate) const DEPTH: usize = 3;
/// How many blocks an endpoint lags at most, and is still asked.
pub(crate) const MOST_LAG: usize = 40;
/// Wei for one gas when nothing is the matter.
pub(crate) const CALM: u128 = 1_000_000_000;

#[derive(Clone)]
struct Tx {
    caller: Address,
    call: Call,
    max_fee: u128,
    sent: u64,
}

struct Block {
    number: u64,
    state: Rc<Model>,
    txs: Vec<Tx>,
}

pub(crate) struct Chain {
    blocks: VecDeque<Block>,
    pool: Vec<Tx>,
    place: Place,
    /// Wei for one gas now.
    pub(crate) fee: u128,
    pub(crate) mined: u64,
    pub(crate) reverted: u64,
    pub(crate) dropped: u64,
    pub(crate) reorganised: u64,
}

impl Chain {
    /// `funds` lie in the vault already, as free balance and stake.
    pub(crate) fn new(now: u64, funds: &[(Address, u128, u128)]) -> Self {
        let at = |byte| Address::repeat_byte(byte);
        let place = Place { chain_id: 31_337, token: at(0xaa), court: at(0xcc), vault: at(0xee) };
        let mut model = Model::new(place, now, None);
        let mut all = U256::ZERO;
        for (account, balance, stake) in funds {
            let funded = Account { balance: *balance, stake: *stake, unbonding_at: 0 };
            model.state.accounts.insert(*account, funded);
            all += U256::from(*balance) + U256::from(*stake);
        }
        model.state.token.balances.insert(place.vault, all);
        let first = Block { number: 1, state: Rc::new(model), txs: Vec::new() };
        Self {
            blocks: VecDeque::from([first]),
            pool: Vec::new(),
            place,
            fee: CALM,
            mined: 0,
            reverted: 0,
            dropped: 0,
            reorganised: 0,
        }
    }

    pub(crate) fn domain(&self) -> Domain {
        Domain { chain_id: self.place.chain_id, vault: self.place.vault }
    }

    /// Puts what the real builders made into the pool, paying up to `max_fee` for one gas.
    pub(crate) fn send(&mut self, caller: Address, intent: &Intent, max_fee: u128, now: u64) {
        let call = match intent.kind {
            IntentKind::Open => Call::Open(vault::openCall::abi_decode(&intent.data).unwrap()),
            IntentKind::Release => Call::Release(vault::releaseCall::abi_decode(&intent.data).unwrap()),
            IntentKind::Claim => match vault::claimCall::abi_decode(&intent.data) {
                Ok(call) => Call::Claim(call),
                Err(_) => Call::ClaimFor(vault::claimForCall::abi_decode(&intent.data).unwrap()),
            },
            IntentKind::SettleQuorum => {
                Call::SettleQuorum(Box::new(vault::settleQuorumCall::abi_decode(&intent.data).unwrap()))
            }
            IntentKind::Slash => Call::CourtSlash(Box::new(court::slashCall::abi_decode(&intent.data).unwrap())),
            other => panic!("nobody sends {other:?} here"),
        };
        self.pool.push(Tx { caller, call, max_fee, sent: now });
    }

    /// Mines what pays the fee. What waits for two days leaves the pool.
    pub(crate) fn mine(&mut self, now: u64) {
        let (number, mut state) = self.blocks.back().map(|head| (head.number, Rc::clone(&head.state))).unwrap();
        let fee = self.fee;
        let (txs, waiting): (Vec<Tx>, Vec<Tx>) = self.pool.drain(..).partition(|tx| tx.max_fee >= fee);
        self.pool = waiting.into_iter().filter(|tx| now < tx.sent + 2 * 86_400).collect();
        if !txs.is_empty() {
            let mut model = (*state).clone();
            for tx in &txs {
                let step = Step { wait: now.saturating_sub(model.now), caller: tx.caller, call: tx.call.clone() };
                let outcome = model.apply(&step);
                self.mined += 1;
                self.reverted += u64::from(!outcome.succeeded);
            }
            model.notes.clear();
            state = Rc::new(model);
        }
        self.blocks.push_back(Block { number: number + 1, state, txs });
        while self.blocks.len() > 2 * DEPTH + MOST_LAG {
            self.blocks.pop_front();
        }
    }

    /// The last blocks, fewer than anybody relies on, are replaced by more of them; of their
    /// transactions some return to the pool and some are gone.
    pub(crate) fn reorganise(&mut self, now: u64, dice: &mut Dice) {
        let depth = 1 + dice.below(DEPTH as u64 - 1);
        for _ in 0..depth {
            if self.blocks.len() <= DEPTH {
                return;
            }
            for tx in self.blocks.pop_back().map(|block| block.txs).unwrap_or_default() {
                if dice.chance(500) {
                    self.dropped += 1;
                } else {
                    self.pool.push(tx);
                }
            }
        }
        self.reorganised += 1;
        for _ in 0..=depth {
            self.mine(now);
        }
    }

    fn deep(&self, lag: usize) -> &Block {
        let index = self.blocks.len().saturating_sub(1 + DEPTH + lag);
        self.blocks.get(index).unwrap()
    }

    /// The channel at depth, as an endpoint shows it that lags so many blocks.
    pub(crate) fn view(&self, payer: Address, payee: Address, lane: Lane, lag: usize) -> View {
        let deep = self.deep(lag);
        let Channel { allocated, claimed, epoch, expiry } = deep.state.channel((payer, payee, lane.word()));
        let amount = |base| Amount::new(base).unwrap();
        let (allocated, claimed) = (amount(allocated), amount(claimed));
        View { allocated, claimed, epoch, expiry: Timestamp(expiry), block: deep.number }
    }

    pub(crate) fn head(&self) -> &Model {
        self.blocks.back().map(|block| block.state.as_ref()).unwrap()
    }

    /// SYM-01, to the unit: nothing but the vault's own calls moves money here.
    pub(crate) fn check_sums(&self) {
        let state = &self.head().state;
        let accounts: u128 = state.accounts.values().map(|account| account.balance + account.stake).sum();
        let open: u128 = state.channels.values().map(|channel| channel.allocated - channel.claimed).sum();
        let holds = state.token.balance(self.place.vault);
        assert_eq!(holds, U256::from(accounts + open + state.burned), "C1");
        assert!(state.channels.values().all(|channel| channel.claimed <= channel.allocated), "C3");
    }
}

pub(crate) fn state_of(view: &View) -> ChannelState {
    ChannelState { allocated: view.allocated, claimed: view.claimed, epoch: view.epoch, expiry: view.expiry }
}
