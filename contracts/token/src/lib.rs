//! A confidential token.
//!
//! The deployer receives the whole supply. An account can ask for its own balance and for nobody else's; a transfer
//! is known to its sender, and to its recipient by what changed. The total supply is public to whoever asks.
//!
//! Guarantees: the balances always add up to the supply, and no transfer makes one negative. Senders control every
//! argument.
#![cfg_attr(target_arch = "wasm32", no_std)]

use phala_sdk::prelude::*;

phala_sdk::types! {
    /// Why a message failed.
    pub enum Error {
        /// The sender has less than the amount.
        InsufficientBalance,
    }
}

phala_sdk::contract! {
    /// The token's storage.
    pub struct Token {
        total_supply: Value<u128>,
        balances: Map<AccountId, u128>,
    }

    /// An amount has moved.
    event Transfer { from: AccountId, to: AccountId, amount: u128 }

    impl Token {
        /// Gives the whole supply to the deployer.
        constructor fn create(&mut self, total_supply: u128) {
            self.total_supply.set(&total_supply);
            self.balances.insert(&env::caller(), &total_supply);
        }

        /// Moves `amount` from the sender to `to`.
        call fn transfer(&mut self, to: AccountId, amount: u128) -> Result<(), Error> {
            let from = env::caller();
            let rest = self.balances.get_or_default(&from).checked_sub(amount).ok_or(Error::InsufficientBalance)?;
            self.balances.insert(&from, &rest);
            // Read after the write above, so that a transfer to oneself changes nothing. The sum is at most the
            // supply.
            let received = self.balances.get_or_default(&to) + amount;
            self.balances.insert(&to, &received);
            env::emit(Transfer { from, to, amount });
            Ok(())
        }

        /// What the one who asks has.
        query fn balance(&self) -> u128 {
            self.balances.get_or_default(&env::caller())
        }

        /// What all have together.
        query fn total_supply(&self) -> u128 {
            self.total_supply.get_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phala_sdk::testing::*;

    fn deployed() -> (Env, Token) {
        let env = Env::new();
        env.deploy::<Token>(&(1_000u128,)).unwrap();
        (env, Token::open())
    }

    #[test]
    fn deployer_has_the_whole_supply() {
        let (env, token) = deployed();
        assert_eq!(token.total_supply(), 1_000);
        assert_eq!(token.balance(), 1_000);
        env.set_caller(BOB);
        assert_eq!(token.balance(), 0);
    }

    #[test]
    fn transfer_moves_the_amount_and_says_so() {
        let (env, mut token) = deployed();
        assert_eq!(token.transfer(BOB, 30), Ok(()));
        assert_eq!(token.balance(), 970);
        env.set_caller(BOB);
        assert_eq!(token.balance(), 30);
        assert_eq!(env.events::<Transfer>(), vec![Transfer { from: ALICE, to: BOB, amount: 30 }]);
    }

    #[test]
    fn refuses_more_than_the_balance_and_changes_nothing() {
        let (env, token) = deployed();
        let failure = env.call::<Token, ()>("transfer", &(BOB, 1_001u128)).unwrap_err();
        assert_eq!(failure.error(), Some(Error::InsufficientBalance));
        assert_eq!(token.balance(), 1_000);
        assert_eq!(env.events::<Transfer>(), vec![]);
    }

    #[test]
    fn transfer_to_oneself_mints_nothing() {
        let (_env, mut token) = deployed();
        assert_eq!(token.transfer(ALICE, 1_000), Ok(()));
        assert_eq!(token.balance(), 1_000);
    }

    #[test]
    fn a_query_is_not_a_call_nor_a_call_a_query() {
        let (env, _token) = deployed();
        assert_eq!(env.query::<Token, ()>("transfer", &(BOB, 1u128)), Err(Failure::UnknownMethod));
        assert_eq!(env.call::<Token, u128>("balance", &()), Err(Failure::UnknownMethod));
    }
}
