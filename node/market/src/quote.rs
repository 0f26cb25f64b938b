//! Quotes: what an offer's properties say about price and profile, and whether
//! an agreement keeps to them.

use crate::{
    body::Body,
    names,
    properties::{Properties, PropertyError},
};
use symbolon_primitives::{
    Address, Agreement, Amount, AmountError, DemandDigest, Domain, OfferDigest, ProfileId, Timestamp, price,
};

/// Why an offer has no quote that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// A property is missing or of another type.
    #[error("offer")]
    Property(#[from] PropertyError),
    /// The offer is for another network, vault, chain or pricing model.
    #[error("property {name} is for somebody else")]
    Elsewhere {
        /// The property that differs.
        name: &'static str,
    },
    /// No profile, or a text that is no profile's hash.
    #[error("no determinism profile")]
    NoProfile,
}

/// Why an agreement does not keep to what was signed before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// It names another demand.
    #[error("another demand than {expected}")]
    Demand {
        /// The one that was accepted.
        expected: DemandDigest,
    },
    /// It names another offer.
    #[error("another offer than {expected}")]
    Offer {
        /// The one that was accepted.
        expected: OfferDigest,
    },
    /// It is made with somebody else.
    #[error("{have} stands where {expected} was accepted")]
    Party {
        /// Who stands in it.
        have: Address,
        /// Who should.
        expected: Address,
    },
    /// The price is not the quoted one.
    #[error("flat {flat} and rate {rate} are not the quoted price")]
    Price {
        /// The agreement's price of an order.
        flat: Amount,
        /// The agreement's price of one Gfuel.
        rate: Amount,
    },
    /// The profile is not among those offered.
    #[error("profile {have} was not offered")]
    Profile {
        /// The agreement's.
        have: ProfileId,
    },
    /// The provider would work further ahead of its money than it offered.
    #[error("exposure limit {have}, offered {offered}")]
    Exposure {
        /// The agreement's.
        have: Amount,
        /// The offer's.
        offered: Amount,
    },
    /// No order could be signed under it any more.
    #[error("over since {valid_until}")]
    Over {
        /// Its end.
        valid_until: Timestamp,
    },
}

/// Price and profiles of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Price of an order, in base units.
    pub flat: Amount,
    /// Price of one Gfuel, in base units.
    pub rate: Amount,
    /// The profiles it serves, in the offer's order.
    pub profiles: Vec<ProfileId>,
    /// The most the provider works ahead of its money, in base units; zero when it does not say.
    pub exposure_limit: Amount,
}

impl Quote {
    /// Reads the quote of an offer made under `domain`.
    ///
    /// # Errors
    /// [`QuoteError`] when a price or profile is missing, or the offer is for
    /// another network, vault, chain or pricing model.
    pub fn read(offer: &Body, domain: &Domain) -> Result<Self, QuoteError> {
        let properties = offer.properties();
        let same = |name: &'static str, same: bool| if same { Ok(()) } else { Err(QuoteError::Elsewhere { name }) };
        same(names::RUNTIME_NAME, properties.text(names::RUNTIME_NAME)? == names::RUNTIME)?;
        same(names::VAULT, properties.text(names::VAULT)? == vault_text(domain))?;
        same(names::CHAIN, properties.number(names::CHAIN)? == domain.chain_id)?;
        if properties.get(names::PRICING_MODEL).is_some() {
            same(names::PRICING_MODEL, properties.text(names::PRICING_MODEL)? == names::PRICING_MODEL_FUEL)?;
        }
        let profiles: Vec<ProfileId> = properties
            .texts(names::PROFILE)?
            .into_iter()
            .map(|text| text.parse().map_err(|_| QuoteError::NoProfile))
            .collect::<Result<_, _>>()?;
        if profiles.is_empty() {
            return Err(QuoteError::NoProfile);
        }
        let exposure_limit = match properties.get(names::EXPOSURE) {
            Some(_) => properties.amount(names::EXPOSURE)?,
            None => Amount::ZERO,
        };
        Ok(Self {
            flat: properties.amount(names::PRICE_FLAT)?,
            rate: properties.amount(names::PRICE_RATE)?,
            profiles,
            exposure_limit,
        })
    }

