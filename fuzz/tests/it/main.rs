//! Every target, bounded: as many inputs as it says, every committed finding, and the list of what is covered.
//!
//! `BOLERO_RANDOM_SEED` repeats a failure; a longer search is `cargo xtask campaign fuzz`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod bombs;
mod findings;
mod inventory;

use phala_fuzz::{engine, targets, Target};

/// Bytes of a fuzzer's instructions: enough for a handful of alterations.
const INSTRUCTIONS: usize = 160;

macro_rules! targets {
    ($($name:ident => $target:path;)*) => {
        $(
            #[test]
            fn $name() {
                let target: &Target = &$target;
                bolero::check!()
                    .with_iterations(target.iterations)
                    .with_max_len(INSTRUCTIONS)
                    .for_each(|bytes: &[u8]| { engine::run(target, bytes); });
            }
        )*

        /// The targets that have a test here.
        fn tested() -> Vec<&'static str> {
            vec![$($target.name),*]
        }
    };
}

targets! {
    records => targets::scale::RECORDS;
    calls => targets::protocol::CALLS;
    envelopes => targets::protocol::ENVELOPES;
    queries => targets::protocol::QUERIES;
    items => targets::protocol::ITEMS;
    finality_proofs => targets::protocol::FINALITY_PROOFS;
    deliveries => targets::protocol::DELIVERIES;
    egress_actions => targets::protocol::EGRESS_ACTIONS;
    finality => targets::chain::FINALITY;
    storage => targets::chain::STORAGE;
    ancestors => targets::chain::ANCESTORS;
    anchors => targets::chain::ANCHORS;
    checkpoints => targets::chain::CHECKPOINTS;
    quotes => targets::quotes::QUOTES;
    signed_quotes => targets::quotes::SIGNED_QUOTES;
    signed_bytes => targets::quotes::SIGNED_BYTES;
    driver_frames => targets::drivers::DRIVER_FRAMES;
    event_logs => targets::event_logs::EVENT_LOGS;
    launch_files => targets::launch::LAUNCH_FILES;
    evidence_files => targets::files::EVIDENCE_FILES;
    suspensions => targets::files::SUSPENSIONS;
    collateral => targets::certificates::COLLATERAL;
    verified_collateral => targets::certificates::VERIFIED_COLLATERAL;
    extensions => targets::certificates::EXTENSIONS;
    documents => targets::documents::DOCUMENTS;
    dates => targets::documents::DATES;
    provisioning_answers => targets::provisioning::ANSWERS;
    signatures => targets::crypto::SIGNATURES;
    points => targets::crypto::POINTS;
    merkle => targets::crypto::MERKLE;
    sealed => targets::crypto::SEALED;
    grants => targets::keys::GRANTS;
    inquiries => targets::keys::INQUIRIES;
    seats => targets::keys::SEATS;
    sightings => targets::keys::SIGHTINGS;
    parcels => targets::ceremony::PARCELS;
    introductions => targets::ceremony::INTRODUCTIONS;
    transcripts => targets::ceremony::TRANSCRIPTS;
    ceremonies => targets::ceremony::CEREMONIES;
    beacon => targets::beacon::BEACON;
    beacon_proofs => targets::beacon_proofs::BEACON_PROOFS;
    identity => targets::identity::IDENTITY;
    identities => targets::identities::IDENTITIES;
    signing => targets::signing::SIGNING;
    letters => targets::letters::LETTERS;
    modules => targets::wasm::MODULES;
    programs => targets::wasm::PROGRAMS;
    stores => targets::disk::STORES;
    sealed_blobs => targets::disk::SEALED_BLOBS;
    snapshots => targets::snapshots::SNAPSHOTS;
    delivered => targets::tee::DELIVERED;
    metadata => targets::values::METADATA;
    values => targets::values::VALUES;
    receipts => targets::receipts::RECEIPTS;
    addresses => targets::accounts::TEXTS;
    files => targets::accounts::FILES;
    sdk => targets::sdk::VALUES_OF_CONTRACTS;
}

#[test]
fn every_target_has_a_test_and_samples_that_are_accepted() {
    let names: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
    let tested = tested();
    assert_eq!(names.len(), tested.len());
    for target in targets::TARGETS {
        assert!(tested.contains(&target.name), "{}", target.name);
        let accepted = target.samples.iter().filter(|sample| (target.check)(sample).accepted).count();
        assert!(accepted > 0, "no sample of {} is accepted: alterations of nothing valid find little", target.name);
    }
}
