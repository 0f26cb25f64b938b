//! Fuel vectors (SYM-31b): small modules whose fuel and result the profile fixes.
//!
//! Texts and binaries lie in `vectors/`; a test assembles the texts again.

use crate::engine::{Cancel, Engine, Inputs};
use crate::profile::ProfileError;
use symbolon_primitives::{ContentRef, Level, Limits, Workunit};

/// One vector.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) module: &'static [u8],
    /// Fuel that it burns.
    pub(crate) fuel: u64,
    /// Its result root.
    pub(crate) root: [u8; 32],
}

include!("../vectors/expected.in");

/// The workunit that a vector is run as. The module's own reference stays out, so
/// that randomness depends on the profile's numbers only through its id.
pub(crate) fn workunit() -> Workunit {
    Workunit {
        module: ContentRef::from_bytes([0; 32]),
        args: vec!["vector".to_owned()],
        env: Vec::new(),
        inputs: Vec::new(),
        level: Level::Command,
        limits: Limits { memory_bytes: 4 << 20, output_bytes: 1 << 20, files: 16 },
        max_fuel: 10_000_000,
        seed: [0; 32],
    }
}

impl Engine {
    /// Runs the profile's fuel vectors on this machine. A node serves a profile only
    /// after this.
    ///
    /// # Errors
    /// [`ProfileError::OtherNumbers`] and [`ProfileError::OtherResult`].
    ///
    /// # Safety of funds
    /// A node whose engine counts differently disagrees with every honest replica:
    /// its work is never paid.
    pub fn self_check(&self) -> Result<(), ProfileError> {
        for vector in VECTORS {
            self.check(vector)?;
        }
        Ok(())
    }

    pub(crate) fn check(&self, vector: &Vector) -> Result<(), ProfileError> {
        let other = ProfileError::OtherResult { vector: vector.name };
        let module = self.compile(vector.module).map_err(|_| other)?;
        let execution = self.run(&module, &workunit(), &Inputs::new(), &Cancel::new()).map_err(|_| other)?;
        if execution.fuel != vector.fuel {
            return Err(ProfileError::OtherNumbers {
                vector: vector.name,
                expected: vector.fuel,
                found: execution.fuel,
            });
        }
        if *execution.result_root().as_bytes() != vector.root {
            return Err(other);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn sym_31b_vectors_are_what_their_texts_say() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
        for vector in VECTORS {
            let text = std::fs::read_to_string(format!("{dir}/{}.wat", vector.name)).unwrap();
            assert_eq!(wat::parse_str(&text).unwrap(), vector.module, "{}", vector.name);
        }
    }

    #[test]
    fn sym_31b_this_machine_counts_as_the_profile_says() {
        Engine::new(Profile::V1).unwrap().self_check().unwrap();
    }

    #[test]
    fn sym_31b_other_numbers_are_refused() {
        let engine = Engine::new(Profile::V1).unwrap();
        let good = VECTORS.first().unwrap();
        let mut other = Vector { fuel: good.fuel + 1, ..*good };
        assert_eq!(
            engine.check(&other),
            Err(ProfileError::OtherNumbers { vector: good.name, expected: good.fuel + 1, found: good.fuel })
        );
        other.fuel = good.fuel;
        other.root = [0; 32];
        assert_eq!(engine.check(&other), Err(ProfileError::OtherResult { vector: good.name }));
    }

    /// Whatever moves the text makes another profile: nodes that agreed before no
    /// longer do. Change this only together with the profile's number.
    #[test]
    fn sym_31b_profile_id_is_pinned() {
        assert_eq!(Profile::V1.id().to_string(), PINNED, "{}", Profile::V1.text());
    }

    const PINNED: &str = "cb38aa681b2ee8b0c4ca6c4f65c364bcae41eea251dad91950bc434e5d48a017";

    #[test]
    fn sym_31b_profile_names_the_locked_engine() {
        let lock = include_str!("../../../Cargo.lock");
        let entry = format!("name = \"wasmtime\"\nversion = \"{}\"\n", crate::profile::ENGINE_VERSION);
        assert!(lock.contains(&entry), "the lock file has another engine than the profile");
    }
}