    /// Writes the quote into an offer's properties.
    ///
    /// # Errors
    /// [`PropertyError`] when there are too many properties or profiles.
    pub fn write(&self, properties: &mut Properties, domain: &Domain) -> Result<(), PropertyError> {
        let profiles: Vec<String> = self.profiles.iter().map(ToString::to_string).collect();
        properties
            .set_text(names::RUNTIME_NAME, names::RUNTIME)?
            .set_text(names::VAULT, &vault_text(domain))?
            .set_number(names::CHAIN, domain.chain_id)?
            .set_text(names::PRICING_MODEL, names::PRICING_MODEL_FUEL)?
            .set_list(names::PROFILE, profiles.iter().map(String::as_str))?
            .set_amount(names::EXPOSURE, self.exposure_limit)?
            .set_amount(names::PRICE_FLAT, self.flat)?
            .set_amount(names::PRICE_RATE, self.rate)?;
        Ok(())
    }

    /// What an order of `fuel` costs at this quote (SYM-08a).
    ///
    /// # Errors
    /// [`AmountError::TooLarge`] when the price is no amount.
    pub fn price(&self, fuel: u64) -> Result<Amount, AmountError> {
        price(self.flat, self.rate, fuel)
    }

    /// Whether an order of at most `max_fuel` stays within `ceiling`. The
    /// ceiling decides who may be drawn, and nothing else (SYM-28).
    #[must_use]
    pub fn is_within(&self, ceiling: Amount, max_fuel: u64) -> bool {
        self.price(max_fuel).is_ok_and(|price| price <= ceiling)
    }

    /// Checks that an agreement keeps to this quote and to the demand and offer
    /// it came from.
    ///
    /// # Errors
    /// [`TermsError`] naming the first term that differs.
    ///
    /// # Safety of funds
    /// Both sides check this before they sign: whoever signs other terms is bound by them.
    pub fn check(
        &self,
        agreement: &Agreement,
        demand: (DemandDigest, Address),
        offer: (OfferDigest, Address),
        now: Timestamp,
    ) -> Result<(), TermsError> {
        if agreement.demand != demand.0 {
            return Err(TermsError::Demand { expected: demand.0 });
        }
        if agreement.offer != offer.0 {
            return Err(TermsError::Offer { expected: offer.0 });
        }
        for (have, expected) in [(agreement.payer, demand.1), (agreement.payee, offer.1)] {
            if have != expected {
                return Err(TermsError::Party { have, expected });
            }
        }
        let (flat, rate) = (agreement.flat, agreement.rate);
        if (flat, rate) != (self.flat, self.rate) {
            return Err(TermsError::Price { flat, rate });
        }
        if !self.profiles.contains(&agreement.profile) {
            return Err(TermsError::Profile { have: agreement.profile });
        }
        if agreement.exposure_limit > self.exposure_limit {
            return Err(TermsError::Exposure { have: agreement.exposure_limit, offered: self.exposure_limit });
        }
        if agreement.valid_until <= now {
            return Err(TermsError::Over { valid_until: agreement.valid_until });
        }
        Ok(())
    }
}

