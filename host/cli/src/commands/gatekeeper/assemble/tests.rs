//! What is found of a ceremony in the states of a chain, and what a node that is played can prove of it.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::*;
use jsonrpsee::{
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
    RpcModule,
};
use phala_client::{
    network::Pin,
    transcript::{
        testing::{ceremony, identities},
        Gap, Shown,
    },
};
use phala_crypto::{signature::ed25519::IdentityKey, Secret};
use phala_light_client::{limits::MAX_ANCESTORS, testing::TestChain};
use phala_protocol::{
    ceremony::{Phase, SignedStatement, Statement},
    hash::blake2_256,
    identities::{IdentityStatement, SignedIdentityStatement},
    ids::to_hex,
    storage, WorkerId,
};
use serde_json::{json, Value};
use std::{net::Ipv4Addr, sync::Mutex};

const GENESIS: Hash = [7; 32];

fn key(index: u8) -> IdentityKey {
    IdentityKey::from_seed(&Secret::new([index; 32]))
}

fn record(era: u32, attempt: u32) -> CeremonyRecord {
    let mut record = CeremonyRecord::new(era, attempt, &[1, 2, 3, 4].map(|index| WorkerId(key(index).public())));
    record.begin(Phase::Commit, 10, 50);
    record
}

fn commit(index: u8, record: &CeremonyRecord, package: Hash) -> SignedStatement {
    let mut signed = SignedStatement {
        era: record.era,
        attempt: record.attempt,
        index: index.into(),
        statement: Statement::Commit { package },
        signature: [0; 64],
    };
    signed.signature = key(index).sign(&signed.signing_payload(&GENESIS));
    signed
}

fn walk<K: FileKind>(search: &mut Search<K>, states: &[(BlockNumber, Option<&K>)]) -> bool {
    states.iter().any(|(number, record)| search.take(*number, [*number as u8; 32], record.map(Encode::encode)).unwrap())
}

#[test]
fn a_ceremony_is_found_from_its_end_to_its_beginning_and_nothing_else() {
    let (before, first, second) = (record(1, 0), record(2, 0), record(2, 1));
    let mut later = first.clone();
    later.seats[0].package = Some([1; 32]);
    let states = [
        (29, None),
        (28, Some(&second)),
        (27, Some(&later)),
        (26, Some(&later)),
        (25, Some(&first)),
        (24, None),
        (23, Some(&before)),
    ];
    let heads =
        |search: &Search<CeremonyRecord>| search.records().records.iter().map(|(head, _)| *head).collect::<Vec<_>>();
    let mut newest = Search::new(None, None);
    assert!(walk(&mut newest, &states));
    assert_eq!((newest.era, heads(&newest), newest.from_its_beginning), (Some(2), vec![25, 26, 28], true));
    // The attempt after shows what the one that was asked for led to.
    let mut one = Search::new(None, Some(0));
    assert!(walk(&mut one, &states));
    assert_eq!((heads(&one), one.runs.len()), (vec![25, 26, 28], 2));
    let mut other = Search::new(Some(1), None);
    assert!(!walk(&mut other, &states), "older blocks were not looked at");
    assert_eq!((heads(&other), other.from_its_beginning), (vec![23], false));
    let mut none = Search::new(Some(9), None);
    assert!(!walk(&mut none, &states) && none.runs.is_empty());
    assert!(none.take(22, [0; 32], Some(vec![1])).is_err(), "no record");
}

#[test]
fn a_statement_is_found_in_a_batch_and_only_if_it_was_taken_and_signed() {
    let mut shown = record(0, 0);
    shown.seats[1].package = Some([5; 32]);
    let taken = commit(2, &shown, [5; 32]);
    let refused = commit(2, &shown, [6; 32]);
    let mut forged = taken;
    forged.signature[0] ^= 1;
    // Zeros look like era and attempt 0.
    let batch = [&[0; 40][..], &refused.encode(), &[8; 3], &forged.encode(), &taken.encode(), &[0; 9]].concat();
    assert_eq!(statements(&batch, &shown, &GENESIS), [taken]);
    assert_eq!(statements(&batch, &shown, &[8; 32]), [], "of another chain");
    assert_eq!(statements(&batch[..50], &shown, &GENESIS), []);
    assert_eq!(statements(&[], &shown, &GENESIS), []);
}

