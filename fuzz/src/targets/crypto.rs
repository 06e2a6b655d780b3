//! Keys, signatures, points, proofs and ciphertexts that others made.
//!
//! Oracles: Parity's `sp-core` for both signature schemes; for the rest, the one honest answer.

use crate::{Target, Verdict};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::{
    aead::{GcmKey, SivKey},
    envelope::{open_envelope, pad, seal_envelope, unpad, Destination},
    hpke, merkle,
    prf::{combine, verify_partial, Input, KeyShare, PartialEvaluation, PublicShare},
    session::SessionSecret,
    signature::{ed25519, sr25519},
    xwing::{DecapsulationKey, EncapsulationKey, CIPHERTEXT_BYTES, PUBLIC_KEY_BYTES},
    Secret,
};
use phala_protocol::{
    domain,
    envelope::{Envelope, EnvelopeKind, SizeClass},
    ClusterId, Hash,
};
use sp_core::Pair;
use std::sync::LazyLock;

/// A public key, a signature and a message, under both schemes.
pub static SIGNATURES: Target = Target {
    name: "signatures",
    covers: &[
        "common/crypto/src/signature/ed25519.rs::verify",
        "common/crypto/src/signature/ed25519.rs::verify_batch",
        "common/crypto/src/signature/sr25519.rs::verify",
        "common/crypto/src/signature/sr25519.rs::verify_wallet",
        "common/crypto/src/signature/sr25519.rs::verify_all",
    ],
    samples: LazyLock::new(|| {
        let identity = ed25519::IdentityKey::from_seed(&Secret::new([8; 32]));
        let account = sr25519::AccountKey::from_mini_secret(&Secret::new([9; 32])).unwrap();
        let message = b"a message".to_vec();
        vec![
            (identity.public(), identity.sign(&message), &message).encode(),
            (account.public(), account.sign(&message, &[1; 32]), &message).encode(),
            (account.public(), account.sign(&sr25519::wrap(&message), &[1; 32]), &message).encode(),
            (account.public(), account.sign(&[6; 32], &[1; 32]), vec![6_u8; 32]).encode(),
            // A point of small order with a signature of zeros: ZIP-215 has an opinion, and it is the chain's.
            ([0_u8; 32], [0_u8; 64], &message).encode(),
        ]
    }),
    check: |bytes| {
        let Ok((public, signature, message)) = <([u8; 32], [u8; 64], Vec<u8>)>::decode_all(&mut &bytes[..]) else {
            return Verdict::refused("shape");
        };
        let edwards = ed25519::verify(&public, &message, &signature).is_ok();
        let theirs = sp_core::ed25519::Pair::verify(
            &sp_core::ed25519::Signature::from_raw(signature),
            &message,
            &sp_core::ed25519::Public::from_raw(public),
        );
        assert_eq!(edwards, theirs, "ed25519");
        let signed = ed25519::Signed { public: &public, message: &message, signature: &signature };
        assert_eq!(ed25519::verify_batch(&[signed], &[5; 32]).is_ok(), edwards, "a batch of one");

        let theirs = |message: &[u8]| {
            sp_core::sr25519::Pair::verify(
                &sp_core::sr25519::Signature::from_raw(signature),
                message,
                &sp_core::sr25519::Public::from_raw(public),
            )
        };
        let plain = sr25519::verify(&public, &message, &signature).is_ok();
        assert_eq!(plain, theirs(&message), "sr25519");
        if let Ok(message) = message.as_slice().try_into() {
            let claim = sr25519::Claim { public, message, signature };
            assert_eq!(sr25519::verify_all(&[claim]), plain, "a batch of one account");
        }
        let wallet = sr25519::verify_wallet(&public, &message, &signature).is_ok();
        assert_eq!(wallet, plain || theirs(&sr25519::wrap(&message)), "a wallet's signature");
        if edwards || wallet {
            Verdict::accepted(format_args!("{edwards} {plain} {wallet}"))
        } else {
            Verdict::refused("")
        }
    },
    iterations: 600,
};

