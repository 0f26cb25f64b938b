//! What `sol!` makes of the artifacts. Documentation of every item stands in `src/interfaces`.
#![allow(missing_docs, clippy::too_many_arguments)]

mod vault_abi {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        Vault,
        "../artifacts/Vault.json"
    );
}
mod court_abi {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        Court,
        "../artifacts/Court.json"
    );
}
mod factory_abi {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        Factory,
        "../artifacts/Factory.json"
    );
}
mod token_abi {
    alloy_sol_types::sol!(
        #[sol(all_derives)]
        DevToken,
        "../artifacts/DevToken.json"
    );
}

pub use court_abi::Court as court;
pub use factory_abi::Factory as factory;
pub use token_abi::DevToken as token;
pub use vault_abi::Vault as vault;
