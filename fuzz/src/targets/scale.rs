//! Every record that crosses a zone in SCALE, whoever decodes it and where.
//!
//! Holds for each: one encoding only, nothing after it, and memory in proportion to the input. The first byte names the type.

use crate::{assert_bounded, measured, Target, Verdict};
use codec::{Decode, DecodeAll, Encode};
use phala_attest as attest;
use phala_crypto::transcript;
use phala_light_client as light_client;
use phala_protocol::{
    attestation, beacon, call, ceremony, chain_state, egress, envelope, finality, gas, heartbeat, identities,
    identities::signing, ids, inbox, keys, query, relay, result, snapshot,
};
use std::sync::LazyLock;

/// Gatekeepers' parts of a suspension, whose subject is a type of another crate.
mod brake {
    use phala_attest::Subject;

    pub type SignedSuspension = phala_protocol::brake::SignedSuspension<Subject>;
    pub type SuspensionRequest = phala_protocol::brake::SuspensionRequest<Subject>;
}

macro_rules! types {
    ($($module:ident: $($name:ident)*;)*) => {
        /// The types by module and name: `tests/it/inventory.rs` compares them with the sources.
        pub static TYPES: &[(&str, &str, fn(&[u8]) -> Verdict)] =
            &[$($((stringify!($module), stringify!($name), canonical::<$module::$name>),)*)*];

        fn samples() -> Vec<Vec<u8>> {
            let mut samples = Vec::new();
            let mut index = 0;
            $($(
                add_samples::<$module::$name>(index, &mut samples);
                index += 1;
            )*)*
            let _ = index;
            samples
        }
    };
}

types! {
    attestation: Assurance Listing Registration Role Version;
    brake: SignedSuspension SuspensionRequest;
    beacon: AwaitedBeacon BeaconHolder BeaconInput BeaconPartial BeaconRecord BeaconValue DueBeacon MadeBeacon;
    call: Call CallPurpose SessionCommand SessionOpen SignedCall;
    ceremony: AnnouncedKey Attachment CeremonyAttempt CeremonyKind CeremonyRecord Complaint Confirmed Fault Introduction Parcel ParcelHeader
        ParcelKind Phase SeatRecord SignedStatement Statement;
    chain_state: AllowedMeasurement BoundaryRecord ClusterRecord ContractRecord FinalRecord QueueRecord RootRecord Standing WorkerRecord;
    egress: EgressAction EgressFailure EgressFate EgressItem EgressOutcome EgressRoot ProvedEgress;
    envelope: EnvelopeHeader EnvelopeKind SizeClass;
    finality: FinalityFragment FinalityProof GenesisAnchor;
    gas: GasClass Surge;
    ids: AccountId ClusterId CodeHash ContractId WorkerId;
    inbox: ChainMessage Head Item ItemHeader ItemKind ItemOrigin;
    keys: Evaluation KeyAnswer KeyGrant KeyPurpose KeyRequest PrfInput SignedKeyRequest;
    query: Answer AnswerContent Query QueryHeader QueryKey QueryRefusal QueryRequest SealedAnswer SignedQuery;
    relay: Delivery InboxCursor InboxItems KeyInquiry Outgoing PlacedAttachment TeeStatus;
    result: Boundary ClusterResult ContractEvent Failure Outcome Rekey Reply SignedRekey SignedResult;
    snapshot: SnapshotHeader SnapshotPart SnapshotStand;
    identities: DealerRecord HolderRecord IdentityCeremonyRecord IdentityHolder IdentityPoints IdentityRecord IdentityStatement Scheme
        SignedIdentityStatement;
    signing: EgressSignature NonceCommitments PartialSignature SigningLetter SigningMessage SigningSession;
    attest: AcceptedStatuses Advisory AdvisoryPolicy Appraisal Ban Bans CertificateFault Collateral CollateralKind CollateralRefusal
        ConfidenceLevel DocumentFault Evidence Origin PlatformModel PolicyTerms Refusal Root SignerRole Subject TcbStatus Vendor VerifiedCollateral;
    light_client: Checkpoint;
    transcript: Transcript;
    heartbeat: Heartbeat HeartbeatPolicy HeartbeatRound HeartbeatStanding SignedHeartbeat;
}

/// All of them.
pub static RECORDS: Target = Target {
    name: "records",
    covers: &[],
    samples: LazyLock::new(samples),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let (module, name, check) = TYPES[usize::from(*which) % TYPES.len()];
        check(bytes).of(module).of(name)
    },
    iterations: 12_000,
};

fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Verdict {
    let (decoded, peak) = measured(|| T::decode_all(&mut &bytes[..]));
    // A list of empty byte strings is one byte an element on the wire, and 24 in memory; a growing list has twice the room.
    assert_bounded(peak, bytes.len(), 80);
    match decoded {
        Ok(value) => {
            assert_eq!(value.encode(), bytes, "two encodings of one value");
            assert!(T::decode_all(&mut &[bytes, &[0]].concat()[..]).is_err(), "a byte too many was taken");
            Verdict::accepted("x".repeat(bytes.len().checked_ilog2().unwrap_or(0) as usize))
        }
        Err(error) => Verdict::refused(error),
    }
}

/// Values that bytes of one kind happen to encode: zeros are a value of most types, ones are lists of one.
fn add_samples<T: Decode + Encode>(index: usize, samples: &mut Vec<Vec<u8>>) {
    for fill in [0, 1, 4, 8, 16] {
        if let Ok(value) = T::decode(&mut &[fill; 16 * 1024][..]) {
            let mut sample = vec![index as u8];
            value.encode_to(&mut sample);
            if sample.len() < 8 * 1024 {
                samples.push(sample);
            }
        }
    }
}
