//! What somebody opens who has all memory and disk of t-1 gatekeepers, of two eras, and of one worker in one epoch: that epoch of
//! that cluster, and nothing else. Tried, not argued.
//!
//! The roots are made by the code that ships. What is tried on: envelopes, commitments of a small state, stores and snapshots under the keys of
//! another cluster, of the epochs around, and of the other era, and the sealed messages by which all of these come to be. Each also opens in
//! its own way - by one share more, or by its own worker's key - so that an attempt could succeed. Does not: invert a discrete logarithm, or
//! try what is no attempt on these keys, as a broken chain that assigns the cluster to somebody.

mod loot;
mod sealed;

use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
};
use loot::{output_of_points, Loot};
use phala_crypto::{
    envelope::{open_envelope, Destination},
    prf::{combine, verify_partial, Input, KeyShare, VerifiedPartial},
    Secret,
};
use phala_gatekeeper::{dkg::open_parcel, open_grant, GrantError, Grants};
use phala_keys_sim::{
    invariants::{interpolate, subsets, Holder},
    members::GENESIS,
    run, Members, Ran,
};
use phala_protocol::{
    ceremony::{Attachment, CeremonyAttempt, Parcel},
    chain_state::RootRecord,
    domain,
    keys::{KeyPurpose, PrfInput},
    ClusterId, Epoch,
};
use sealed::{envelope_key, Sealed};
use std::collections::HashSet;

/// The keys under which something is sealed; entropy is evaluated in the same way, and nothing is derived of it.
const PURPOSES: [KeyPurpose; 3] = [KeyPurpose::Envelope, KeyPurpose::Commit, KeyPurpose::Storage];
/// Outputs of the PRF, one for each of [`PURPOSES`].
type Outputs = [[u8; 32]; 3];
/// A share of somebody: index and scalar.
type Share = (u16, [u8; 32]);

/// Which keys: all of one input of the PRF, but for the purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    era: u32,
    cluster: ClusterId,
    epoch: Epoch,
}

const fn place(era: u32, cluster: u32, epoch: Epoch) -> Place {
    Place { era, cluster: ClusterId(cluster), epoch }
}

/// Where the seized worker serves.
const SEIZED: Place = place(1, 1, 5);
/// The epochs around it, the next in the next era too, another cluster in both eras, and its own input in the other era.
const OTHERS: [Place; 7] =
    [place(1, 1, 4), place(1, 1, 6), place(2, 1, 6), place(1, 2, 5), place(2, 2, 5), place(2, 1, 5), place(2, 1, 4)];

impl Place {
    fn input(self, purpose: KeyPurpose) -> Input {
        let Self { era, cluster, epoch } = self;
        Input::of(domain::PRF_INPUT, &PrfInput { genesis: GENESIS, era, cluster, epoch, purpose })
    }

    fn destination(self) -> Destination {
        Destination { genesis: GENESIS, cluster: self.cluster, epoch: self.epoch }
    }
}

/// One era's root, as nobody sees it: with all shares.
struct Era {
    ran: Ran,
    root: RootRecord,
}

impl Era {
    fn threshold(&self) -> usize {
        self.root.threshold.into()
    }

    fn shares(&self, indices: &[u16]) -> Vec<Share> {
        let holders = self.ran.holders.iter().filter(|holder| indices.contains(&holder.index));
        holders.map(|holder| (holder.index, holder.share)).collect()
    }

    /// The seats that have a share.
    fn seats(&self) -> Vec<u16> {
        self.ran.holders.iter().map(|holder| holder.index).collect()
    }

    /// As many shares as it takes.
    fn enough(&self) -> Vec<Share> {
        self.shares(&self.seats()[..self.threshold()])
    }

    /// What seats hold of the beacon key.
    fn beacon_shares(&self, indices: &[u16]) -> Vec<[u8; 32]> {
        let holders = self.ran.holders.iter().filter(|holder| indices.contains(&holder.index));
        holders.map(|holder| holder.beacon.as_ref().unwrap().0).collect()
    }

