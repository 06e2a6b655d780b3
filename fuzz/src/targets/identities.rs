//! Ceremonies of identities: hostile records and dealers before a gatekeeper, and what its host gives it as its own sealed state.
//!
//! INSECURE: the machines are simulated, on a genesis that is marked as a development one.

use crate::{decoded, Target, Verdict};
use codec::Encode;
use phala_crypto::Secret;
use phala_gatekeeper::{
    identity::{
        ceremony::{Dealer, Holder, Outcome, View},
        verify_identities, Custody, Generation, IdentityKeys, IdentityShares, Package, Possession, RistrettoPoint,
        Session, SubShare, VerifiedPackage, IDENTITY_SHARE_BYTES,
    },
    ReceivingKey,
};
use phala_keys_sim::{
    members::{Peers, GENESIS, NOW},
    Members,
};
use phala_protocol::{
    ceremony::{CeremonyAttempt, Parcel, Phase},
    identities::{IdentityCeremonyRecord, IdentityRecord, IdentityStatement, SignedIdentityStatement},
    WorkerId,
};
use std::sync::LazyLock;

const SEATS: u16 = 4;
const OF: CeremonyAttempt = CeremonyAttempt::identities(1, 0);

/// A dealer's package with its proof, as they arrive.
type Proved = (Package, [u8; 32], [u8; 32]);

/// A ceremony of four seats that made keys, before its first seat, which deals and receives.
struct World {
    first: WorkerId,
    record: IdentityCeremonyRecord,
    dealer: Vec<u8>,
    /// Before anything arrived, and with what all dealt.
    holders: [Vec<u8>; 2],
    made: IdentityRecord,
    keys: IdentityKeys,
    shares: Vec<u8>,
    custody: Vec<u8>,
    /// The generation in one of the groups, what its second seat dealt, and what of that is the third's.
    generation: Generation<RistrettoPoint>,
    proved: Proved,
    verified: VerifiedPackage<RistrettoPoint>,
    sub_share: [u8; 32],
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fn view<'a>(
    members: &'a Members,
    index: u16,
    record: &'a IdentityCeremonyRecord,
    entropy: &'a Secret<[u8; 32]>,
    (receiving, peers): (&'a ReceivingKey, &'a Peers),
) -> View<'a> {
    View { record, head: 1, now: NOW, since: 0, identity: members.identity(index), receiving, peers, entropy }
}

impl World {
    fn new() -> Self {
        let (members, entropy) = (Members::new(4), Secret::new([9; 32]));
        let ids = members.ids(SEATS);
        let first = ids[0];
        let mut record = IdentityCeremonyRecord::new(1, 0, None, &ids, |_| true);
        record.begin(Phase::Commit, 1, 100);
        let begin = |id: &WorkerId| Dealer::begin(&GENESIS, id, &Secret::new(id.0), &record, None, None).unwrap();
        let mut dealers: Vec<Dealer> = ids.iter().map(begin).collect();
        let mut holder = Holder::begin(&GENESIS, &first, &record, None).unwrap();
        let fresh = holder.to_secret_bytes().expose().clone();

        let mut said: Vec<SignedIdentityStatement> = Vec::new();
        let (own, peers) = (members.receiving(1, OF), members.peers(OF));
        // Dealers receive nothing.
        let with = (&*own, &*peers);
        for (index, dealer) in (1..).zip(&mut dealers) {
            let turn = dealer.step(&view(&members, index, &record, &entropy, with)).unwrap();
            said.extend(turn.statements.into_iter().map(|(signed, _)| signed));
        }
        for (dealer, signed) in record.dealers.iter_mut().zip(&said) {
            if let IdentityStatement::Commit { package } = signed.statement {
                dealer.package = Some(package);
            }
        }
        record.begin(Phase::Share, 1, 100);
        let mut parcels: Vec<Parcel> = Vec::new();
        for (index, dealer) in (1..).zip(&mut dealers) {
            parcels.extend(dealer.step(&view(&members, index, &record, &entropy, with)).unwrap().parcels);
        }
        let _ = holder.step(&view(&members, 1, &record, &entropy, with), dealers.first()).unwrap();
        for parcel in parcels.iter().filter(|parcel| parcel.header.to == 1) {
            holder.accept(&own, parcel).unwrap();
        }
        let _ = holder.step(&view(&members, 1, &record, &entropy, with), dealers.first()).unwrap();
        let holders = [fresh, holder.to_secret_bytes().expose().clone()];
        let dealer = dealers[0].to_secret_bytes().expose().clone();
        let Outcome { record: made, shares } = holder.into_outcome().unwrap();
        let keys = verify_identities(&made).unwrap();
        let share_bytes = shares.to_bytes().expose().to_vec();
        let mut custody = Custody::default();
        custody.expect(&Outcome { record: made.clone(), shares }).unwrap();
        custody.observe(&first, &made);

        let session = Session { genesis: GENESIS, era: 1, attempt: 0, holders: ids };
        let generation = Generation::new(&session).unwrap();
        let (dealing, proof) = generation.deal(2, &Secret::new([2; 32])).unwrap();
        let verified = generation.verify_package(dealing.package(), &proof).unwrap();
        Self {
            first,
            record,
            dealer,
            holders,
            made,
            keys,
            shares: share_bytes,
            custody: custody.to_secret_bytes().expose().clone(),
            generation,
            proved: (dealing.package().clone(), proof.commitment, proof.response),
            verified,
            sub_share: *dealing.sub_share(3).unwrap().value().expose(),
        }
    }