/// Encodings of group elements and scalars.
pub static POINTS: Target = Target {
    name: "points",
    covers: &[
        "common/crypto/src/prf.rs::from_bytes",
        "common/crypto/src/prf.rs::verify_partial",
        "common/crypto/src/xwing.rs::from_bytes",
        "common/crypto/src/secret.rs::from_slice",
    ],
    samples: LazyLock::new(|| {
        let share = KeyShare::from_bytes(1, &Secret::new([3; 32])).unwrap();
        let partial = share.partial(&input(), &[4; 32]);
        vec![
            [&share.public_share().to_bytes()[..], &partial.point, &partial.proof].concat(),
            DecapsulationKey::from_seed(&Secret::new([2; 32])).public_key().to_vec(),
            vec![0; 32],
        ]
    }),
    check: |bytes| {
        assert_eq!(Secret::<[u8; 32]>::from_slice(bytes).is_some(), bytes.len() == 32);
        if let Ok(key) = EncapsulationKey::from_bytes(bytes) {
            assert_eq!(bytes.len(), PUBLIC_KEY_BYTES);
            let (ciphertext, _) = key.encapsulate(&[6; 64]);
            assert_eq!(ciphertext.len(), CIPHERTEXT_BYTES);
            return Verdict::accepted("xwing");
        }
        let Some((point, rest)) = bytes.split_first_chunk::<32>() else { return Verdict::refused("short") };
        if let Ok(share) = KeyShare::from_bytes(1, &Secret::new(*point)) {
            assert_eq!(share.to_bytes().expose(), point, "two encodings of one scalar");
        }
        let public = match PublicShare::from_bytes(1, point) {
            Ok(public) => public,
            Err(error) => return Verdict::refused(error),
        };
        assert_eq!(public.to_bytes(), *point, "two encodings of one point");
        assert!(PublicShare::from_bytes(0, point).is_err(), "there is no index 0");
        let Some((evaluated, rest)) = rest.split_first_chunk::<32>() else { return Verdict::refused("a point") };
        let Some((proof, _)) = rest.split_first_chunk::<64>() else { return Verdict::refused("two points") };
        let partial = PartialEvaluation { index: 1, point: *evaluated, proof: *proof };
        match verify_partial(&public, &input(), &partial) {
            Ok(verified) => {
                let honest = KeyShare::from_bytes(1, &Secret::new([3; 32])).unwrap();
                assert_eq!(honest.public_share().to_bytes(), *point, "a proof without the share");
                assert_eq!(honest.partial(&input(), &[4; 32]).point, *evaluated, "another evaluation of one share");
                assert!(combine(1, &[verified]).is_ok());
                Verdict::accepted("partial")
            }
            Err(error) => Verdict::refused(error),
        }
    },
    iterations: 1_500,
};

fn input() -> Input {
    Input::of(domain::PRF_INPUT, &(1_u32, 2_u32))
}

/// A Merkle proof: (index, count, entry, nodes) of lists of one to nine entries.
pub static MERKLE: Target = Target {
    name: "merkle",
    covers: &["common/crypto/src/merkle.rs::verify"],
    samples: LazyLock::new(|| {
        let lists = [1_u64, 2, 3, 8, 9];
        let proofs = lists.into_iter().flat_map(|count| {
            let entries = entries(count);
            (0..count).map(move |index| {
                (index, count, &entries[index as usize], merkle::prove(&entries, index).unwrap()).encode()
            })
        });
        proofs.collect()
    }),
    check: |bytes| {
        let Ok((index, count, entry, proof)) = <(u64, u64, Vec<u8>, Vec<Hash>)>::decode(&mut &bytes[..]) else {
            return Verdict::refused("shape");
        };
        let mut verdict = Verdict::refused("");
        for length in [1, 2, 3, 8, 9] {
            let entries = entries(length);
            match merkle::verify(&merkle::root(&entries), index, count, &entry, &proof) {
                Ok(()) => {
                    assert!(count == length && entries[index as usize] == entry, "an entry that is not in the list");
                    assert_eq!(merkle::prove(&entries, index), Some(proof.clone()), "two proofs of one entry");
                    verdict = Verdict::accepted("x".repeat(length as usize));
                }
                Err(error) if !verdict.accepted => verdict = Verdict::refused(error),
                Err(_) => {}
            }
        }
        verdict
    },
    iterations: 3_000,
};

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|index| vec![index as u8; index as usize]).collect()
}

