//! Contracts as their authors write them, on the SDK's own network.
#![allow(clippy::unwrap_used, reason = "tests")]

use phala_sdk::{codec::Encode, prelude::*, testing::*, Contract, Field};
use std::panic::{catch_unwind, AssertUnwindSafe};

phala_sdk::types! {
    /// What is for sale.
    pub struct Offer {
        seller: AccountId,
        price: u128,
        note: Option<String>,
    }

    pub enum Error {
        SoldOut,
        PriceIs(u128),
        Other(Offer),
        Callee,
    }
}

phala_sdk::contract! {
    /// Uses everything there is.
    pub struct Market {
        offers: Map<u32, Offer>,
        count: Value<u32>,
        by_text: Map<String, u8>,
    }

    event Offered { index: u32, offer: Offer }
    event Closed {}

    impl Market {
        constructor fn create(&mut self, first: u32) -> Result<(), Error> {
            ensure!(first < 100, Error::PriceIs(100));
            self.count.set(&first);
            Ok(())
        }

        call fn offer(&mut self, price: u128, note: Option<String>) -> u32 {
            let index = self.next();
            let offer = Offer { seller: env::caller(), price, note };
            self.offers.insert(&index, &offer);
            env::emit(Offered { index, offer });
            index
        }

        call fn take(&mut self, index: u32) -> Result<Offer, Error> {
            self.count.set(&1_000);
            env::emit(Closed {});
            let offer = self.offers.get(&index).ok_or(Error::SoldOut)?;
            ensure!(env::value() == offer.price, Error::PriceIs(offer.price));
            self.offers.remove(&index);
            Ok(offer)
        }

        /// Sneaks around its `&self`.
        query fn cheat(&self) {
            Market::open().count.set(&0);
        }

        query fn context(&self) -> (AccountId, ContractId, u32, u64) {
            (env::caller(), env::contract_id(), env::block_number(), env::block_time_ms())
        }

        query fn bytes(&self, data: Vec<u8>, fixed: [u8; 4], nested: Vec<Option<bool>>) -> Vec<u8> {
            ensure_used(&fixed, &nested);
            data
        }

        query fn total(&self) -> u32 {
            self.count.get_or_default()
        }

        query fn own(&self, index: u32) -> Result<Offer, Denied> {
            self.offers.get(&index).filter(|offer| offer.seller == env::caller()).ok_or(Denied)
        }

        query fn price_of_own(&self, index: u32) -> Result<Result<u128, Error>, Denied> {
            let offer = self.own(index)?;
            Ok(if offer.price == 0 { Err(Error::SoldOut) } else { Ok(offer.price) })
        }
    }
}

fn ensure_used(_: &[u8; 4], _: &[Option<bool>]) {}

impl Market {
    fn next(&mut self) -> u32 {
        let index = self.total();
        self.count.set(&(index + 1));
        index
    }
}

mod relay {
    use super::{env, ContractId, Decode, Encode, Error, Value};

    phala_sdk::contract! {
        /// Calls another contract.
        pub struct Relay {
            target: Value<ContractId>,
        }

        impl Relay {
            constructor fn create(&mut self, target: ContractId) {
                self.target.set(&target);
            }

            call fn offer(&mut self, price: u128) -> Result<u32, Error> {
                env::call(&self.target.get().unwrap(), "offer", &(price, None::<u8>)).map_err(|_| Error::Callee)
            }

            call fn take(&mut self, index: u32) -> bool {
                env::call::<super::Offer>(&self.target.get().unwrap(), "take", &(index,)).is_ok()
            }

            query fn total(&self) -> Option<u32> {
                env::query(&self.target.get().unwrap(), "total", &()).ok()
            }

            query fn itself(&self) -> bool {
                env::query::<Option<u32>>(&env::contract_id(), "total", &()) == Err(env::CallError::Reentrant)
            }
        }
    }

    const _: fn() = || {
        fn codec<T: Encode + Decode>() {}
        codec::<Error>();
    };
}

const MARKET: ContractId = ContractId([0xd0; 32]);