/// A node that is played.
struct Fake {
    chain: Mutex<TestChain>,
    /// Hashes of its blocks, by their number.
    hashes: Vec<Hash>,
    /// The first block whose state it has.
    states_from: u32,
    /// The first block of whose state it proves something.
    proofs_from: u32,
    /// The first block for which it has a justification.
    justified_from: u32,
    /// How many blocks after a block the next one is that has a justification.
    justified_after: u32,
    /// Whether it has what ended authority sets.
    has_sets: bool,
    /// The extrinsic of every block.
    extrinsic: Vec<u8>,
    /// What it says that this key has in every state that has it, if not what it is.
    lie: Option<(Vec<u8>, Vec<u8>)>,
}

type Answer = Result<Value, ErrorObjectOwned>;

fn hashes(chain: &TestChain) -> Vec<Hash> {
    (0..=chain.best()).map(|number| blake2_256(&chain.header(number).encode())).collect()
}

impl Fake {
    fn new(chain: TestChain, extrinsic: Vec<u8>) -> Self {
        Self {
            hashes: hashes(&chain),
            chain: Mutex::new(chain),
            states_from: 0,
            proofs_from: 0,
            justified_from: 0,
            justified_after: 1,
            has_sets: true,
            extrinsic,
            lie: None,
        }
    }

    /// The chain goes on for so many blocks, and only that far on is anything justified.
    fn go_on(&mut self, blocks: u32) {
        let chain = self.chain.get_mut().unwrap();
        chain.build_blocks(blocks as usize);
        (self.hashes, self.justified_after) = (hashes(chain), blocks);
    }

    fn number(&self, hash: &Value) -> u32 {
        let found = self.hashes.iter().position(|known| Some(to_hex(known).as_str()) == hash.as_str());
        u32::try_from(found.unwrap()).unwrap()
    }

    fn hash(&self, number: u32) -> Value {
        to_hex(&self.hashes[number as usize]).into()
    }

    fn answer(&self, method: &str, params: &[Value]) -> Answer {
        let mut chain = self.chain.lock().unwrap();
        let best = chain.best();
        let number = |value: Option<&Value>| value.and_then(Value::as_u64).map(|number| u32::try_from(number).unwrap());
        let missing = |code: i32| Err(ErrorObjectOwned::owned(code, "this node has not kept it", None::<()>));
        let bytes = |text: &Value| hex::decode(&text.as_str().unwrap()[2..]).unwrap();
        Ok(match method {
            "chain_getBlockHash" => self.hash(number(params.first()).unwrap_or(best)),
            "chain_getFinalizedHead" => self.hash(best),
            "chain_getHeader" => {
                let zero = to_hex(&[0; 32]);
                let number = format!("0x{:x}", self.number(&params[0]));
                let digest = json!({"logs": []});
                json!({"parentHash": zero, "number": number, "stateRoot": zero, "extrinsicsRoot": zero, "digest": digest})
            }
            "chain_getBlock" => json!({"block": {"extrinsics": [to_hex(&self.extrinsic)]}}),
            "state_getStorage" => {
                let at = self.number(&params[1]);
                if at < self.states_from {
                    return missing(4003);
                }
                let key = bytes(&params[0]);
                let lie = self.lie.as_ref().filter(|(of, _)| *of == key).map(|(_, said)| said);
                json!(chain.value(at, &key).map(|value| to_hex(lie.unwrap_or(value))))
            }
            "state_getReadProof" => {
                let at = self.number(&params[1]);
                if at < self.proofs_from {
                    return missing(4003);
                }
                let keys: Vec<Vec<u8>> = params[0].as_array().unwrap().iter().map(bytes).collect();
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let nodes: Vec<String> = chain.read_proof(at, &keys).iter().map(|node| to_hex(node)).collect();
                json!({"at": params[1], "proof": nodes})
            }
            "phala_justification" => {
                let first = number(params.first()).unwrap();
                if first < self.justified_from {
                    return missing(7003);
                }
                let justified = (first + self.justified_after).min(best);
                let headers: Vec<String> =
                    (first..=justified).map(|number| to_hex(&chain.header(number).encode())).collect();
                let justification = to_hex(&chain.justify(justified).encode());
                json!({"number": justified, "headers": headers, "justification": justification})
            }
            "phala_finalityProof" if !self.has_sets => return missing(7003),
            "phala_finalityProof" => json!(to_hex(&chain.proof(number(params.first()).unwrap(), best).encode())),
            _ => return missing(-32601),
        })
    }

