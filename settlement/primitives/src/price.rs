//! What fuel costs.

use crate::amount::{Amount, AmountError};
use alloy_primitives::U256;

/// Fuel units that one `rate` pays for.
pub const FUEL_PER_RATE: u64 = 1_000_000_000;

/// `flat + ceil(rate * fuel / 10^9)`, all in base units, as the vault computes
/// it (SYM-08a). `rate` is for one Gfuel.
///
/// # Errors
/// [`AmountError::TooLarge`] when the price is no amount.
pub fn price(flat: Amount, rate: Amount, fuel: u64) -> Result<Amount, AmountError> {
    let metered = (U256::from(rate.get()) * U256::from(fuel)).div_ceil(U256::from(FUEL_PER_RATE));
    Amount::from_u256(U256::from(flat.get()).saturating_add(metered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sym_08a_price_rounds_up_and_never_wraps() {
        let one = Amount::from_u64(1);
        assert_eq!(price(Amount::ZERO, one, 0), Ok(Amount::ZERO));
        assert_eq!(price(Amount::ZERO, one, 1), Ok(one));
        assert_eq!(price(Amount::ZERO, one, 1_000_000_000), Ok(one));
        assert_eq!(price(one, one, 1_000_000_001), Ok(Amount::from_u64(3)));
        assert_eq!(price(Amount::MAX, one, 1), Err(AmountError::TooLarge));
        assert_eq!(price(Amount::ZERO, Amount::MAX, u64::MAX), Err(AmountError::TooLarge));
    }
}