#[test]
fn messages_are_plain_functions_in_tests() {
    let env = Env::new();
    let mut market = Market::open();
    assert_eq!(market.create(3), Ok(()));
    env.set_caller(BOB);
    assert_eq!(market.offer(5, Some("car".into())), 3);
    let offer = Offer { seller: BOB, price: 5, note: Some("car".into()) };
    assert_eq!(env.events::<Offered>(), vec![Offered { index: 3, offer: offer.clone() }]);
    env.set_value(5);
    assert_eq!(market.take(3), Ok(offer));
}

#[test]
fn error_of_a_message_is_returned_and_takes_its_writes_back() {
    let env = Env::new();
    env.deploy::<Market>(&(0u32,)).unwrap();
    env.call::<Market, u32>("offer", &(5u128, None::<String>)).unwrap();
    let failure = env.call::<Market, Offer>("take", &(0u32,)).unwrap_err();
    assert_eq!(failure.error(), Some(Error::PriceIs(5)));
    assert_eq!(env.query::<Market, u32>("total", &()), Ok(1));
    assert_eq!(env.events::<Closed>(), vec![]);
    let failure = env.call::<Market, Offer>("take", &(9u32,)).unwrap_err();
    assert_eq!(failure.error(), Some(Error::SoldOut));
}

#[test]
fn constructor_can_refuse() {
    let env = Env::new();
    assert_eq!(env.deploy::<Market>(&(100u32,)).unwrap_err().error(), Some(Error::PriceIs(100)));
    assert_eq!(env.call::<Market, ()>("create", &(1u32,)), Err(Failure::UnknownMethod), "only when deployed");
}

#[test]
fn what_is_anothers_is_denied_as_what_is_not_there() {
    let env = Env::new();
    env.deploy::<Market>(&(0u32,)).unwrap();
    for price in [5u128, 0] {
        env.call::<Market, u32>("offer", &(price, None::<String>)).unwrap();
    }
    assert_eq!(env.query::<Market, Offer>("own", &(0u32,)).unwrap().price, 5);
    assert_eq!(env.query::<Market, u128>("price_of_own", &(0u32,)), Ok(5));
    assert_eq!(env.query::<Market, u128>("price_of_own", &(1u32,)).unwrap_err().error(), Some(Error::SoldOut));
    env.set_caller(BOB);
    for index in [0u32, 9] {
        assert_eq!(env.query::<Market, Offer>("own", &(index,)), Err(Failure::Denied));
        assert_eq!(env.query::<Market, u128>("price_of_own", &(index,)), Err(Failure::Denied));
    }
    let metadata: serde_json::Value = serde_json::from_str(Market::METADATA.as_str()).unwrap();
    let described = |index: usize| (&metadata["messages"][index]["returns"], &metadata["messages"][index]["error"]);
    assert_eq!(described(6).1, &serde_json::Value::Null, "what is denied is no error of the contract's own");
    assert_eq!(described(7).0, "u128");
    assert_eq!(described(7).1, &metadata["constructor"]["error"]);
}

#[test]
fn arguments_of_other_types_reach_no_code() {
    let env = Env::new();
    assert_eq!(env.call::<Market, Offer>("take", &()), Err(Failure::BadArguments));
    assert_eq!(env.call::<Market, Offer>("take", &(1u32, 2u8)), Err(Failure::BadArguments));
    assert_eq!(env.query::<Market, u32>("nothing", &()), Err(Failure::UnknownMethod));
}

#[test]
fn query_that_writes_is_stopped() {
    let env = Env::new();
    let stopped = catch_unwind(AssertUnwindSafe(|| env.query::<Market, ()>("cheat", &())));
    assert!(stopped.is_err());
}

#[test]
fn context_is_what_the_test_says() {
    let env = Env::new();
    env.set_caller(CHARLIE);
    env.set_block(7, 8);
    assert_eq!(env.query::<Market, _>("context", &()), Ok((CHARLIE, CONTRACT, 7u32, 8u64)));
    let data = vec![1u8, 2, 3];
    assert_eq!(env.query::<Market, _>("bytes", &(data.clone(), [0u8; 4], vec![Some(true), None])), Ok(data));
}

