//! Why a module is not taken (SYM-30), decided from its bytes alone.

/// The reason for which a module is refused at load. The same everywhere: none
/// depends on the machine, except [`Refused::Compiler`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The module is longer than the profile allows: without its custom sections, or with them and much longer.
    #[error("module of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its length, without or with them.
        bytes: usize,
        /// The profile's bound.
        max: usize,
    },
    /// The bytes are no valid module under any known feature.
    #[error("not a valid module: {detail} (byte {offset})")]
    Malformed {
        /// Where validation stopped.
        offset: usize,
        /// What the validator says about it.
        detail: String,
    },
    /// The module needs a feature outside of the profile.
    #[error("module needs {feature}, which the profile leaves out")]
    Feature {
        /// The feature's name.
        feature: &'static str,
    },
    /// The module has more of something than the profile allows.
    #[error("{count} {what}, at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
        /// The profile's bound.
        max: u64,
    },
    /// A function has more of something than the profile allows.
    #[error("function {function} has {count} {what}, at most {max} are allowed")]
    Function {
        /// Its index, imported functions counted first.
        function: u32,
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
        /// The profile's bound.
        max: u64,
    },
    /// An import that the virtual world does not offer.
    #[error("import {module}.{name} does not exist here")]
    UnknownImport {
        /// The module named.
        module: String,
        /// The name in it.
        name: String,
    },
    /// An import of a memory, table, global or tag; only functions can be imported.
    #[error("import {module}.{name} is no function")]
    ImportKind {
        /// The module named.
        module: String,
        /// The name in it.
        name: String,
    },
    /// An import with another signature than the interface gives it.
    #[error("import {name} has another signature")]
    ImportSignature {
        /// The function.
        name: String,
    },
    /// An exception reference where it could outlive its catch.
    #[error("exnref in a {place}")]
    StoredException {
        /// `table` or `global`.
        place: &'static str,
    },
    /// The compiler gave up. Says nothing about other machines.
    #[error("the compiler refuses the module")]
    Compiler,
}

impl Refused {
    /// A short stable name, for statistics and tests.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::Malformed { .. } => "malformed",
            Self::Feature { .. } => "feature",
            Self::TooMany { .. } | Self::Function { .. } => "too-many",
            Self::UnknownImport { .. } => "unknown-import",
            Self::ImportKind { .. } => "import-kind",
            Self::ImportSignature { .. } => "import-signature",
            Self::StoredException { .. } => "stored-exception",
            Self::Compiler => "compiler",
        }
    }
}
