//! Envelopes open where they belong, as they were sealed, and nowhere else.

use crate::{bytes, secret, seeded};
use phala_crypto::{
    envelope::{
        open_envelope, pad, seal_envelope, unpad, Destination, OpenEnvelopeError, PadError, SealEnvelopeError,
        UnpadError,
    },
    hpke,
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_protocol::{
    domain,
    envelope::{Envelope, EnvelopeHeader, EnvelopeKind, SizeClass, VERSION},
    ClusterId,
};
use proptest::prelude::*;

const HERE: Destination = Destination { genesis: [7; 32], cluster: ClusterId(3), epoch: 9 };

fn keys(seed: u64) -> (DecapsulationKey, EncapsulationKey) {
    let key = DecapsulationKey::from_seed(&secret(&mut seeded(seed)));
    let recipient = EncapsulationKey::from_bytes(key.public_key()).unwrap();
    (key, recipient)
}

fn sealed(recipient: &EncapsulationKey, kind: EnvelopeKind, data: &[u8]) -> Envelope {
    seal_envelope(recipient, &HERE, kind, SizeClass::B256, data, &bytes(&mut seeded(11))).unwrap().0
}

fn refusal(key: &DecapsulationKey, at: &Destination, envelope: &Envelope) -> Option<OpenEnvelopeError> {
    open_envelope(key, at, envelope).err()
}

#[test]
fn opens_what_was_sealed_and_both_sides_export_one_session_secret() {
    let (key, recipient) = keys(1);
    let (envelope, exporter) = seal_envelope(
        &recipient,
        &HERE,
        EnvelopeKind::SessionOpen,
        SizeClass::K1,
        b"a signed call",
        &bytes(&mut seeded(12)),
    )
    .unwrap();
    let arrived = Envelope::decode_exact(&envelope.to_bytes()).unwrap();
    let opened = open_envelope(&key, &HERE, &arrived).unwrap();
    assert_eq!(opened.data.expose(), b"a signed call");
    let theirs: Secret<[u8; 32]> = opened.exporter.export(domain::SESSION_SECRET.as_bytes());
    assert!(theirs.equals(&exporter.export(domain::SESSION_SECRET.as_bytes())));
    assert!(!theirs.equals(&exporter.export(domain::QUERY_ANSWER_KEY.as_bytes())));
}

#[test]
fn refuses_envelope_for_another_chain_cluster_epoch_or_key() {
    let (key, recipient) = keys(1);
    let envelope = sealed(&recipient, EnvelopeKind::Call, b"data");
    assert_eq!(refusal(&key, &HERE, &envelope), None);
    let elsewhere = Destination { cluster: ClusterId(4), ..HERE };
    let (named, expected) = (ClusterId(3), ClusterId(4));
    assert_eq!(refusal(&key, &elsewhere, &envelope), Some(OpenEnvelopeError::Cluster { named, expected }));
    let later = Destination { epoch: 10, ..HERE };
    assert_eq!(refusal(&key, &later, &envelope), Some(OpenEnvelopeError::Epoch { named: 9, expected: 10 }));
    let other_chain = Destination { genesis: [8; 32], ..HERE };
    assert_eq!(refusal(&key, &other_chain, &envelope), Some(OpenEnvelopeError::Unauthentic));
    assert_eq!(refusal(&keys(2).0, &HERE, &envelope), Some(OpenEnvelopeError::Unauthentic));
}

/// A host that rewrites the header to fit where it wants the envelope opened.
#[test]
fn refuses_envelope_relabelled_for_another_cluster_epoch_or_kind() {
    let (key, recipient) = keys(1);
    let envelope = sealed(&recipient, EnvelopeKind::Call, b"data");
    let relabelled = |header: EnvelopeHeader| Envelope { header, ..envelope.clone() };
    let header = envelope.header;
    let cluster = relabelled(EnvelopeHeader { cluster: ClusterId(4), ..header });
    let at = Destination { cluster: ClusterId(4), ..HERE };
    assert_eq!(refusal(&key, &at, &cluster), Some(OpenEnvelopeError::Unauthentic));
    let epoch = relabelled(EnvelopeHeader { epoch: 10, ..header });
    assert_eq!(refusal(&key, &Destination { epoch: 10, ..HERE }, &epoch), Some(OpenEnvelopeError::Unauthentic));
    let kind = relabelled(EnvelopeHeader { kind: EnvelopeKind::SessionOpen, ..header });
    assert_eq!(refusal(&key, &HERE, &kind), Some(OpenEnvelopeError::Unauthentic));
    let kind = relabelled(EnvelopeHeader { kind: EnvelopeKind::SessionCommand, ..header });
    assert_eq!(refusal(&key, &HERE, &kind), Some(OpenEnvelopeError::Kind));
    let version = relabelled(EnvelopeHeader { version: 2, ..header });
    assert_eq!(refusal(&key, &HERE, &version), Some(OpenEnvelopeError::Version(2)));
    let size = relabelled(EnvelopeHeader { size: SizeClass::K1, ..header });
    assert_eq!(refusal(&key, &HERE, &size), Some(OpenEnvelopeError::Length));
}

#[test]
fn refuses_parts_of_another_length() {
    let (key, recipient) = keys(1);
    let envelope = sealed(&recipient, EnvelopeKind::Call, b"data");
    for length in [0, 16, 1119] {
        let cut = Envelope { opening: envelope.opening[..length].to_vec(), ..envelope.clone() };
        assert_eq!(refusal(&key, &HERE, &cut), Some(OpenEnvelopeError::Length));
    }
    for length in [0, 15, 271] {
        let cut = Envelope { body: envelope.body[..length].to_vec(), ..envelope.clone() };
        assert_eq!(refusal(&key, &HERE, &cut), Some(OpenEnvelopeError::Length));
    }
}

/// Only the sender can pad wrongly, so this is sealed by hand.
#[test]
fn refuses_bytes_hidden_in_the_padding_and_lengths_beyond_the_end() {
    let (key, recipient) = keys(1);
    let seal = |plaintext: &[u8]| {
        let info = [domain::ENVELOPE_INFO.as_bytes(), &HERE.genesis].concat();
        let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &bytes(&mut seeded(13)));
        let (kind, cluster, epoch, size) = (EnvelopeKind::Call, HERE.cluster, HERE.epoch, SizeClass::B256);
        let header = EnvelopeHeader { version: VERSION, kind, cluster, epoch, size };
        let (body, _) = context.seal(&header.associated_data(&HERE.genesis, &[]), plaintext).unwrap();
        Envelope { header, opening: encapsulated.to_vec(), body }
    };
    let mut plaintext = [0; 256];
    plaintext[0] = 4;
    assert_eq!(refusal(&key, &HERE, &seal(&plaintext)), None);
    plaintext[255] = 1;
    assert_eq!(refusal(&key, &HERE, &seal(&plaintext)), Some(OpenEnvelopeError::Padding(UnpadError::NonZero)));
    plaintext[..2].copy_from_slice(&255u16.to_le_bytes());
    assert_eq!(refusal(&key, &HERE, &seal(&plaintext)), Some(OpenEnvelopeError::Padding(UnpadError::Length)));
}

