//! Random bytes as a contract's author tests with them: settable, other ones each time, and none in a query.
#![allow(clippy::unwrap_used, reason = "tests")]

use phala_sdk::{prelude::*, testing::*};
use std::{
    collections::BTreeSet,
    panic::{catch_unwind, AssertUnwindSafe},
};

phala_sdk::types! {
    pub enum Error {
        Closed,
        Drawn([u8; 32]),
    }
}

phala_sdk::contract! {
    /// Draws.
    pub struct Dice {
        last: Value<[u8; 32]>,
    }

    impl Dice {
        constructor fn create(&mut self) {
            self.last.set(&env::random());
        }

        call fn roll(&mut self) -> [u8; 32] {
            let drawn = env::random();
            self.last.set(&drawn);
            drawn
        }

        call fn refuse(&mut self) -> Result<(), Error> {
            Err(Error::Drawn(env::random()))
        }

        /// Draws itself, and has another contract refuse and then roll twice.
        call fn ask(&mut self, other: ContractId) -> Vec<[u8; 32]> {
            let refused = match env::call::<()>(&other, "refuse", &()) {
                Err(env::CallError::Reverted(error)) => <[u8; 32]>::decode_all(&error[2..]).unwrap(),
                result => panic!("{result:?}"),
            };
            let roll = || env::call::<[u8; 32]>(&other, "roll", &()).unwrap();
            vec![env::random(), refused, roll(), roll()]
        }

        query fn last(&self) -> Option<[u8; 32]> {
            self.last.get()
        }

        query fn peek(&self) -> [u8; 32] {
            env::random()
        }
    }
}

const OTHER: ContractId = ContractId([0xd0; 32]);

fn roll(env: &Env) -> [u8; 32] {
    env.call::<Dice, [u8; 32]>("roll", &()).unwrap()
}

#[test]
fn random_bytes_follow_the_seed_and_are_others_each_time() {
    let env = Env::new();
    let rolls = |seed: u64| {
        env.set_seed(seed);
        let mut rolls = vec![roll(&env), roll(&env)];
        env.set_contract(OTHER);
        rolls.push(roll(&env));
        env.set_contract(CONTRACT);
        rolls
    };
    let (first, second) = (rolls(1), rolls(2));
    assert_eq!(rolls(1), first, "a seed repeats");
    let all: BTreeSet<_> = first.iter().chain(&second).collect();
    assert_eq!(all.len(), 6, "commands, contracts and seeds differ");
    env.deploy::<Dice>(&()).unwrap();
    let constructed = env.query::<Dice, Option<[u8; 32]>>("last", &()).unwrap().unwrap();
    assert!(!all.contains(&constructed));
    let [mut long, mut other] = [[0u8; 256]; 2];
    for bytes in [&mut long, &mut other] {
        *bytes = env::random();
    }
    assert_ne!(long, other);
    assert_ne!(long[..32], long[32..64]);
}

#[test]
fn a_call_that_failed_has_used_up_what_it_drew() {
    let env = Env::new();
    env.install::<Dice>(OTHER);
    let drawn = env.call::<Dice, Vec<[u8; 32]>>("ask", &(OTHER,)).unwrap();
    assert_ne!(drawn[1], drawn[2], "it refused, showed what it drew, and was called again");
    assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 4);
}

#[test]
fn a_query_that_draws_is_stopped() {
    let env = Env::new();
    assert!(env.query::<Dice, Option<[u8; 32]>>("last", &()).is_ok());
    assert!(catch_unwind(AssertUnwindSafe(|| env.query::<Dice, [u8; 32]>("peek", &()))).is_err());
}
