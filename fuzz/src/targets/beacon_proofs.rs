//! Proofs of the beacon's values: whatever the maker of a file writes, one that holds shows the value that the chain has.
//!
//! INSECURE: the key is anybody's, as the coefficients of its polynomial are small numbers.

use super::beacon::{insecure_value, scalar};
use crate::{measured, Target, Verdict};
use codec::Encode;
use phala_client::beacon::{verify, BeaconProof, VerifiedValue};
use phala_crypto::{
    beacon::{verify_beacon, verify_beacon_record, BeaconShare},
    prf::KeyShare,
};
use phala_light_client::testing::TestChain;
use phala_protocol::{
    beacon::{BeaconHolder, BeaconRecord, BeaconValue, MadeBeacon, Period},
    storage,
};
use std::sync::LazyLock;

const ERA: u32 = 2;
const PERIOD: Period = 7;
/// Of the polynomial behind [`insecure_value`].
const THRESHOLD: u16 = 3;
/// Bytes of memory for one of a file: of a node without bytes, two quotes and a comma are 24.
const MEMORY: u64 = 60;

static HONEST: LazyLock<BeaconProof> = LazyLock::new(honest);
static SHOWN: LazyLock<VerifiedValue> = LazyLock::new(|| {
    let shown = verify(&HONEST, &HONEST.genesis, &[1; 32]).unwrap();
    assert_eq!((shown.era, shown.period, shown.newest), (ERA, PERIOD, true));
    shown
});

/// A proof over a chain with a change of authorities.
fn honest() -> BeaconProof {
    let mut chain = TestChain::new(7, 2, [(storage::DEVELOPMENT.to_vec(), vec![1])]);
    let genesis = chain.genesis_hash();
    let share = |index: u16| BeaconShare::new(KeyShare::from_bytes(index, &scalar(insecure_value(index))).unwrap());
    let shares = [1, 2, 4, 5].map(share);
    let holder = |share: &BeaconShare| BeaconHolder { index: share.index(), share: share.public_share().to_bytes() };
    let record = BeaconRecord { era: ERA, threshold: THRESHOLD, holders: shares.iter().map(holder).collect() };
    let verified = verify_beacon_record(&genesis, &record).unwrap();
    let input = verified.input(PERIOD);
    let partials = shares[1..].iter().map(|share| share.partial(&input, &[4; 32])).collect();
    let proof = BeaconValue { era: ERA, period: PERIOD, partials };
    let value = *verify_beacon(&verified, PERIOD, &proof).unwrap().value();
    let made = MadeBeacon { opened: 3, made: 4, value, proof };
    chain.build_set_change(2);
    let head = chain.build_block([
        (storage::beacon_record_key(ERA), Some(record.encode())),
        (storage::beacon_value_key(ERA, PERIOD), Some(made.encode())),
        (storage::beacon_latest_key(), Some((ERA, PERIOD).encode())),
    ]);
    let keys = BeaconProof::keys(ERA, PERIOD);
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    BeaconProof {
        genesis,
        anchor: chain.anchor(),
        finality: chain.proof(0, head).fragments,
        proof: chain.read_proof(head, &keys),
        era: ERA,
        period: PERIOD,
    }
}

/// The JSON of a proof.
pub static BEACON_PROOFS: Target = Target {
    name: "beacon-proofs",
    covers: &["host/client/src/beacon.rs::from_json", "host/client/src/beacon.rs::verify"],
    samples: LazyLock::new(|| {
        let bare = BeaconProof { finality: Vec::new(), proof: Vec::new(), ..HONEST.clone() };
        [&*HONEST, &bare].map(|proof| proof.to_json().unwrap().into_bytes()).to_vec()
    }),
    check: |bytes| {
        let (proof, peak) = measured(|| BeaconProof::from_json(bytes));
        assert!(peak <= bytes.len() as u64 * MEMORY + (64 << 10), "{peak} bytes for a proof of {}", bytes.len());
        let proof = match proof {
            Ok(proof) => proof,
            Err(error) => return Verdict::refused(error),
        };
        assert_eq!(BeaconProof::from_json(proof.to_json().unwrap().as_bytes()).as_ref(), Ok(&proof));
        match verify(&proof, &HONEST.genesis, &[1; 32]) {
            Ok(value) => {
                // That it is of a development network an anchor need not show; it cannot show the contrary.
                assert_ne!(value.development, Some(false));
                let value = VerifiedValue { development: SHOWN.development, ..value };
                assert_eq!(value, *SHOWN, "a value that the chain does not have");
                Verdict::accepted("")
            }
            Err(error) => Verdict::refused(error),
        }
    },
    iterations: 300,
};