#[test]
fn padding_holds_up_to_the_room_of_its_class() {
    for size in SizeClass::ALL {
        let room = size.bytes() - 2;
        let full = vec![5; room];
        assert_eq!(*unpad(pad(&full, size).unwrap().expose()).unwrap().expose(), full);
        assert_eq!(pad(&vec![5; room + 1], size).err(), Some(PadError { data: room + 1, room }));
    }
    assert_eq!(pad(&vec![5; 70_000], SizeClass::K16).err(), Some(PadError { data: 70_000, room: 16_382 }));
    assert_eq!(unpad(&[]).err(), Some(UnpadError::Length));
    assert_eq!(unpad(&[1]).err(), Some(UnpadError::Length));
}

#[test]
fn refuses_to_seal_a_session_command_or_too_much() {
    let (_, recipient) = keys(1);
    let seal = |kind, data: &[u8]| {
        seal_envelope(&recipient, &HERE, kind, SizeClass::B256, data, &[1; 64]).map(|(envelope, _)| envelope)
    };
    assert_eq!(seal(EnvelopeKind::SessionCommand, b""), Err(SealEnvelopeError::Kind));
    let oversized = PadError { data: 255, room: 254 };
    assert_eq!(seal(EnvelopeKind::Call, &[0; 255]), Err(SealEnvelopeError::Oversized(oversized)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn refuses_every_flipped_bit(data in proptest::collection::vec(any::<u8>(), 0..254), pick in any::<proptest::sample::Index>()) {
        let (key, recipient) = keys(1);
        let envelope = sealed(&recipient, EnvelopeKind::Call, &data);
        let opened = open_envelope(&key, &HERE, &envelope).unwrap();
        prop_assert_eq!(opened.data.expose(), &data);
        let mut bytes = envelope.to_bytes();
        let bit = pick.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let refused = match Envelope::decode_exact(&bytes) {
            Ok(altered) => open_envelope(&key, &HERE, &altered).is_err(),
            Err(_) => true,
        };
        prop_assert!(refused);
    }

    #[test]
    fn unpadding_never_panics_and_reverses_padding_only(padded in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(data) = unpad(&padded) {
            let mut again = (data.expose().len() as u16).to_le_bytes().to_vec();
            again.extend_from_slice(data.expose());
            again.resize(padded.len(), 0);
            prop_assert_eq!(again, padded);
        }
    }
}
