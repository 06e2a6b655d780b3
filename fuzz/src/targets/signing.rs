//! Signing as a contract: hostile letters before a signer, hostile proofs before what authorises, and signatures before whoever carries.
//!
//! INSECURE: the key is anybody's, as the coefficients of its polynomial are small numbers.

use super::beacon::{insecure_value, scalar};
use crate::{assert_bounded, decoded, measured, Target, Verdict};
use codec::{Decode, Encode};
use phala_crypto::{
    egress::{verify_egress_signature, verify_signature},
    Secret,
};
use phala_gatekeeper::identity::{
    authorising_keys, open_share, verify_authorised, verify_key_record, Authorised, Group, KeyRecord, NotAuthorised,
    RistrettoPoint, Sessions,
};
use phala_light_client::{encode_proof, testing::TestChain, verify_anchor, verify_storage, LightClient};
use phala_protocol::{
    egress::{EgressAction, EgressFate, EgressItem, EgressOutcome},
    identities::signing::{EgressSignature, SigningLetter, SigningMessage, MAX_SIGNING_MESSAGE_BYTES},
    ids::BlockNumber,
    storage, ClusterId, ContractId, Hash,
};
use std::sync::LazyLock;

/// Of the polynomial behind [`insecure_value`].
const THRESHOLD: u16 = 3;
const HOLDERS: u16 = 4;
/// The block in which the item left.
const LEFT: BlockNumber = 40;

/// A chain on which a message has left, and what is honestly said and made about it.
struct World {
    client: LightClient,
    /// What shows that it left.
    proof: Vec<u8>,
    item: EgressItem,
    record: KeyRecord<RistrettoPoint>,
    /// Who coordinates, and another holder of whom the list has a commitment.
    leader: u16,
    signer: u16,
    /// Letters by author and recipient.
    letters: Vec<(u16, u16, SigningMessage)>,
    signature: EgressSignature,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let action = EgressAction::Message { destination: b"there".to_vec(), payload: b"hello".to_vec() };
        let item = EgressItem { cluster: ClusterId(1), sequence: 7, contract: ContractId([3; 32]), action };
        let mut chain = TestChain::new(91, 3, []);
        let genesis = chain.genesis_hash();
        let mut client = verify_anchor(&genesis, &chain.anchor()).unwrap();
        let fate = EgressFate { id: item.id(&genesis), block: LEFT, outcome: EgressOutcome::Left };
        let head = chain.build_block([(storage::egress_fate_key(item.cluster, item.sequence), Some(fate.encode()))]);
        client.advance(&chain.proof(0, head).encode(), &[1; 32]).unwrap();
        let keys = authorising_keys(&item);
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let proof = encode_proof(&chain.read_proof(head, &keys));

        let public = |index: u16| RistrettoPoint::base_times(&insecure_value(index).into()).to_encoding();
        let holders: Vec<(u16, [u8; 32])> = (1..=HOLDERS).map(|index| (index, public(index))).collect();
        let record = verify_key_record(THRESHOLD, &public(0), &holders).unwrap();
        let authorise = || authorised(&client, &proof, &item).unwrap();
        let mut all: Vec<Sessions<RistrettoPoint>> =
            (1..=HOLDERS).map(|index| sessions(index, &record, &genesis, authorise())).collect();
        let mut letters = Vec::new();
        for _ in 0..3 {
            let posted: Vec<(u16, u16, SigningMessage)> = all
                .iter()
                .flat_map(|own| own.outgoing().into_iter().map(move |(to, letter)| (own.index(), to, letter)))
                .collect();
            for (from, to, letter) in posted {
                all[usize::from(to) - 1].receive(from, letter.clone()).unwrap();
                if !letters.contains(&(from, to, letter.clone())) {
                    letters.push((from, to, letter));
                }
            }
        }
        let signature = *all.iter().flat_map(|own| own.signatures()).next().unwrap();
        let lists = letters.iter().filter(|(_, _, letter)| matches!(letter, SigningMessage::List { .. }));
        let (leader, signer) = lists.map(|(from, to, _)| (*from, *to)).next().unwrap();
        Self { client, proof, item, record, leader, signer, letters, signature }
    }

    fn genesis(&self) -> &Hash {
        self.client.genesis()
    }

    /// A letter of a holder to the coordinator, or to a signer: the first byte says whose and to whom.
    fn check_letter(&self, which: u8, bytes: &[u8]) -> Verdict {
        let (decoded, peak) = measured(|| SigningMessage::decode_bounded(bytes));
        assert_bounded(peak, bytes.len(), 4);
        let letter = match decoded {
            Ok(letter) => letter,
            Err(error) => {
                let codecs = <SigningMessage as codec::DecodeAll>::decode_all(&mut &bytes[..]);
                assert!(codecs.is_err() || bytes.len() > MAX_SIGNING_MESSAGE_BYTES);
                return Verdict::refused(error);
            }
        };
        assert!(bytes.len() <= MAX_SIGNING_MESSAGE_BYTES && letter.encode() == bytes);
        let from = u16::from(which >> 3) % (HOLDERS + 2);
        let to = if which & 4 == 0 { self.leader } else { self.signer };
        let authorised = authorised(&self.client, &self.proof, &self.item).unwrap();
        let mut own = sessions(to, &self.record, self.genesis(), authorised);
        let before = own.outgoing();
        let received = own.receive(from, letter.clone());
        let after = own.outgoing();
        // A part leaves for the coordinator's list alone, and for what was committed to.
        let part = after.iter().find(|(_, said)| matches!(said, SigningMessage::Part { .. }));
        if let Some((at, _)) = part {
            let SigningMessage::List { commitments, .. } = &letter else { panic!("a part for no list") };
            let Some((_, SigningMessage::Commit { commitments: committed, .. })) = before.first() else {
                panic!("a part without a commitment")
            };
            assert!(received.is_ok() && from == self.leader && *at == from);
            assert!(commitments.contains(committed) && commitments.len() >= usize::from(THRESHOLD));
        }
        assert!(own.signatures().next().is_none(), "of one letter");
        assert!(own.spoilers().keys().all(|named| *named == from && *named != to), "somebody else is named");
        match received {
            Ok(()) => Verdict::accepted(after.len()),
            Err(fault) => {
                let out = matches!(letter, SigningMessage::List { .. }) && after.is_empty();
                assert!(out || before == after, "a refused letter changes something");
                Verdict::refused(fault)
            }
        }
    }

    fn check_signature(&self, item: &EgressItem, signature: &EgressSignature) -> Verdict {
        let network = self.record.key();
        match verify_egress_signature(self.genesis(), &network, item, signature) {
            Ok(()) => {
                assert_eq!((item, signature), (&self.item, &self.signature), "a second signature");
                Verdict::accepted("signature")
            }
            Err(error) => {
                let EgressSignature { item: id, scheme, signature, .. } = *signature;
                let by_id = verify_signature(self.genesis(), scheme, &network, &self.item.contract, id, signature);
                // The chain reads neither item nor key.
                assert!(by_id.is_err() || by_id == Ok(self.signature), "another signature");
                Verdict::refused(error)
            }
        }
    }

    fn check_proof(&self, proof: &[u8], item: &EgressItem) -> Verdict {
        let Ok(proved) = verify_storage(self.client.head(), proof) else { return Verdict::refused("proof") };
        match verify_authorised(&self.client, &proved, item) {
            Ok(authorised) => {
                assert_eq!((item, *authorised.item()), (&self.item, self.item.id(self.genesis())), "another item");
                Verdict::accepted("authorised")
            }
            Err(error) => Verdict::refused(error),
        }
    }
}

