//! Evidence that does not hold, on a real network: what a worker that serves could say of itself now, changed in one thing each time.
//!
//! The quote is one that the worker's own machine signs over a block of now, so that age is no reason to refuse. Two more are whole as well: of a
//! block that has become too old, and for the genesis of another chain. Each attempt has one refusal of the chain's, and in the end the evidence
//! is registered as it was made: nothing but what was changed was refused.
//! TEE simulated: INSECURE.

use codec::{Decode, Encode};
use phala_client::{
    chain::{ChainCall, PalletError, SubmitError},
    Account, Chain, ClientError, ErrorCode, Until,
};
use phala_e2e::{
    canary::from_hex,
    processes::{self, argument},
    raw_http::ask,
    wait_until, Network,
};
use phala_protocol::{attestation::Registration, limits::MAX_REGISTRATION_AGE_BLOCKS, AccountId, WorkerId};
use std::{fs, path::Path, time::Duration};

/// The index of a quote of a TDX machine among the kinds of evidence.
const TDX: u8 = 0;
/// Where a quote of version 4 has the measurement of what was loaded first, which is signed.
const MEASURED: usize = 48 + 136;
/// Where it has the signature over its header and report.
const SIGNATURE: usize = 48 + 584 + 4;

/// Registers, by its operator `alice` or by somebody else, what worker 0 may and may not say of itself.
pub fn check(network: &Network) {
    let words = processes::arguments(processes::id(&network.base, "worker-0"));
    let info = ask(&argument(&words, "--listen"), "GET", "/v1/info", &[]).unwrap().json();
    let shown = from_hex(info["registration"].as_str().unwrap()).unwrap();
    let shown = Registration::decode(&mut shown.as_slice()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let chain = runtime.block_on(Chain::connect(network.node())).unwrap();
    let finalised = || runtime.block_on(chain.finalised_head()).unwrap();
    // On a fast machine that would be minutes of waiting; the pallet's tests have the same case.
    if std::env::var_os("PHALA_LONG").is_some() {
        wait_until("the chain is older than evidence may be", Duration::from_secs(600), || {
            finalised().number > MAX_REGISTRATION_AGE_BLOCKS
        });
    }
    let head = finalised();
    let registration = Registration { block: head.number, block_hash: head.hash, ..shown };
    let reports = argument(&words, "--tsm");
    let signed = |report_data: &[u8; 64]| quote(Path::new(&reports), report_data);
    let elsewhere = signed(&registration.report_data(&[7; 32]));
    // The block that comes next is the first for which it is too old. Its hash is right, and the chain knows it still.
    let stale = head.number.checked_sub(MAX_REGISTRATION_AGE_BLOCKS).filter(|before| *before > 0).map(|before| {
        let hash = runtime.block_on(chain.block_hash(Some(before))).unwrap();
        let of_before = Registration { block: before, block_hash: hash, ..registration };
        (of_before, signed(&of_before.report_data(chain.genesis())))
    });
    let quote = signed(&registration.report_data(chain.genesis()));

    let (alice, ferdie) = (Account::development("alice").unwrap(), Account::development("ferdie").unwrap());
    assert_eq!(registration.operator, alice.id());
    let register = |account: &Account, registration: &Registration, evidence: &[u8]| {
        runtime.block_on(chain.submit(account, &ChainCall::register(registration, evidence), Until::InBlock))
    };
    let evidence = |quote: &[u8]| (TDX, quote).encode();
    let flipped = |at: usize| {
        let mut quote = quote.clone();
        quote[at] ^= 1;
        evidence(&quote)
    };
    let changed = |change: fn(&mut Registration)| {
        let mut registration = registration;
        change(&mut registration);
        registration
    };
    let whole = evidence(&quote);
    let cut = &quote[..quote.len() / 2];
    let attempts = [
        ("another key", changed(|said| said.encryption_key[0] ^= 1), whole.clone(), "WrongReportData"),
        ("another identity", changed(|said| said.identity = WorkerId([7; 32])), whole.clone(), "WrongReportData"),
        ("a block of another chain", changed(|said| said.block_hash[0] ^= 1), whole.clone(), "NotRecent"),
        ("a block that is not there yet", changed(|said| said.block += 10_000), whole.clone(), "NotRecent"),
        ("another chain", registration, evidence(&elsewhere), "WrongReportData"),
        ("another operator", changed(|said| said.operator = AccountId([7; 32])), whole.clone(), "NotTheOperator"),
        ("a flipped bit of what was measured", registration, flipped(MEASURED), "EvidenceRefused"),
        ("a flipped bit of the signature", registration, flipped(SIGNATURE + 20), "EvidenceRefused"),
        ("a quote cut short", registration, evidence(cut), "EvidenceMalformed"),
        ("garbage in a quote's place", registration, evidence(&[0x33; 4_000]), "EvidenceMalformed"),
    ];
    let stale = stale.map(|(of_before, quote)| ("a block of too long ago", of_before, evidence(&quote), "NotRecent"));
    for (what, registration, evidence, error) in attempts.into_iter().chain(stale) {
        let told = register(&alice, &registration, &evidence).unwrap_err();
        assert!(told.is("Attestation", error), "{what}: {told}");
        assert!(ClientError::from(told).hint.is_some_and(|hint| !hint.is_empty()), "{what}");
    }
    // Whom the evidence does not name, by his own name and by that of its operator.
    let his = Registration { operator: ferdie.id(), ..registration };
    for (registration, error) in [(registration, "NotTheOperator"), (his, "IdentityInUse")] {
        let told = register(&ferdie, &registration, &whole).unwrap_err();
        let PalletError { pallet, error: told } = match told {
            SubmitError::Pallet(refusal) => refusal,
            other => panic!("{error}: {other}"),
        };
        assert_eq!((pallet.as_str(), told.as_str()), ("Attestation", error));
    }
    // Bytes that are no evidence at all make a transaction that no node takes.
    let told = register(&alice, &registration, &whole[..whole.len() / 2]).unwrap_err();
    assert!(!matches!(told, SubmitError::Pallet(_)), "{told:?}");
    assert_eq!(ClientError::from(told).code, ErrorCode::Refused);

    let registered = register(&alice, &registration, &whole).expect("what was not changed is registered");
    let event = registered.event("Attestation", "Registered").expect("the chain says so");
    assert_eq!(event[..32], registration.identity.0);
}

/// What the simulated machine that serves `reports` signs over `report_data`.
fn quote(reports: &Path, report_data: &[u8; 64]) -> Vec<u8> {
    let entry = reports.join("by-hand");
    fs::create_dir(&entry).unwrap();
    // The request appears whole: see the simulator's protocol.
    fs::write(entry.join("request"), report_data).unwrap();
    fs::rename(entry.join("request"), entry.join("inblob")).unwrap();
    wait_until("the machine signs a quote", Duration::from_secs(20), || entry.join("generation").exists());
    let quote = fs::read(entry.join("outblob")).unwrap();
    fs::remove_dir_all(&entry).unwrap();
    quote
}