    /// A seat's public share of the beacon key, which everybody can read.
    fn public_beacon_share(&self, index: u16) -> RistrettoPoint {
        let (_, record) = self.ran.holders[0].beacon.as_ref().unwrap();
        let holder = record.holders.iter().find(|holder| holder.index == index).unwrap();
        point(&holder.share)
    }

    fn public_share(&self, index: u16) -> RistrettoPoint {
        point(&self.ran.holders[0].shares[usize::from(index) - 1])
    }
}

/// Roots of two eras, by the ceremony code, among seats of which none lies: what a liar sends need not open to anybody.
fn two_eras(members: &Members, seats: u16) -> [Era; 2] {
    for seed in 400..460 {
        let eras = [1, 2].map(|era| run(members, seed, era, seats));
        assert!(eras.iter().all(|ran| ran.violation.is_none()), "seed {seed}");
        // Each seat is one machine's all along.
        if eras.iter().all(|ran| ran.liars.is_empty() && ran.sets == 1) {
            return eras.map(|ran| Era { root: ran.root.clone().unwrap(), ran });
        }
    }
    panic!("in each of the seeds somebody lies");
}

fn point(bytes: &[u8; 32]) -> RistrettoPoint {
    CompressedRistretto(*bytes).decompress().unwrap()
}

/// Any 32 bytes as a scalar.
fn reduced(bytes: [u8; 32]) -> [u8; 32] {
    Scalar::from_bytes_mod_order(bytes).to_bytes()
}

/// The evaluation by a share, true or guessed: whoever guesses makes the public share that fits.
fn partial((index, scalar): Share, input: &Input) -> Option<VerifiedPartial> {
    let share = KeyShare::from_bytes(index, &Secret::new(scalar)).ok()?;
    verify_partial(&share.public_share(), input, &share.partial(input, &[1; 32])).ok()
}

fn combined(threshold: usize, partials: &[VerifiedPartial]) -> Option<[u8; 32]> {
    combine(threshold, partials).ok().map(|output| *output.expose())
}

/// The outputs at `place` by as many shares as there are.
fn outputs(shares: &[Share], place: Place) -> Option<Outputs> {
    let mut found = [[0; 32]; 3];
    for (output, purpose) in found.iter_mut().zip(PURPOSES) {
        let input = place.input(purpose);
        let partials = shares.iter().map(|share| partial(*share, &input)).collect::<Option<Vec<_>>>()?;
        *output = combined(shares.len(), &partials)?;
    }
    Some(found)
}

fn evaluated((_, scalar): Share, input: &Input) -> RistrettoPoint {
    point(&input.to_bytes()) * Scalar::from_canonical_bytes(scalar).unwrap()
}

fn holds_any(bytes: &[Vec<u8>], wanted: &HashSet<[u8; 32]>) -> bool {
    let mut windows = bytes.iter().flat_map(|bytes| bytes.windows(32));
    windows.any(|window| wanted.contains(window))
}