    fn dealer(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let (bytes, record) = (Secret::new(bytes.to_vec()), &self.record);
        let dealer = Dealer::from_secret_bytes(&bytes, &GENESIS, &self.first, record, None, None);
        dealer.map(|dealer| dealer.to_secret_bytes().expose().clone()).map_err(|error| error.to_string())
    }

    fn holder(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let bytes = Secret::new(bytes.to_vec());
        let holder = Holder::from_secret_bytes(&bytes, &GENESIS, &self.first, &self.record, None);
        holder.map(|holder| holder.to_secret_bytes().expose().clone()).map_err(|error| error.to_string())
    }

    fn custody(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let custody = Custody::from_secret_bytes(&Secret::new(bytes.to_vec()));
        custody.map(|custody| custody.to_secret_bytes().expose().clone()).map_err(|error| error.to_string())
    }

    fn check_record(&self, record: &IdentityRecord) -> Verdict {
        verify_identities(record).map_or_else(Verdict::refused, |keys| {
            assert_eq!((keys.ed25519.key(), keys.sr25519.key()), (record.keys.ed25519, record.keys.sr25519));
            assert_eq!(keys.ed25519.threshold(), record.threshold);
            let known =
                |index| self.made.holders.iter().find(|holder| holder.index == index).map(|holder| holder.shares);
            let same = record.holders.iter().all(|holder| known(holder.index) == Some(holder.shares));
            if same && record.holders.len() >= usize::from(self.made.threshold) {
                assert_eq!(record.keys, self.made.keys, "other keys out of the same shares");
            }
            Verdict::accepted(record.holders.len())
        })
    }

    fn check_shares(&self, (index, bytes): (u16, [u8; IDENTITY_SHARE_BYTES])) -> Verdict {
        IdentityShares::open(&self.keys, index, &Secret::new(bytes)).map_or_else(Verdict::refused, |shares| {
            assert_eq!((shares.index(), shares.to_bytes().expose()), (index, &bytes));
            assert_eq!((index, bytes.as_slice()), (1, self.shares.as_slice()), "shares that nobody was dealt");
            Verdict::accepted("shares")
        })
    }

    fn check_package(&self, (package, commitment, response): Proved) -> Verdict {
        let proof = Possession { commitment, response };
        self.generation.verify_package(&package, &proof).map_or_else(Verdict::refused, |_| {
            // Behind an altered constant term nobody has proved to stand; the others are the dealer's own business.
            assert_eq!(package.dealer, self.proved.0.dealer, "another's proof");
            assert_eq!(package.commitments[0], self.proved.0.commitments[0], "a constant term that nobody knows");
            Verdict::accepted(package == self.proved.0)
        })
    }

    fn check_sub_share(&self, (dealer, to, value): (u16, u16, [u8; 32])) -> Verdict {
        let sub_share = SubShare::new(dealer, to, Secret::new(value));
        self.generation.verify_sub_share(&self.verified, &sub_share).map_or_else(Verdict::refused, |verified| {
            assert_eq!((verified.dealer(), to, value), (2, 3, self.sub_share), "a second sub-share, or another seat's");
            Verdict::accepted("sub-share")
        })
    }
}

/// What is restored from `bytes` is sealed and restored again as the same.
fn restored(bytes: &[u8], restore: impl Fn(&[u8]) -> Result<Vec<u8>, String>) -> Verdict {
    match restore(bytes) {
        Ok(sealed) => {
            assert_eq!(restore(&sealed).as_ref(), Ok(&sealed), "what is sealed anew is something else");
            Verdict::accepted("")
        }
        Err(refusal) => Verdict::refused(refusal),
    }
}

/// The first byte says what the others are.
pub static IDENTITIES: Target = Target {
    name: "identities",
    covers: &[
        "tee/gatekeeper/src/identity/ceremony/stored.rs::from_secret_bytes",
        "tee/gatekeeper/src/identity/custody.rs::from_secret_bytes",
        "tee/gatekeeper/src/identity/generate.rs::verify_package",
        "tee/gatekeeper/src/identity/generate.rs::verify_sub_share",
        "tee/gatekeeper/src/identity/pair.rs::open",
        "tee/gatekeeper/src/identity/pair.rs::verify_identities",
    ],
    samples: LazyLock::new(|| {
        let sample = |which: u8, encoded: Vec<u8>| [vec![which], encoded].concat();
        let shares: [u8; IDENTITY_SHARE_BYTES] = WORLD.shares.as_slice().try_into().unwrap();
        vec![
            sample(0, WORLD.made.encode()),
            sample(1, (1_u16, shares).encode()),
            sample(2, WORLD.custody.clone()),
            sample(3, WORLD.dealer.clone()),
            sample(4, WORLD.holders[0].clone()),
            sample(4, WORLD.holders[1].clone()),
            sample(5, WORLD.proved.encode()),
            sample(6, (2_u16, 3_u16, WORLD.sub_share).encode()),
        ]
    }),
    check: |bytes| {
        let (which, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let shape = Verdict::refused("shape");
        match which % 7 {
            0 => decoded::<IdentityRecord>(bytes).map_or(shape, |record| WORLD.check_record(&record)),
            1 => decoded(bytes).map_or(shape, |sent| WORLD.check_shares(sent)),
            2 => restored(bytes, World::custody).of("custody"),
            3 => restored(bytes, |bytes| WORLD.dealer(bytes)).of("dealer"),
            4 => restored(bytes, |bytes| WORLD.holder(bytes)).of("holder"),
            5 => decoded(bytes).map_or(shape, |sent| WORLD.check_package(sent)).of("package"),
            _ => decoded(bytes).map_or(shape, |sent| WORLD.check_sub_share(sent)).of("sub-share"),
        }
    },
    iterations: 300,
};
