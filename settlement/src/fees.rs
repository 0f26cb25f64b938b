//! What a transaction may cost, as pure functions: the fee it starts with, how
//! a replacement has to raise it, and the caps.

use crate::{TxConfig, TxError};

/// Fees of one transaction, in wei for one gas (EIP-1559).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    pub(crate) max: u128,
    pub(crate) tip: u128,
}

impl Fees {
    /// The most that this much gas can cost under them, in wei.
    pub(crate) fn worst(self, gas: u64) -> u128 {
        self.max.saturating_mul(u128::from(gas))
    }
}

/// Fees for the next blocks: twice the base fee, so that it may double, and the
/// tip, none of it above the caps.
pub(crate) fn quote(base: u128, suggested_tip: Option<u128>, config: &TxConfig) -> Result<Fees, TxError> {
    let cap = config.max_fee_per_gas;
    let tip = suggested_tip.unwrap_or(config.tip_per_gas).min(config.max_tip_per_gas);
    let need = base.saturating_add(tip.min(config.tip_per_gas));
    if need > cap {
        return Err(TxError::FeeAboveCap { have: cap, need });
    }
    let max = base.saturating_mul(2).saturating_add(tip).min(cap);
    Ok(Fees { max, tip: tip.min(max) })
}

/// What pools want of a replacement: an eighth more of both, where they want a tenth.
pub(crate) fn raised(fee: u128) -> u128 {
    fee.saturating_add(fee.div_ceil(8)).saturating_add(1)
}

/// Fees of a replacement: those of the market, and no less than the pool's rule
/// asks. Nothing when the caps leave no room.
pub(crate) fn replacement(old: Fees, market: Option<Fees>, config: &TxConfig) -> Option<Fees> {
    let least = Fees { max: raised(old.max), tip: raised(old.tip) };
    let wanted = market.map_or(least, |market| Fees { max: least.max.max(market.max), tip: least.tip.max(market.tip) });
    let max = wanted.max.min(config.max_fee_per_gas);
    // Without its rise, the tip would have the pool refuse the whole.
    (max >= least.max && least.tip <= max).then(|| Fees { max, tip: wanted.tip.min(max) })
}

/// The fees under the cap of one transaction: lowered where it leaves enough
/// for the next block.
pub(crate) fn within_tx_cap(fees: Fees, gas: u64, base: u128, config: &TxConfig) -> Result<Fees, TxError> {
    let need = fees.worst(gas);
    if need <= config.max_tx_wei {
        return Ok(fees);
    }
    let max = config.max_tx_wei / u128::from(gas.max(1));
    if max >= base.saturating_add(fees.tip) {
        Ok(Fees { max, tip: fees.tip })
    } else {
        Err(TxError::TxAboveCap { have: config.max_tx_wei, need })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GWEI: u128 = 1_000_000_000;

    fn config() -> TxConfig {
        TxConfig { max_fee_per_gas: 100 * GWEI, tip_per_gas: GWEI, max_tip_per_gas: 3 * GWEI, ..TxConfig::default() }
    }

    #[test]
    fn a_quote_lets_the_base_fee_double_and_believes_no_tip_without_bound() {
        let quote = |base, tip| quote(base, tip, &config());
        assert_eq!(quote(10 * GWEI, None).unwrap(), Fees { max: 21 * GWEI, tip: GWEI });
        assert_eq!(quote(10 * GWEI, Some(u128::MAX)).unwrap(), Fees { max: 23 * GWEI, tip: 3 * GWEI });
        assert_eq!(quote(0, Some(0)).unwrap(), Fees { max: 0, tip: 0 });
        assert_eq!(quote(99 * GWEI, None).unwrap().max, 100 * GWEI);
        assert!(matches!(quote(99 * GWEI + 1, None), Err(TxError::FeeAboveCap { need, .. }) if need == 100 * GWEI + 1));
        assert!(matches!(quote(u128::MAX, None), Err(TxError::FeeAboveCap { need: u128::MAX, .. })));
    }

    #[test]
    fn a_replacement_pays_a_tenth_more_of_both_or_is_none() {
        let raise = |max, tip, market| replacement(Fees { max, tip }, market, &config());
        for (max, tip) in [(0, 0), (1, 1), (7, 3), (80 * GWEI, GWEI), (88 * GWEI, 80 * GWEI)] {
            let new = raise(max, tip, None).unwrap();
            assert!(new.max * 10 >= max * 11 && new.tip * 10 >= tip * 11 && new.max > max && new.tip > tip);
            assert!(new.tip <= new.max && new.max <= 100 * GWEI);
        }
        // The market asks for more, and the cap is what it is.
        assert_eq!(raise(GWEI, 1, Some(Fees { max: 50 * GWEI, tip: 5 })).unwrap(), Fees { max: 50 * GWEI, tip: 5 });
        assert_eq!(raise(GWEI, 1, Some(Fees { max: 500 * GWEI, tip: 5 })).unwrap().max, 100 * GWEI);
        assert_eq!(raise(89 * GWEI, 1, None), None);
        assert_eq!(raise(88 * GWEI, 89 * GWEI, None), None);
    }

    #[test]
    fn the_cap_of_a_transaction_lowers_the_fee_and_then_refuses() {
        let config = TxConfig { max_tx_wei: 1_000_000, ..config() };
        let fees = Fees { max: 20, tip: 2 };
        assert_eq!(within_tx_cap(fees, 50_000, 5, &config).unwrap(), fees);
        assert_eq!(within_tx_cap(fees, 50_001, 5, &config).unwrap(), Fees { max: 19, tip: 2 });
        assert_eq!(within_tx_cap(fees, 142_857, 5, &config).unwrap(), Fees { max: 7, tip: 2 });
        let error = within_tx_cap(fees, 142_858, 5, &config).unwrap_err();
        assert!(matches!(error, TxError::TxAboveCap { have: 1_000_000, need: 2_857_160 }));
        assert!(within_tx_cap(Fees { max: 0, tip: 0 }, 0, 0, &config).is_ok());
    }
}
