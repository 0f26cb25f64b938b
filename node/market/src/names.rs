//! The property names that symbolon reads. Others pass through: a constraint may
//! use any name that both sides understand. `docs/protocol.md` lists them.

/// Always `symbolon`: tells our bodies from those of other networks.
pub const RUNTIME_NAME: &str = "golem.runtime.name";
/// The value of [`RUNTIME_NAME`].
pub const RUNTIME: &str = "symbolon";
/// The node's version (`@v`).
pub const RUNTIME_VERSION: &str = "golem.runtime.version";
/// What the side calls itself, for display only.
pub const NODE_NAME: &str = "golem.node.id.name";
/// Memory a run may use, in GiB (number).
pub const MEMORY_GIB: &str = "golem.inf.mem.gib";
/// Space for outputs, in GiB (number).
pub const STORAGE_GIB: &str = "golem.inf.storage.gib";
/// Workunits run at once (number).
pub const CORES: &str = "golem.inf.cpu.cores";
/// When the work should be over, in milliseconds since the Unix epoch (number).
pub const EXPIRATION_MILLIS: &str = "golem.srv.comp.expiration";
/// How price follows usage: [`PRICING_MODEL_FUEL`].
pub const PRICING_MODEL: &str = "golem.com.pricing.model";
/// The only pricing model of version 1: `flat + ceil(rate * fuel / 10^9)`.
pub const PRICING_MODEL_FUEL: &str = "fuel";

/// Price of an order in base units (`@d`, a whole number).
pub const PRICE_FLAT: &str = "symbolon.price.flat";
/// Price of one Gfuel in base units (`@d`, a whole number).
pub const PRICE_RATE: &str = "symbolon.price.rate";
/// The determinism profile's hash, 64 hexadecimal digits; an offer that serves
/// several lists them.
pub const PROFILE: &str = "symbolon.profile";
/// The vault's address, `0x` and 40 lower-case hexadecimal digits.
pub const VAULT: &str = "symbolon.vault";
/// The chain's id (number).
pub const CHAIN: &str = "symbolon.chain";
/// The most a provider works ahead of its money, in base units (`@d`).
pub const EXPOSURE: &str = "symbolon.exposure.limit";
/// K: active replicas and quorum of an order (number); 1 is paid by voucher only.
pub const REDUNDANCY: &str = "symbolon.redundancy";
/// The most fuel of one order (number).
pub const MAX_FUEL: &str = "symbolon.fuel.max";
/// Speed as one side measured it, in Mfuel a second (number); nobody relies on it.
pub const SPEED_MFUEL: &str = "symbolon.speed.mfuel";