    /// Serves, and connects to itself from the genesis on that is its own.
    async fn connect(self) -> (Network, ServerHandle) {
        const METHODS: [&str; 8] = [
            "chain_getBlockHash",
            "chain_getFinalizedHead",
            "chain_getHeader",
            "chain_getBlock",
            "state_getStorage",
            "state_getReadProof",
            "phala_justification",
            "phala_finalityProof",
        ];
        let pin = {
            let chain = self.chain.lock().unwrap();
            Pin { genesis: chain.genesis_hash(), anchor: chain.anchor() }
        };
        let server = Server::builder().build((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let mut module = RpcModule::new(self);
        for method in METHODS {
            let registered = module.register_method(method, move |params, fake, _| -> Answer {
                fake.answer(method, &params.parse::<Vec<Value>>().unwrap_or_default())
            });
            registered.unwrap();
        }
        let running = server.start(module);
        (Network::connect(&url, pin).await.unwrap(), running)
    }
}

/// What is written down of the ceremony on this chain, in each of whose blocks stands this statement, from a node that `alter` left so.
async fn assembled_of<K: FileKind>(
    chain: TestChain,
    statement: &K::Statement,
    attempt: Option<u32>,
    alter: impl FnOnce(&mut Fake),
) -> Result<ProvedTranscript<K>, CliError> {
    let mut fake = Fake::new(chain, [&[7; 9][..], &statement.encode()].concat());
    alter(&mut fake);
    let (network, _running) = fake.connect().await;
    let args = TranscriptArgs { identities: false, era: None, attempt, before: None, output: "unused".into() };
    assemble(&network, &args).await
}

/// What is written down of the ceremony that [`ceremony`] makes.
async fn assembled(alter: impl FnOnce(&mut Fake)) -> ProvedTranscript {
    let made = ceremony();
    assembled_of::<CeremonyRecord>(made.chain, &made.file.transcript.statements[0], None, alter).await.unwrap()
}

/// What is written down of the ceremony of identities that [`identities::handed_over`] makes.
async fn assembled_identities(
    attempt: Option<u32>,
    alter: impl FnOnce(&mut Fake),
) -> Result<ProvedTranscript<IdentityCeremonyRecord>, CliError> {
    let made = identities::handed_over();
    assembled_of(made.chain, &made.file.transcript.statements[0], attempt, alter).await
}

fn gaps<K: FileKind>(file: &ProvedTranscript<K>) -> Vec<Option<Gap>> {
    let gap = |shown: &Shown| match shown {
        Shown::Proved(_) => None,
        Shown::NotProved(gap) => Some(*gap),
    };
    file.proofs.records.iter().map(gap).collect()
}

#[tokio::test]
async fn what_a_node_has_kept_is_proved_and_the_rest_is_said_to_be_its_word() {
    let made = ceremony().file;
    let file = assembled(|_| ()).await;
    assert_eq!(file.transcript, made.transcript, "records, and the statement that stands in a block");
    let checked = transcript::check(&made.genesis, &file).unwrap().json();
    assert_eq!((&checked["proved"], &checked["anchored"]), (&json!(5), &json!(true)));
    assert_eq!(checked["root"]["recorded"], true);

    let file = assembled(|fake| (fake.proofs_from, fake.justified_from) = (10, 2)).await;
    assert_eq!(gaps(&file), [Some(Gap::NoFinality), Some(Gap::NoState), None, None, None]);
    let checked = transcript::check(&made.genesis, &file).unwrap().json();
    assert_eq!((&checked["proved"], &checked["anchored"]), (&json!(3), &json!(false)));

    // Of a node that prunes: what it has of the ceremony, proved.
    let file = assembled(|fake| (fake.states_from, fake.proofs_from) = (10, 10)).await;
    assert_eq!((file.transcript.records.len(), gaps(&file)), (3, vec![None; 3]));
    // Of one that was synchronised without the blocks before, or has no justifications: nothing.
    // And of one whose justifications are further from the records than whoever checks goes.
    let far = assembled(|fake| fake.go_on(MAX_ANCESTORS as u32 + 2)).await;
    let none = assembled(|fake| fake.justified_from = 99).await;
    for none in [none, assembled(|fake| fake.has_sets = false).await, far] {
        assert_eq!((gaps(&none), none.proofs.anchor.is_none()), (vec![Some(Gap::NoFinality); 5], true));
        assert_eq!(transcript::check(&made.genesis, &none).unwrap().json()["proved"], 0);
    }
}

#[tokio::test]
async fn a_node_that_says_another_record_than_its_chain_has_is_found_out_before_anything_is_written() {
    let made = ceremony().file;
    let file = assembled(|fake| {
        let mut other = made.transcript.records[4].1.clone();
        other.seats[2].confirmed = None;
        fake.lie = Some((storage::CEREMONY.to_vec(), other.encode()));
    })
    .await;
    let error = transcript::check(&made.genesis, &file).err().unwrap();
    assert_eq!((error.code.as_str(), error.exit_code()), ("transcript", 11));
    assert!(error.message.contains("is another than the one that is shown"), "{}", error.message);
}

#[tokio::test]
async fn a_ceremony_of_identities_is_written_down_with_the_records_before_and_after_it() {
    let made = identities::handed_over().file;
    let file = assembled_identities(None, |_| ()).await.unwrap();
    assert_eq!((&file.transcript, &file.beside), (&made.transcript, &made.beside));
    let checked = transcript::check(&made.genesis, &file).unwrap().json();
    assert_eq!((&checked["proved"], &checked["anchored"]), (&json!(7), &json!(true)));
    assert_eq!(checked["identities"]["recorded"], true);

    // Keys that are made have nothing before them.
    let first = identities::made();
    let statement = first.file.transcript.statements[0];
    let file: ProvedTranscript<IdentityCeremonyRecord> =
        assembled_of(first.chain, &statement, None, |_| ()).await.unwrap();
    assert_eq!((&file.transcript, &file.beside), (&first.file.transcript, &first.file.beside));

    // One that was given up, or cancelled, leaves what was there.
    let kept = identities::ceremony_with(Some(&identities::former()), Some(&identities::former()));
    let file: ProvedTranscript<IdentityCeremonyRecord> =
        assembled_of(kept.chain, &statement, None, |_| ()).await.unwrap();
    assert_eq!(file.beside.taken, None);
    let checked = transcript::check(&made.genesis, &file).unwrap().json();
    assert_eq!((&checked["anchored"], &checked["identities"]["recorded"]), (&json!(true), &json!(false)));

    // An attempt alone, and what it led to: not to a record.
    let file = assembled_identities(Some(0), |_| ()).await.unwrap();
    assert_eq!(file.transcript.records.iter().map(|(block, _)| *block).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((file.beside.former.is_some(), file.beside.taken, file.proofs.made), (true, None, None));

    // Of a node that prunes: what it has, and why not the rest.
    let file = assembled_identities(None, |fake| (fake.proofs_from, fake.justified_from) = (3, 2)).await.unwrap();
    let missing = [Some(Gap::NoFinality), Some(Gap::NoState), None, None, None, None, None];
    assert_eq!(gaps(&file), missing);
    assert_eq!(transcript::check(&made.genesis, &file).unwrap().json()["proved"], 5);
}

#[tokio::test]
async fn a_node_that_says_another_record_of_identities_than_its_chain_has_is_found_out_before_anything_is_written() {
    let made = identities::handed_over().file;
    let file = assembled_identities(None, |fake| {
        let mut other = made.transcript.records[6].1.clone();
        other.dealers[0].package = Some([9; 32]);
        fake.lie = Some((storage::IDENTITY_CEREMONY.to_vec(), other.encode()));
    })
    .await
    .unwrap();
    let error = transcript::check(&made.genesis, &file).err().unwrap();
    assert_eq!((error.code.as_str(), error.exit_code()), ("transcript", 11));
    // Of what was handed over the ceremony has the hash.
    let lied = assembled_identities(None, |fake| {
        let mut other = identities::former();
        other.keys.ed25519[0] ^= 1;
        fake.lie = Some((storage::IDENTITY.to_vec(), other.encode()));
    })
    .await;
    assert_eq!(lied.unwrap_err().code.as_str(), "unverified");
    // And what it says that the chain has is no record of this ceremony: then none is shown, and the chain's own proof says otherwise.
    let former = identities::former();
    let hidden = assembled_identities(None, |fake| {
        fake.lie = Some((storage::IDENTITY.to_vec(), former.encode()));
    })
    .await
    .unwrap();
    let error = transcript::check(&made.genesis, &hidden).err().unwrap();
    assert_eq!(error.code.as_str(), "transcript");
    assert!(error.message.contains("is another than what the ceremony made"), "{}", error.message);
}

#[test]
fn a_statement_about_identities_is_found_in_a_batch_and_only_if_it_was_taken_and_signed() {
    let made = identities::handed_over().file;
    let (genesis, taken) = (made.genesis, made.transcript.statements[0]);
    let (_, record) = made.transcript.records.last().unwrap();
    let mut refused = SignedIdentityStatement { statement: IdentityStatement::Confirm { record: [6; 32] }, ..taken };
    refused.signature = key(11).sign(&refused.signing_payload(&genesis));
    let mut forged = taken;
    forged.signature[0] ^= 1;
    let batch = [&[0; 40][..], &refused.encode(), &forged.encode(), &taken.encode(), &[0; 9]].concat();
    assert_eq!(statements(&batch, record, &genesis), [taken]);
    assert_eq!(statements(&batch, record, &[8; 32]), [], "of another chain");
}