/// Tries everything, for every `step`-th coalition of t-1 seats.
fn nothing_else_opens(seats: u16, step: usize) {
    let members = Members::new(seats.try_into().unwrap());
    let eras = two_eras(&members, seats);
    let threshold = eras[0].threshold();
    let folder = tempfile::tempdir().unwrap();
    let era_of = |place: Place| &eras[if place.era == 1 { 0 } else { 1 }];
    let sealed = |number: usize, place: Place| Sealed::new(era_of(place), place, number as u8, folder.path());
    let others: Vec<Sealed> = OTHERS.iter().enumerate().map(|(number, place)| sealed(number, *place)).collect();
    let served = sealed(OTHERS.len(), SEIZED);
    // A snapshot by what opens the store, and so in the place where that opens and in no other.
    let whole = vec!["envelope", "commitment", "snapshot", "store"];
    let mut tried = 0;
    for (number, coalition) in subsets(&eras[0].seats(), threshold - 1).into_iter().step_by(step).enumerate() {
        // In the other era other machines, as far as there are any.
        let (mut rest, again): (Vec<u16>, Vec<u16>) =
            eras[1].seats().into_iter().partition(|index| !coalition.contains(index));
        rest.extend(again);
        rest.truncate(threshold - 1);
        let loot = Loot::take(&eras, [coalition, rest]);
        assert_eq!(served.opened(&loot.outputs, true), whole, "what was seized opens where it belongs");
        for target in &others {
            let place = target.place;
            for (position, (what, outputs)) in loot.attempts(&members, place).into_iter().enumerate() {
                let stores = number == 0 && (position < 2 || position.is_multiple_of(5));
                let opened = target.opened(&outputs, stores);
                assert!(opened.is_empty(), "{opened:?} of {place:?} by {what}, with {:?}", loot.coalitions);
                tried += 1;
            }
            // An envelope that says it is of the epoch that the worker has keys of.
            let mut renamed = target.envelope.clone();
            (renamed.header.cluster, renamed.header.epoch) = (SEIZED.cluster, SEIZED.epoch);
            assert!(open_envelope(&envelope_key(loot.outputs[0]), &SEIZED.destination(), &renamed).is_err());

            // One share more opens all of it, by `combine` and by points.
            let era = era_of(place);
            let taken = &loot.coalitions[if place.era == 1 { 0 } else { 1 }];
            let one_more = era.seats().into_iter().find(|index| !taken.contains(index)).unwrap();
            let enough = era.shares(&[taken.as_slice(), &[one_more]].concat());
            let right = outputs(&enough, place).unwrap();
            assert_eq!(target.opened(&right, true), whole, "{place:?}");
            let input = place.input(PURPOSES[0]);
            let points: Vec<_> = enough.iter().map(|share| (share.0, evaluated(*share, &input))).collect();
            assert_eq!(output_of_points(&input, &points), right[0]);
        }

        // What is missing stands nowhere in what was taken, in no form: not as bytes anywhere.
        let bytes = loot.bytes(&members);
        let mut missing = HashSet::new();
        for (era, coalition) in eras.iter().zip(&loot.coalitions) {
            let holders: Vec<&Holder> = era.ran.holders.iter().collect();
            missing.insert(interpolate(&holders[..threshold]));
            let others = era.ran.holders.iter().filter(|holder| !coalition.contains(&holder.index));
            missing.extend(others.map(|holder| holder.share));
            let taken: HashSet<[u8; 32]> = era.shares(coalition).into_iter().map(|(_, share)| share).collect();
            assert!(holds_any(&bytes, &taken), "its own shares are found where it looks");
        }
        for place in OTHERS {
            missing.extend(outputs(&era_of(place).enough(), place).unwrap());
        }
        assert!(!holds_any(&bytes, &missing));

        no_message_opens_for_another(&members, &loot, &others, &served);
    }
    assert!(tried > 500, "{tried}");
}