const DESTINATION: Destination = Destination { genesis: [1; 32], cluster: ClusterId(2), epoch: 3 };

fn receiver() -> &'static DecapsulationKey {
    static KEY: LazyLock<DecapsulationKey> = LazyLock::new(|| DecapsulationKey::from_seed(&Secret::new([2; 32])));
    &KEY
}

fn session() -> SessionSecret {
    SessionSecret::from_bytes(&[4; 32])
}

/// Envelopes that were sealed for us, padding, and bare ciphertexts.
pub static SEALED: Target = Target {
    name: "sealed",
    covers: &[
        "common/crypto/src/envelope.rs::open_envelope",
        "common/crypto/src/envelope.rs::unpad",
        "common/crypto/src/hpke.rs::open",
        "common/crypto/src/aead.rs::open",
        "common/crypto/src/session.rs::open_command",
        "common/crypto/src/session.rs::from_bytes",
    ],
    samples: LazyLock::new(|| {
        let recipient = EncapsulationKey::from_bytes(receiver().public_key()).unwrap();
        let sealed = |kind, data: &[u8]| {
            seal_envelope(&recipient, &DESTINATION, kind, SizeClass::holding(data.len()).unwrap(), data, &[7; 64])
                .unwrap()
                .0
                .to_bytes()
        };
        vec![
            sealed(EnvelopeKind::Call, b"a call"),
            sealed(EnvelopeKind::SessionOpen, &[1; 500]),
            session().seal_command(&DESTINATION, 5, SizeClass::B256, b"a command").unwrap().to_bytes(),
            pad(b"padded", SizeClass::B256).unwrap().expose().clone(),
            pad(&[1; 254], SizeClass::B256).unwrap().expose().clone(),
        ]
    }),
    check: |bytes| {
        if let Ok(data) = unpad(bytes) {
            if let Some(size) = SizeClass::ALL.into_iter().find(|size| size.bytes() == bytes.len()) {
                assert_eq!(pad(data.expose(), size).unwrap().expose(), bytes, "two paddings of one plaintext");
                return Verdict::accepted("padding");
            }
        }
        for nonce in [[0; 12], [9; 12]] {
            assert!(GcmKey::new(&Secret::new([5; 32])).open(&nonce, &[], bytes).is_err());
            assert!(SivKey::new(&Secret::new([5; 32])).open(&nonce, b"data", bytes).is_err());
        }
        if let Some((encapsulated, body)) = bytes.split_first_chunk::<CIPHERTEXT_BYTES>() {
            assert!(hpke::setup_receiver(receiver(), encapsulated, b"info").open(&[], body).is_err());
        }
        let Ok(envelope) = Envelope::decode_exact(bytes) else { return Verdict::refused("shape") };
        assert!(session().open_command(&DESTINATION, 6, &envelope).is_err(), "a command opened as another one");
        let opened = open_envelope(receiver(), &DESTINATION, &envelope).map(|_| ());
        match opened.or_else(|_| session().open_command(&DESTINATION, 5, &envelope).map(|_| ())) {
            Ok(()) => {
                assert!(SEALED.samples.iter().any(|sample| sample == bytes), "an altered envelope opened");
                Verdict::accepted("envelope")
            }
            Err(error) => Verdict::refused(error),
        }
    },
    iterations: 800,
};
