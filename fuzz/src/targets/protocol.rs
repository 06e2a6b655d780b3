//! The bounded decoders of `common/protocol`: their verdict is the codec's, and the bound's.

use crate::{assert_bounded, measured, Target, Verdict};
use codec::{DecodeAll, Encode};
use phala_protocol::{
    call::{Call, SignedCall},
    egress::{EgressAction, EgressItem},
    envelope::{
        decode_header, Envelope, EnvelopeHeader, EnvelopeKind, SizeClass, AEAD_TAG_BYTES, HEADER_BYTES, VERSION,
    },
    finality::{FinalityFragment, FinalityProof},
    gas::GasClass,
    identities::{
        signing::{NonceCommitments, SigningLetter, SigningMessage, SigningSession},
        Scheme,
    },
    inbox::{Item, ItemHeader, ItemKind, ItemOrigin},
    limits::{MAX_EGRESS_BYTES, MAX_FINALITY_FRAGMENTS, MAX_MESSAGE_BYTES},
    query::{QueryHeader, SealedQuery},
    relay::{Delivery, InboxItems},
    result::Boundary,
    snapshot::{SnapshotHeader, SnapshotPart},
    AccountId, ClusterId, ContractId,
};
use std::{fmt::Display, sync::LazyLock};

/// What must hold when a decoder of ours and the codec's own see the same bytes. `within` says whether the value is within our bounds.
fn agree<T: DecodeAll + Encode + PartialEq, E: Display>(
    bytes: &[u8],
    ours: impl FnOnce() -> Result<T, E>,
    within: impl FnOnce(&T) -> bool,
) -> Verdict {
    let (ours, peak) = measured(ours);
    assert_bounded(peak, bytes.len(), 80);
    let codecs = T::decode_all(&mut &bytes[..]);
    match (ours, codecs) {
        (Ok(ours), Ok(codecs)) => {
            assert!(ours == codecs && within(&ours) && ours.encode() == bytes);
            Verdict::accepted("")
        }
        (Ok(_), Err(error)) => panic!("accepted what the codec refuses: {error}"),
        (Err(why), Ok(codecs)) => {
            assert!(!within(&codecs), "refused what is within the bounds: {why}");
            Verdict::refused(why)
        }
        (Err(why), Err(_)) => Verdict::refused(why),
    }
}

/// Plaintexts of envelopes.
pub static CALLS: Target = Target {
    name: "calls",
    covers: &["common/protocol/src/call.rs::decode_exact"],
    samples: LazyLock::new(|| vec![signed_call(0).encode(), signed_call(300).encode()]),
    check: |bytes| agree(bytes, || SignedCall::decode_exact(bytes), |_| true),
    iterations: 4_000,
};

/// A signed call of zeros but its payload.
pub(crate) fn signed_call(payload: usize) -> SignedCall {
    let zeros = [0; 256];
    let call = <Call as codec::Decode>::decode(&mut &zeros[..]).unwrap();
    SignedCall {
        account: AccountId([1; 32]),
        call: Call {
            contract: ContractId([2; 32]),
            nonce: 7,
            valid_until: 1000,
            gas_limit: 10_000_000,
            max_fee: 1 << 70,
            payload: vec![9; payload],
            ..call
        },
        signature: [3; 64],
    }
}

/// What anyone pushes.
pub static ENVELOPES: Target = Target {
    name: "envelopes",
    covers: &["common/protocol/src/envelope.rs::decode_exact", "common/protocol/src/envelope.rs::decode_header"],
    samples: LazyLock::new(|| {
        let kinds = [EnvelopeKind::Call, EnvelopeKind::SessionOpen, EnvelopeKind::SessionCommand];
        let headers = kinds.into_iter().flat_map(|kind| {
            SizeClass::ALL.map(|size| EnvelopeHeader { version: VERSION, kind, cluster: ClusterId(3), epoch: 9, size })
        });
        headers
            .map(|header| {
                let (opening, body) = (header.opening_bytes(), header.size.bytes() + AEAD_TAG_BYTES);
                Envelope { header, opening: vec![1; opening], body: vec![2; body] }.to_bytes()
            })
            .collect()
    }),
    check: |bytes| {
        let (envelope, peak) = measured(|| Envelope::decode_exact(bytes));
        assert_bounded(peak, bytes.len(), 2);
        let header = decode_header(bytes);
        assert_eq!(envelope.as_ref().map(|envelope| envelope.header).map_err(|why| *why), header);
        match envelope {
            Ok(envelope) => {
                assert_eq!(envelope.to_bytes(), bytes);
                assert_eq!(bytes.len(), envelope.header.envelope_bytes());
                assert_eq!(EnvelopeHeader::decode_all(&mut &bytes[..HEADER_BYTES]), Ok(envelope.header));
                assert!(decode_header(&[bytes, &[0]].concat()).is_err());
                Verdict::accepted(format_args!("{:?}{:?}", envelope.header.kind, envelope.header.size))
            }
            Err(why) => Verdict::refused(why),
        }
    },
    iterations: 4_000,
};

