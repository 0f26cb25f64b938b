//! How far a payee works ahead of its money (SYM-25, SYM-27).

use crate::{Payee, Reason, Rejected};
use symbolon_primitives::{Amount, Refuse};

/// The exposure a payee allows a payer key: `start` while it has paid nothing,
/// twice what it has paid from then on, never more than `limit`.
#[must_use]
pub fn allowance(limit: Amount, start: Amount, paid: Amount) -> Amount {
    let twice = paid.checked_mul(2).unwrap_or(Amount::MAX);
    twice.max(start).min(limit)
}

/// Where a payer key stands with a payee, over all their channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Worked, or promised to be worked, ahead of money.
    pub exposed: Amount,
    /// Paid, or payable whatever the payer does.
    pub secured: Amount,
}

impl Standing {
    /// The sum over the channels of one payer key.
    pub fn of<'a>(channels: impl IntoIterator<Item = &'a Payee>) -> Self {
        channels.into_iter().fold(Self::default(), |sum, channel| Self {
            exposed: sum.exposed.checked_add(channel.exposure()).unwrap_or(Amount::MAX),
            // Too little secured only makes the allowance smaller.
            secured: sum.secured.checked_add(channel.secured()).unwrap_or(sum.secured),
        })
    }

    /// Whether the payee may go on, `limit` and `start` being those of [`allowance`].
    ///
    /// # Errors
    /// [`Reason::ExposureTooHigh`].
    pub fn check(&self, limit: Amount, start: Amount) -> Result<(), Rejected> {
        let most = allowance(limit, start, self.secured);
        if self.exposed <= most { Ok(()) } else { Err(Reason::ExposureTooHigh { have: self.exposed, most }.retry()) }
    }
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

    #[test]
    fn l5_the_limit_counts_to_the_unit() {
        let amount = Amount::from_u64;
        let standing = |exposed| Standing { exposed: amount(exposed), secured: amount(5) };
        assert!(standing(10).check(amount(100), amount(4)).is_ok());
        let refused = standing(11).check(amount(100), amount(4));
        assert_eq!(refused, Err(Reason::ExposureTooHigh { have: amount(11), most: amount(10) }.retry()));
    }
}
