//! How far a payee works ahead of its money (SYM-25, SYM-27).

use symbolon_primitives::Amount;

/// The exposure a payee allows a payer key: `start` while it has paid nothing,
/// twice what it has paid from then on, never more than `limit`.
#[must_use]
pub fn allowance(limit: Amount, start: Amount, paid: Amount) -> Amount {
    let twice = paid.checked_mul(2).unwrap_or(Amount::MAX);
    twice.max(start).min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sym_27_an_unproven_payer_starts_small_and_doubles_as_it_pays() {
        let amount = Amount::from_u64;
        let allowed = |paid| allowance(amount(100), amount(4), amount(paid));
        assert_eq!(allowed(0), amount(4));
        assert_eq!(allowed(2), amount(4));
        assert_eq!(allowed(4), amount(8));
        assert_eq!(allowed(8), amount(16));
        assert_eq!(allowed(1000), amount(100));
        assert_eq!(allowance(amount(3), amount(4), Amount::MAX), amount(3));
    }
}
