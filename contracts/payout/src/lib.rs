//! Grants that only those who have them see, paid out on the chain.
//!
//! Who owns the contract grants amounts in private; who has a grant draws on it, to any account. What is drawn leaves the cluster: the
//! chain pays it out of the contract's account, in public, without a word on whose grant it was. Anyone may send funds to that account.
//!
//! Guarantees: nobody draws more than was granted to them. Senders control every argument. Does not: know what the account holds. The
//! owner must not grant more than that, for the chain attempts a payment once, and the contract does not learn that it failed. It also fails
//! where an account would begin with less than the chain's existential deposit, and of more than the cluster may pay out in a period: what was
//! drawn in vain is gone from the grant.
#![cfg_attr(target_arch = "wasm32", no_std)]

use phala_sdk::prelude::*;

phala_sdk::types! {
    /// Why a message failed.
    pub enum Error {
        /// Only the owner grants.
        NotTheOwner,
        /// The sender has less left than the amount.
        OverGrant,
        /// The sum does not fit.
        Overflow,
        /// Nothing is no payment.
        Nothing,
    }
}

phala_sdk::contract! {
    /// The contract's storage.
    pub struct Payout {
        owner: Value<AccountId>,
        grants: Map<AccountId, u128>,
    }

    impl Payout {
        /// The deployer owns it.
        constructor fn create(&mut self) {
            self.owner.set(&env::caller());
        }

        /// Grants `amount` more, in 10^-12 PHA, to `to`.
        call fn grant(&mut self, to: AccountId, amount: u128) -> Result<(), Error> {
            ensure!(self.owner.get() == Some(env::caller()), Error::NotTheOwner);
            let granted = self.grants.get_or_default(&to).checked_add(amount).ok_or(Error::Overflow)?;
            self.grants.insert(&to, &granted);
            Ok(())
        }

        /// Has the chain pay `amount` of the sender's grant to `to`.
        call fn withdraw(&mut self, to: AccountId, amount: u128) -> Result<(), Error> {
            ensure!(amount > 0, Error::Nothing);
            let who = env::caller();
            let rest = self.grants.get_or_default(&who).checked_sub(amount).ok_or(Error::OverGrant)?;
            self.grants.insert(&who, &rest);
            env::pay(to, amount);
            Ok(())
        }

        /// What is left of the grant of whoever asks.
        query fn left(&self) -> u128 {
            self.grants.get_or_default(&env::caller())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_sdk::{env::Egress, testing::*};

    fn granted() -> Env {
        let env = Env::new();
        env.deploy::<Payout>(&()).unwrap();
        env.call::<Payout, ()>("grant", &(BOB, 100u128)).unwrap();
        env.set_caller(BOB);
        env
    }

    #[test]
    fn a_grant_is_drawn_to_any_account() {
        let env = granted();
        env.call::<Payout, ()>("withdraw", &(CHARLIE, 30u128)).unwrap();
        assert_eq!(env.egress(), vec![(CONTRACT, Egress::Transfer { to: CHARLIE, amount: 30 })]);
        assert_eq!(env.query::<Payout, u128>("left", &()), Ok(70));
    }

    #[test]
    fn nobody_draws_more_than_is_left_and_what_fails_sends_nothing() {
        let env = granted();
        let failure = env.call::<Payout, ()>("withdraw", &(BOB, 101u128)).unwrap_err();
        assert_eq!(failure.error(), Some(Error::OverGrant));
        let failure = env.call::<Payout, ()>("withdraw", &(BOB, 0u128)).unwrap_err();
        assert_eq!(failure.error(), Some(Error::Nothing));
        env.set_caller(CHARLIE);
        assert!(env.call::<Payout, ()>("withdraw", &(CHARLIE, 1u128)).is_err());
        assert_eq!(env.egress(), vec![]);
    }

    #[test]
    fn only_the_owner_grants() {
        let env = granted();
        let failure = env.call::<Payout, ()>("grant", &(BOB, 1u128)).unwrap_err();
        assert_eq!(failure.error(), Some(Error::NotTheOwner));
        env.set_caller(ALICE);
        let failure = env.call::<Payout, ()>("grant", &(BOB, u128::MAX)).unwrap_err();
        assert_eq!(failure.error(), Some(Error::Overflow));
    }
}