#[test]
fn contracts_call_each_other_as_themselves() {
    use relay::Relay;
    let env = Env::new();
    env.set_contract(MARKET);
    env.deploy::<Market>(&(0u32,)).unwrap();
    env.set_contract(CONTRACT);
    env.deploy::<Relay>(&(MARKET,)).unwrap();
    assert_eq!(env.call::<Relay, u32>("offer", &(9u128,)), Ok(0));
    assert_eq!(env.events::<Offered>()[0].offer.seller, AccountId::from(CONTRACT));
    assert_eq!(env.query::<Relay, _>("total", &()), Ok(Some(1u32)));
    assert_eq!(env.call::<Relay, bool>("take", &(0u32,)), Ok(false), "costs 9");
    assert_eq!(env.query::<Relay, _>("total", &()), Ok(Some(1u32)), "what the callee wrote is taken back");
    assert_eq!(env.query::<Relay, _>("itself", &()), Ok(true));
}

#[test]
fn fields_never_overlap() {
    let _env = Env::new();
    let (mut a, mut ab) = (Map::<String, u8>::at("a"), Map::<String, u8>::at("ab"));
    let mut a_value = Value::<u8>::at("a");
    a.insert(&"bc".into(), &1);
    ab.insert(&"c".into(), &2);
    a_value.set(&3);
    assert_eq!((a.get(&"bc".into()), ab.get(&"c".into()), a_value.get()), (Some(1), Some(2), Some(3)));
    let mut market = Market::open();
    let (long, longer) = ("x".repeat(500), "x".repeat(501));
    market.by_text.insert(&long, &4);
    assert_eq!((market.by_text.get(&long), market.by_text.get(&longer)), (Some(4), None));
    market.by_text.remove(&long);
    assert!(!market.by_text.contains(&long));
    a_value.clear();
    assert_eq!(a_value.get_or_default(), 0);
}

#[test]
fn metadata_describes_what_the_code_decodes() {
    let metadata: serde_json::Value = serde_json::from_str(Market::METADATA.as_str()).unwrap();
    let offer =
        serde_json::json!({"struct": [["seller", "account"], ["price", "u128"], ["note", {"option": "string"}]]});
    let error =
        serde_json::json!({"enum": [["SoldOut", null], ["PriceIs", "u128"], ["Other", offer], ["Callee", null]]});
    assert_eq!(
        metadata["constructor"],
        serde_json::json!({"name": "create", "args": [["first", "u32"]], "error": error})
    );
    assert_eq!(
        metadata["messages"][0],
        serde_json::json!({"name": "offer", "kind": "call", "args": [["price", "u128"], ["note", {"option": "string"}]],
            "returns": "u32", "error": null})
    );
    assert_eq!(metadata["messages"][1]["error"], error);
    assert_eq!(
        metadata["messages"][4],
        serde_json::json!({"name": "bytes", "kind": "query", "args": [["data", "bytes"], ["fixed", {"array": ["u8", 4]}],
            ["nested", {"vec": {"option": "bool"}}]], "returns": "bytes", "error": null})
    );
    assert_eq!(metadata["messages"][3]["returns"], serde_json::json!({"tuple": ["account", "contract", "u32", "u64"]}));
    assert_eq!(
        metadata["events"][0],
        serde_json::json!({"name": "Offered", "fields": [["index", "u32"], ["offer", offer]]})
    );
    assert_eq!(metadata["events"][1], serde_json::json!({"name": "Closed", "fields": []}));
    assert_eq!((&metadata["abi"], &metadata["name"]), (&serde_json::json!(1), &serde_json::json!("phala-sdk")));
}

#[test]
fn variants_are_numbered_in_their_order() {
    assert_eq!(Error::SoldOut.encode(), [0]);
    assert_eq!(Error::PriceIs(1).encode()[..2], [1, 1]);
    assert_eq!(Error::decode_all(&[3]), Ok(Error::Callee));
    assert!(Error::decode_all(&[4]).is_err());
}