/// Letters of all kinds as they travel, under a signature that is none: only whom they are for checks it.
pub(super) fn unsigned_letters() -> Vec<SigningLetter> {
    let letter = |(from, to, message): &(u16, u16, SigningMessage)| SigningLetter {
        from: *from,
        to: *to,
        message: message.clone(),
        signature: [0; 64],
    };
    WORLD.letters.iter().map(letter).collect()
}

fn authorised(client: &LightClient, proof: &[u8], item: &EgressItem) -> Result<Authorised, NotAuthorised> {
    verify_authorised(client, &verify_storage(client.head(), proof).unwrap(), item)
}

/// A holder that has committed in the first attempt.
fn sessions(
    index: u16,
    record: &KeyRecord<RistrettoPoint>,
    genesis: &Hash,
    authorised: Authorised,
) -> Sessions<RistrettoPoint> {
    let share = open_share(record, index, &scalar(insecure_value(index))).unwrap();
    let mut sessions = Sessions::new(*genesis, record.clone(), share).unwrap();
    let entropy = Secret::new([index as u8; 32]);
    sessions.advance(LEFT - 1, &entropy).unwrap();
    sessions.begin(authorised).unwrap();
    sessions.advance(LEFT + 1, &entropy).unwrap();
    sessions
}

/// The lowest bits of the first byte say what the others are: a letter, with whose and to whom above, a signature or a proof.
pub static SIGNING: Target = Target {
    name: "signing",
    covers: &[
        "common/protocol/src/identities/signing.rs::decode_bounded",
        "common/crypto/src/egress.rs::verify_egress_signature",
        "common/crypto/src/egress.rs::verify_signature",
        "tee/gatekeeper/src/identity/authorise.rs::verify_authorised",
    ],
    samples: LazyLock::new(|| {
        let letter = |(from, to, letter): &(u16, u16, SigningMessage)| {
            let to = if *to == WORLD.leader { 0 } else { 4 };
            [vec![(*from as u8) << 3 | to], letter.encode()].concat()
        };
        let mut samples: Vec<Vec<u8>> = WORLD.letters.iter().map(letter).collect();
        samples.push([vec![1], (&WORLD.item, &WORLD.signature).encode()].concat());
        samples.push([vec![2], (&WORLD.proof, &WORLD.item).encode()].concat());
        samples
    }),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let shape = Verdict::refused("shape");
        match which & 3 {
            0 => WORLD.check_letter(*which, bytes).of("letter"),
            1 => decoded::<(EgressItem, EgressSignature)>(bytes)
                .map_or(shape, |(item, signature)| WORLD.check_signature(&item, &signature))
                .of("signature"),
            _ => <(Vec<u8>, EgressItem)>::decode(&mut &bytes[..])
                .map_or(shape, |(proof, item)| WORLD.check_proof(&proof, &item))
                .of("proof"),
        }
    },
    iterations: 700,
};
