//! Every signed struct over boundary and mixed members, in `tests/vectors/signed_structs.json`: this file is one of
//! three that check it. The others are `contracts/test/vectors/SignedStructs.t.sol` (the vault's own hash functions)
//! and `contracts/test/vectors/ethers.js` (somebody else's EIP-712).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use serde_json::{Map, Value, json};
use symbolon_contracts::Bind;
use symbolon_primitives::{
    Address, Agreement, Amount, B256, Commit, Demand, DemandDigest, Domain, GiveUp, Key, Lane, Offer, OfferDigest,
    OrderDigest, ProfileId, Release, ResultStatement, ResultsRoot, Royalty, Seal, Signer, Timestamp, U256, Voucher,
    WorkOrder,
};

fn domain() -> Domain {
    Domain { chain_id: 31337, vault: Address::repeat_byte(0x5a) }
}

/// The bytes a case is made of: all zero, all one, or all different, so that no two members can be exchanged.
struct Bytes {
    fill: Option<u8>,
    next: u8,
}

impl Bytes {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| {
            self.next = self.next.wrapping_add(7);
            self.fill.unwrap_or(self.next)
        })
    }
    fn word(&mut self) -> [u8; 32] {
        self.take()
    }
    fn address(&mut self) -> Address {
        Address::from(self.take::<20>())
    }
    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
    fn time(&mut self) -> Timestamp {
        Timestamp(self.u64() >> 24)
    }
    fn u24(&mut self) -> u32 {
        self.u32() >> 8
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }
    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }
    fn amount(&mut self) -> Amount {
        Amount::from_u256(U256::from(u128::from_be_bytes(self.take()) >> 32)).unwrap()
    }
    /// A lane as `open` accepts it: its share is at most the whole.
    fn royalty(&mut self) -> Royalty {
        let (author, share) = (self.address(), self.u16() % 10_001);
        if author == Address::ZERO { Royalty::NONE } else { Royalty::new(author, share).unwrap() }
    }
    fn lane(&mut self) -> Lane {
        let royalty = self.royalty();
        royalty.lane(self.u16())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// One struct: its members as EIP-712 names and types them, and its cases.
struct Struct {
    members: Value,
    cases: Vec<Value>,
}

/// `members` are name, type and value in order; what is signed comes from the struct itself, never from them.
fn case(digest: [u8; 32], members: &[(&str, &str, Value)]) -> (Value, Value) {
    let types = members.iter().map(|(name, kind, _)| json!({ "name": name, "type": kind })).collect();
    let message: Map<String, Value> =
        members.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
    let signature = Key::from_bytes(&[0x11; 32]).unwrap().sign(&digest);
    (types, json!({ "message": message, "digest": hex(&digest), "signature": hex(signature.as_bytes()) }))
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

type Make = fn(&mut Bytes) -> (Value, Value);

fn voucher(b: &mut Bytes) -> (Value, Value) {
    let v = Voucher { payee: b.address(), lane: b.lane(), cumulative: b.amount(), epoch: b.u24() };
    case(
        v.digest(&domain()),
        &[
            ("payee", "address", text(v.payee)),
            ("lane", "bytes32", text(v.lane)),
            ("cumulative", "uint96", text(v.cumulative)),
            ("epoch", "uint24", text(v.epoch)),
        ],
    )
}

fn release(b: &mut Bytes) -> (Value, Value) {
    let r = Release { payer: b.address(), lane: b.lane(), epoch: b.u24() };
    case(
        r.digest(&domain()),
        &[("payer", "address", text(r.payer)), ("lane", "bytes32", text(r.lane)), ("epoch", "uint24", text(r.epoch))],
    )
}

fn bind(b: &mut Bytes) -> (Value, Value) {
    let consent = Bind { owner: b.address() };
    case(domain().digest(&consent), &[("owner", "address", text(consent.owner))])
}

fn result(b: &mut Bytes) -> (Value, Value) {
    let r = ResultStatement {
        order: OrderDigest::from_bytes(b.word()),
        results_root: ResultsRoot::from_bytes(b.word()),
        fuel: b.u64(),
        seals: B256::from(b.word()),
    };
    case(
        r.digest(&domain()),
        &[
            ("order", "bytes32", hex(r.order.as_bytes()).into()),
            ("resultsRoot", "bytes32", hex(r.results_root.as_bytes()).into()),
            ("fuel", "uint64", text(r.fuel)),
            ("seals", "bytes32", text(r.seals)),
        ],
    )
}

fn work_order(b: &mut Bytes) -> (Value, Value) {
    let o = WorkOrder {
        work: B256::from(b.word()),
        royalty: b.royalty(),
        roster: B256::from(b.word()),
        quorum: b.u8(),
        max_fuel: b.u64(),
        settle_by: b.time(),
    };
    case(
        *o.digest(&domain()).as_bytes(),
        &[
            ("work", "bytes32", text(o.work)),
            ("royalty", "bytes22", hex(&o.royalty.to_bytes22()).into()),
            ("roster", "bytes32", text(o.roster)),
            ("quorum", "uint8", text(o.quorum)),
            ("maxFuel", "uint64", text(o.max_fuel)),
            ("settleBy", "uint40", text(o.settle_by.0)),
        ],
    )
}

fn commit(b: &mut Bytes) -> (Value, Value) {
    let c = Commit { order: OrderDigest::from_bytes(b.word()), seal: Seal::from_bytes(b.word()) };
    case(
        c.digest(&domain()),
        &[("order", "bytes32", hex(c.order.as_bytes()).into()), ("seal", "bytes32", hex(c.seal.as_bytes()).into())],
    )
}

fn give_up(b: &mut Bytes) -> (Value, Value) {
    let g = GiveUp { order: OrderDigest::from_bytes(b.word()) };
    case(g.digest(&domain()), &[("order", "bytes32", hex(g.order.as_bytes()).into())])
}

fn demand(b: &mut Bytes) -> (Value, Value) {
    let d = Demand { payer: b.address(), body: B256::from(b.word()), expires: b.time() };
    case(
        *d.digest(&domain()).as_bytes(),
        &[
            ("payer", "address", text(d.payer)),
            ("body", "bytes32", text(d.body)),
            ("expires", "uint40", text(d.expires.0)),
        ],
    )
}

fn offer(b: &mut Bytes) -> (Value, Value) {
    let o = Offer { provider: b.address(), body: B256::from(b.word()), expires: b.time() };
    case(
        *o.digest(&domain()).as_bytes(),
        &[
            ("provider", "address", text(o.provider)),
            ("body", "bytes32", text(o.body)),
            ("expires", "uint40", text(o.expires.0)),
        ],
    )
}

fn agreement(b: &mut Bytes) -> (Value, Value) {
    let a = Agreement {
        demand: DemandDigest::from_bytes(b.word()),
        offer: OfferDigest::from_bytes(b.word()),
        owner: b.address(),
        payer: b.address(),
        payee: b.address(),
        royalty: b.royalty(),
        flat: b.amount(),
        rate: b.amount(),
        profile: ProfileId::from_bytes(b.word()),
        exposure_limit: b.amount(),
        finality_threshold: b.amount(),
        depth: b.u16(),
        commit_secs: b.u32(),
        reserve_secs: b.u32(),
        wait_secs: b.u32(),
        settle_secs: b.u32(),
        keep_secs: b.u32(),
        margin_secs: b.u32(),
        valid_until: b.time(),
    };
    case(
        *a.digest(&domain()).as_bytes(),
        &[
            ("demand", "bytes32", hex(a.demand.as_bytes()).into()),
            ("offer", "bytes32", hex(a.offer.as_bytes()).into()),
            ("owner", "address", text(a.owner)),
            ("payer", "address", text(a.payer)),
            ("payee", "address", text(a.payee)),
            ("royalty", "bytes22", hex(&a.royalty.to_bytes22()).into()),
            ("flat", "uint96", text(a.flat)),
            ("rate", "uint96", text(a.rate)),
            ("profile", "bytes32", hex(a.profile.as_bytes()).into()),
            ("exposureLimit", "uint96", text(a.exposure_limit)),
            ("finalityThreshold", "uint96", text(a.finality_threshold)),
            ("depth", "uint16", text(a.depth)),
            ("commitSecs", "uint32", text(a.commit_secs)),
            ("reserveSecs", "uint32", text(a.reserve_secs)),
            ("waitSecs", "uint32", text(a.wait_secs)),
            ("settleSecs", "uint32", text(a.settle_secs)),
            ("keepSecs", "uint32", text(a.keep_secs)),
            ("marginSecs", "uint32", text(a.margin_secs)),
            ("validUntil", "uint40", text(a.valid_until.0)),
        ],
    )
}

fn cases(make: Make) -> Struct {
    let fills = [Some(0x00), Some(0xff), None, None];
    let made = fills.into_iter().zip(1u8..).map(|(fill, start)| make(&mut Bytes { fill, next: start }));
    let (mut members, cases): (Vec<_>, Vec<_>) = made.unzip();
    Struct { members: members.swap_remove(0), cases }
}

/// A digest that moves breaks every signature ever made: it needs a new version of the protocol, not a new file.
#[test]
fn sym_05_every_signed_struct_has_the_committed_digests() {
    let makes: [(&str, Make); 10] = [
        ("Voucher", voucher),
        ("WorkOrder", work_order),
        ("Result", result),
        ("Bind", bind),
        ("Release", release),
        ("Commit", commit),
        ("GiveUp", give_up),
        ("Demand", demand),
        ("Offer", offer),
        ("Agreement", agreement),
    ];
    let structs: Map<String, Value> = makes
        .into_iter()
        .map(|(name, make)| {
            let Struct { members, cases } = cases(make);
            (name.to_owned(), json!({ "members": members, "cases": cases }))
        })
        .collect();
    let signer = Key::from_bytes(&[0x11; 32]).unwrap();
    let now = json!({
        "domain": { "name": "symbolon", "version": "1", "chainId": 31337, "verifyingContract": domain().vault },
        "secret": hex(&[0x11; 32]),
        "signer": signer.address(),
        "structs": structs,
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/signed_structs.json");
    let committed: Value = serde_json::from_slice(&std::fs::read(path).unwrap_or_default()).unwrap_or_default();
    assert_eq!(committed, now, "{now:#}");
}
