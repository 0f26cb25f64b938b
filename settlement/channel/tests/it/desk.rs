//! One channel with keys for both ends, and a small generator.

use symbolon_channel::{ChannelTerms, Effects, Hosting, Order, Payee, PayeeInput, Payer, PayerInput, Rejected};
use symbolon_channel::{SignedVoucher, View};
use symbolon_primitives::{
    Address, AgreementDigest, Amount, Domain, Epoch, Key, Leaf, OrderDigest, Royalty, Signer, Timestamp, Voucher,
};

/// One base unit a fuel unit: totals can be read off.
const RATE: u64 = 1_000_000_000;
pub(crate) const EXPIRY: u64 = 1_000_000;
pub(crate) const MARGIN: u64 = 1_000;

/// Splitmix64: small, seeded, the same everywhere.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub(crate) fn amount(base: u64) -> Amount {
    Amount::from_u64(base)
}

pub(crate) fn digest(number: u64) -> OrderDigest {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    OrderDigest::from_bytes(bytes)
}

/// Both ends and their keys.
pub(crate) struct Desk {
    pub(crate) terms: ChannelTerms,
    pub(crate) payer_key: Key,
    pub(crate) payee_key: Key,
    pub(crate) payer: Payer,
    pub(crate) payee: Payee,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let payer_key = Key::from_bytes(&[1; 32]).unwrap();
        let payee_key = Key::from_bytes(&[2; 32]).unwrap();
        let terms = ChannelTerms {
            domain: Domain { chain_id: 31_337, vault: Address::repeat_byte(0xee) },
            payer: payer_key.address(),
            payee: payee_key.address(),
            lane: Royalty::NONE.lane(3),
            margin_secs: MARGIN,
        };
        Self { terms, payer_key, payee_key, payer: Payer::new(terms), payee: Payee::new(terms) }
    }

    /// Both ends see the channel with this much earmarked.
    pub(crate) fn open(allocated: u64) -> Self {
        let mut desk = Self::new();
        desk.see(View { allocated: amount(allocated), expiry: Timestamp(EXPIRY), ..View::default() });
        desk
    }

    /// Both ends see this at the block after the last one they saw.
    pub(crate) fn see(&mut self, view: View) {
        let block = self.payer.view().block.max(self.payee.view().block) + 1;
        let view = View { block, ..view };
        self.pay(PayerInput::Seen(view), 0).unwrap();
        self.work(PayeeInput::Seen(view), 0).unwrap();
    }

    pub(crate) fn pay(&mut self, input: PayerInput, now: u64) -> Result<Effects, Rejected> {
        let before = self.payer.clone();
        let answer = self.payer.handle(&self.payer_key, input, Timestamp(now));
        if answer.is_err() {
            assert_eq!(before, self.payer, "a refusal changes nothing");
        }
        answer
    }

    pub(crate) fn work(&mut self, input: PayeeInput, now: u64) -> Result<Effects, Rejected> {
        let before = self.payee.clone();
        let answer = self.payee.handle(&self.payee_key, input, Timestamp(now));
        if answer.is_err() {
            assert_eq!(before, self.payee, "a refusal changes nothing");
        }
        answer
    }

    pub(crate) fn leaf(&self, owed: u64, epoch: Epoch) -> Leaf {
        let (provider, lane_number) = (self.terms.payee, self.terms.lane.number16());
        Leaf { provider, owed: amount(owed), flat: Amount::ZERO, rate: amount(RATE), epoch, lane_number }
    }

    pub(crate) fn order(&self, number: u64, owed: u64, max_fuel: u64, settle_by: u64) -> Order {
        let leaf = self.leaf(owed, self.payee.view().epoch);
        Order { digest: digest(number), leaf, max_fuel, settle_by: Timestamp(settle_by) }
    }

    /// Ten periods of 100 seconds from 1,000 on, for 7 base units each, due 20 seconds ahead.
    pub(crate) fn hosting(&self, number: u8, owed: u64) -> Hosting {
        Hosting {
            agreement: AgreementDigest::from_bytes([number; 32]),
            epoch: self.payee.view().epoch,
            owed: amount(owed),
            price: amount(7),
            begin: Timestamp(1_000),
            period_secs: 100,
            lead_secs: 20,
            periods: 10,
        }
    }

    pub(crate) fn voucher(&self, cumulative: Amount, epoch: Epoch) -> SignedVoucher {
        let voucher = Voucher { payee: self.terms.payee, lane: self.terms.lane, cumulative, epoch };
        SignedVoucher { voucher, signature: self.payer_key.sign(&voucher.digest(&self.terms.domain)) }
    }
}