/// What arrives at a worker's public listener.
pub static QUERIES: Target = Target {
    name: "queries",
    covers: &["common/protocol/src/query.rs::decode_exact"],
    samples: LazyLock::new(|| {
        let headers = SizeClass::ALL.map(|size| QueryHeader { version: 1, cluster: ClusterId(1), epoch: 2, size });
        headers
            .map(|header| {
                let body = header.size.bytes() + AEAD_TAG_BYTES;
                SealedQuery { header, encapsulated: vec![1; 1120], body: vec![2; body] }.to_bytes()
            })
            .to_vec()
    }),
    check: |bytes| {
        let (query, peak) = measured(|| SealedQuery::decode_exact(bytes));
        assert_bounded(peak, bytes.len(), 2);
        match query {
            Ok(query) => {
                assert_eq!(query.to_bytes(), bytes);
                Verdict::accepted(format_args!("{:?}", query.header.size))
            }
            Err(why) => Verdict::refused(why),
        }
    },
    iterations: 4_000,
};

/// What relayers carry out of an inbox.
pub static ITEMS: Target = Target {
    name: "items",
    covers: &["common/protocol/src/inbox.rs::decode_bounded", "common/protocol/src/inbox.rs::decode_owned"],
    samples: LazyLock::new(|| [0, 100, MAX_MESSAGE_BYTES as usize].map(|length| item(length).encode()).to_vec()),
    check: |bytes| {
        assert_eq!(Item::decode_owned(bytes.to_vec()), Item::decode_bounded(bytes));
        let within = |item: &Item| item.message.len() <= MAX_MESSAGE_BYTES as usize;
        agree(bytes, || Item::decode_bounded(bytes), within)
    },
    iterations: 4_000,
};

fn item(message: usize) -> Item {
    let header = ItemHeader {
        kind: ItemKind::Envelope(GasClass::Medium),
        origin: ItemOrigin::Account(AccountId([7; 32])),
        sequence: 3,
        block: 9,
        time_ms: 1_000,
        fee: 5,
    };
    Item { previous: [4; 32], header, message: vec![5; message] }
}

/// The shape of finality proofs; [`super::chain`] judges them.
pub static FINALITY_PROOFS: Target = Target {
    name: "finality-proofs",
    covers: &["common/protocol/src/finality.rs::decode_bounded"],
    samples: LazyLock::new(|| {
        let fragment = FinalityFragment { header: vec![1; 200], justification: vec![2; 300] };
        [0, 1, 3, MAX_FINALITY_FRAGMENTS, MAX_FINALITY_FRAGMENTS + 1]
            .map(|count| FinalityProof { fragments: vec![fragment.clone(); count], complete: true }.encode())
            .to_vec()
    }),
    check: |bytes| {
        let within = |proof: &FinalityProof| proof.fragments.len() <= MAX_FINALITY_FRAGMENTS;
        agree(bytes, || FinalityProof::decode_bounded(bytes), within)
    },
    iterations: 3_000,
};

/// What a contract wants done outside of its cluster.
pub static EGRESS_ACTIONS: Target = Target {
    name: "egress-actions",
    covers: &["common/protocol/src/egress.rs::decode_bounded"],
    samples: LazyLock::new(|| {
        let message =
            |length: usize| EgressAction::Message { destination: vec![1; length / 4], payload: vec![2; length] };
        let transfer = EgressAction::Transfer { to: AccountId([7; 32]), amount: 1 << 90 };
        [message(0), message(100), message(MAX_EGRESS_BYTES), transfer].map(|action| action.encode()).to_vec()
    }),
    check: |bytes| {
        let within = |action: &EgressAction| action.encoded_size() <= MAX_EGRESS_BYTES;
        agree(bytes, || EgressAction::decode_bounded(bytes), within)
    },
    iterations: 4_000,
};

/// What a relayer brings.
pub static DELIVERIES: Target = Target {
    name: "deliveries",
    covers: &["common/protocol/src/relay.rs::decode_bounded"],
    samples: LazyLock::new(|| {
        let items = InboxItems { cluster: ClusterId(3), items: vec![item(100).encode(), item(0).encode()] };
        let action = EgressAction::Message { destination: vec![1; 8], payload: vec![2; 100] };
        let session = SigningSession { scheme: Scheme::Ed25519, sharing: [1; 32], item: [2; 32], attempt: 3 };
        let commitments = vec![NonceCommitments { index: 2, hiding: [4; 32], binding: [5; 32] }; 3];
        let message = SigningMessage::List { session, commitments };
        let boundary = Boundary { block: 7, count: 8, link: [9; 32] };
        let header = SnapshotHeader { cluster: ClusterId(3), era: 1, epoch: 2, boundary, salt: [4; 32] };
        let full = Delivery {
            finality: vec![1; 100],
            proof: vec![vec![2; 40], vec![]],
            items: vec![items],
            codes: vec![vec![3; 100]],
            messages: vec![EgressItem { cluster: ClusterId(3), sequence: 1, contract: ContractId([4; 32]), action }],
            letters: vec![SigningLetter { from: 2, to: 1, message, signature: [5; 64] }],
            snapshot: vec![SnapshotPart { header, index: 1, last: true, sealed: vec![6; 100] }],
            ..Delivery::default()
        };
        vec![Delivery::default().encode(), full.encode()]
    }),
    check: |bytes| agree(bytes, || Delivery::decode_bounded(bytes), |_| true),
    iterations: 4_000,
};