fn vault_text(domain: &Domain) -> String {
    format!("{:#x}", domain.vault)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::constraint::Constraint;
    use symbolon_primitives::Royalty;

    fn domain() -> Domain {
        Domain { chain_id: 31_337, vault: Address::repeat_byte(0xab) }
    }

    fn quote() -> Quote {
        Quote {
            flat: Amount::from_u64(10),
            rate: Amount::from_u64(3),
            profiles: vec![ProfileId::from_bytes([1; 32]), ProfileId::from_bytes([2; 32])],
            exposure_limit: Amount::from_u64(1_000),
        }
    }

    fn offer(edit: impl FnOnce(&mut Properties)) -> Body {
        let mut properties = Properties::default();
        quote().write(&mut properties, &domain()).unwrap();
        edit(&mut properties);
        Body::new(&properties, &Constraint::Always).unwrap()
    }

    fn agreement() -> Agreement {
        Agreement {
            demand: DemandDigest::from_bytes([1; 32]),
            offer: OfferDigest::from_bytes([2; 32]),
            owner: Address::repeat_byte(9),
            payer: Address::repeat_byte(1),
            payee: Address::repeat_byte(2),
            royalty: Royalty::NONE,
            flat: Amount::from_u64(10),
            rate: Amount::from_u64(3),
            profile: ProfileId::from_bytes([2; 32]),
            exposure_limit: Amount::from_u64(1_000),
            finality_threshold: Amount::ZERO,
            depth: 1,
            commit_secs: 1,
            reserve_secs: 1,
            wait_secs: 1,
            settle_secs: 1,
            keep_secs: 1,
            margin_secs: 1,
            valid_until: Timestamp(100),
        }
    }

    #[test]
    fn a_quote_writes_itself_back_and_prices_as_the_vault_does() {
        assert_eq!(Quote::read(&offer(|_| ()), &domain()), Ok(quote()));
        assert_eq!(quote().price(1_000_000_001), Ok(Amount::from_u64(14)));
        assert!(quote().is_within(Amount::from_u64(14), 1_000_000_001));
        assert!(!quote().is_within(Amount::from_u64(13), 1_000_000_001));
        assert!(!Quote { rate: Amount::MAX, ..quote() }.is_within(Amount::MAX, u64::MAX));
        let one = offer(|p| {
            p.set_text(names::PROFILE, &"ab".repeat(32)).unwrap();
        });
        assert_eq!(Quote::read(&one, &domain()).unwrap().profiles, [ProfileId::from_bytes([0xab; 32])]);
    }

    #[test]
    fn an_offer_for_somebody_else_has_no_quote() {
        let elsewhere = |name, edit: fn(&mut Properties)| {
            assert_eq!(Quote::read(&offer(edit), &domain()), Err(QuoteError::Elsewhere { name }));
        };
        elsewhere(names::RUNTIME_NAME, |p| {
            p.set_text(names::RUNTIME_NAME, "vm").unwrap();
        });
        elsewhere(names::VAULT, |p| {
            p.set_text(names::VAULT, "0x00").unwrap();
        });
        elsewhere(names::CHAIN, |p| {
            p.set_number(names::CHAIN, 1).unwrap();
        });
        elsewhere(names::PRICING_MODEL, |p| {
            p.set_text(names::PRICING_MODEL, "linear").unwrap();
        });
        let bad = offer(|p| {
            p.set_list(names::PROFILE, []).unwrap();
        });
        assert_eq!(Quote::read(&bad, &domain()), Err(QuoteError::NoProfile));
        let bad = offer(|p| {
            p.set_text("symbolon.price.rate@d", "0.5").unwrap();
        });
        assert!(matches!(Quote::read(&bad, &domain()), Err(QuoteError::Property(_))));
    }

    #[test]
    fn sym_20_an_agreement_keeps_to_what_was_signed_before_it() {
        let check = |agreement: Agreement| {
            quote().check(
                &agreement,
                (DemandDigest::from_bytes([1; 32]), Address::repeat_byte(1)),
                (OfferDigest::from_bytes([2; 32]), Address::repeat_byte(2)),
                Timestamp(99),
            )
        };
        assert_eq!(check(agreement()), Ok(()));
        let one = Amount::from_u64(1);
        let wrong = |agreement| check(agreement).unwrap_err();
        assert!(matches!(
            wrong(Agreement { demand: DemandDigest::default(), ..agreement() }),
            TermsError::Demand { .. }
        ));
        assert!(matches!(wrong(Agreement { offer: OfferDigest::default(), ..agreement() }), TermsError::Offer { .. }));
        assert!(matches!(wrong(Agreement { payer: Address::ZERO, ..agreement() }), TermsError::Party { .. }));
        assert!(matches!(wrong(Agreement { payee: Address::ZERO, ..agreement() }), TermsError::Party { .. }));
        assert!(matches!(wrong(Agreement { flat: one, ..agreement() }), TermsError::Price { .. }));
        assert!(matches!(wrong(Agreement { rate: one, ..agreement() }), TermsError::Price { .. }));
        assert!(matches!(
            wrong(Agreement { profile: ProfileId::default(), ..agreement() }),
            TermsError::Profile { .. }
        ));
        let limit = Amount::from_u64(1_001);
        assert!(matches!(wrong(Agreement { exposure_limit: limit, ..agreement() }), TermsError::Exposure { .. }));
        assert!(matches!(wrong(Agreement { valid_until: Timestamp(99), ..agreement() }), TermsError::Over { .. }));
    }
}