/// Sealed messages open to nobody but whom they were sealed to: parcels between other seats, and answers to other workers.
fn no_message_opens_for_another(members: &Members, loot: &Loot<'_>, others: &[Sealed], served: &Sealed) {
    let mut parcels = 0;
    for (era, coalition) in loot.eras.iter().zip(&loot.coalitions) {
        let foreign = era.ran.parcels.iter().filter(|parcel| !coalition.contains(&parcel.header.to));
        for parcel in foreign.step_by(7) {
            for index in coalition {
                let key = members.receiving(*index, attempt_of(parcel));
                assert!(open_parcel(&GENESIS, key.secret(), parcel).is_err());
            }
            let lasting = coalition.iter().map(|index| members.lasting(*index)).chain([&served.receiving]);
            for key in lasting {
                assert!(open_parcel(&GENESIS, key, parcel).is_err());
            }
            assert!(open_parcel(&GENESIS, members.opener(parcel).secret(), parcel).is_ok());
            parcels += 1;
        }
    }
    assert!(parcels > 0);
    for target in others {
        let era = if target.place.era == 1 { 0 } else { 1 };
        let root = &loot.eras[era].root;
        let mut grants = Grants::default();
        for (request, answer) in &target.answers {
            let taken = loot.coalitions.iter().flatten().map(|index| members.lasting(*index));
            for key in taken.chain([&served.receiving]) {
                assert_eq!(open_grant(key, request, root, answer).err(), Some(GrantError::Unauthentic));
            }
            // With its own answers the worker does not pass for one that was asked for the other place.
            for (_, own) in &served.answers {
                assert_eq!(open_grant(&served.receiving, request, root, own).err(), Some(GrantError::Unauthentic));
            }
            grants.add(open_grant(&target.receiving, request, root, answer).unwrap());
            let enough = grants.len() >= usize::from(root.threshold);
            assert_eq!(grants.key(root.threshold, KeyPurpose::Envelope).is_some(), enough);
        }
        let keys = PURPOSES.map(|purpose| *grants.key(root.threshold, purpose).unwrap().expose());
        assert_eq!(target.opened(&keys, false), ["envelope", "commitment", "snapshot"]);
    }
}

#[test]
fn everything_of_t_minus_1_of_four_gatekeepers_and_a_worker_opens_nothing_else() {
    nothing_else_opens(4, 1);
}

/// All that hosts recorded of a ceremony that is over, and later the long-lived keys of all machines, with what they receive under in others.
#[test]
fn everybodys_long_lived_keys_open_nothing_that_was_recorded_of_a_ceremony_that_is_over() {
    const SEATS: u16 = 4;
    let members = Members::new(4);
    for seed in 400..460 {
        let ran = run(&members, seed, 1, SEATS);
        assert!(ran.violation.is_none(), "seed {seed}");
        // What a liar sends need not open to anybody.
        if !ran.liars.is_empty() || ran.sets > 1 {
            continue;
        }
        let beside = ran.public.iter().filter_map(|(_, beside)| beside.as_ref());
        let delivered = beside.filter_map(|beside| match beside {
            Attachment::Parcel(parcel) => Some(parcel),
            Attachment::Key(_) | Attachment::Package(_) => None,
        });
        let delivered: Vec<&Parcel> = delivered.collect();
        for parcel in ran.parcels.iter().chain(delivered.iter().copied()) {
            assert!(
                open_parcel(&GENESIS, members.opener(parcel).secret(), parcel).is_ok(),
                "the attempt's key opens it"
            );
            let own = attempt_of(parcel);
            let others = [
                CeremonyAttempt { attempt: own.attempt + 1, ..own },
                CeremonyAttempt { era: own.era + 1, ..own },
                CeremonyAttempt::identities(own.era, own.attempt),
            ];
            for index in 1..=SEATS {
                assert!(open_parcel(&GENESIS, members.lasting(index), parcel).is_err());
                for of in others {
                    assert!(open_parcel(&GENESIS, members.receiving(index, of).secret(), parcel).is_err());
                }
            }
        }
        if !delivered.is_empty() {
            return;
        }
    }
    panic!("nothing was ever delivered on chain");
}

/// The attempt that a parcel is of.
fn attempt_of(parcel: &Parcel) -> CeremonyAttempt {
    CeremonyAttempt::root(parcel.header.era, parcel.header.attempt)
}

/// One coalition of the 35, which with four seats all are tried; `PHALA_LONG` tries them all.
#[test]
fn everything_of_t_minus_1_of_seven_gatekeepers_and_a_worker_opens_nothing_else() {
    nothing_else_opens(7, if is_long() { 1 } else { 35 });
}

fn is_long() -> bool {
    std::env::var_os("PHALA_LONG").is_some()
}
