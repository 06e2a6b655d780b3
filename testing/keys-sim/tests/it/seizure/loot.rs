//! What was taken, and everything that can be made of it for the keys of some place.

use super::{
    attempt_of, combined, evaluated, outputs, partial, point, reduced, Era, Outputs, Place, Share, PURPOSES, SEIZED,
};
use codec::Encode;
use curve25519_dalek::{ristretto::RistrettoPoint, scalar::Scalar, traits::Identity};
use phala_crypto::{kdf, prf::Input, Secret};
use phala_gatekeeper::dkg::open_parcel;
use phala_keys_sim::{invariants::subsets, members::GENESIS, Members};
use phala_protocol::{
    ceremony::{Attachment, ParcelKind, Statement},
    domain,
};
use std::collections::{BTreeMap, BTreeSet};

/// What was taken.
pub(super) struct Loot<'a> {
    pub(super) eras: &'a [Era; 2],
    /// The seats whose machines were taken, in each era.
    pub(super) coalitions: [Vec<u16>; 2],
    /// Their shares.
    shares: [Vec<Share>; 2],
    /// The worker's answers, opened: the evaluation by each seat, for each of [`PURPOSES`].
    evaluations: [BTreeMap<u16, RistrettoPoint>; 3],
    /// What the worker made of them.
    pub(super) outputs: Outputs,
    /// 32 bytes that anybody can read, each once.
    public: BTreeSet<[u8; 32]>,
}

impl<'a> Loot<'a> {
    pub(super) fn take(eras: &'a [Era; 2], coalitions: [Vec<u16>; 2]) -> Self {
        let shares = [eras[0].shares(&coalitions[0]), eras[1].shares(&coalitions[1])];
        let all = eras[0].shares(&eras[0].seats());
        let evaluations: [BTreeMap<u16, RistrettoPoint>; 3] = PURPOSES.map(|purpose| {
            let input = SEIZED.input(purpose);
            all.iter().map(|share| (share.0, evaluated(*share, &input))).collect()
        });
        let mut public = BTreeSet::new();
        for era in eras {
            public.insert(era.root.share_list);
            public.extend(era.root.seats.iter().map(|seat| seat.0));
            public.extend(era.ran.public.iter().flat_map(|(said, _)| match said.statement {
                Statement::Commit { package } => vec![package],
                Statement::Confirm(keys) => vec![keys.share_list, keys.beacon],
                Statement::Deliver { parcel, .. } | Statement::Dispute { parcel, .. } => vec![parcel],
                Statement::Answer { shares, .. } => shares.to_vec(),
                Statement::Complain { .. } | Statement::Reject { .. } => Vec::new(),
            }));
        }
        let outputs = outputs(&eras[0].enough(), SEIZED).unwrap();
        Self { eras, coalitions, shares, evaluations, outputs, public }
    }

    /// What the dealers among the taken seats of an era dealt to a seat, together: their seeds give it.
    fn dealt(&self, members: &Members, era: usize, to: u16) -> Option<[u8; 32]> {
        let ran = &self.eras[era].ran;
        let mut sum = Scalar::ZERO;
        for from in &self.coalitions[era] {
            let mut parcels = ran.parcels.iter().filter(|parcel| {
                (parcel.header.attempt + 1, parcel.header.from, parcel.header.to) == (ran.attempts, *from, to)
            });
            let parcel = parcels.find(|parcel| parcel.header.kind == ParcelKind::Share)?;
            let share = open_parcel(&GENESIS, members.opener(parcel).secret(), parcel).ok()?;
            // Of the root; that of the beacon follows.
            sum += Scalar::from_bytes_mod_order(share.expose().get(..32)?.try_into().ok()?);
        }
        Some(sum.to_bytes())
    }

    /// Everything that can be made of it for the keys of `place`, in words and as outputs.
    pub(super) fn attempts(&self, members: &Members, place: Place) -> Vec<(String, Outputs)> {
        let era = if place.era == 1 { 0 } else { 1 };
        let (own, other) = (&self.shares[era], &self.shares[1 - era]);
        let threshold = self.eras[era].threshold();
        assert_eq!(own.len() + 1, threshold);
        let mut attempts = vec![
            ("its shares alone".to_owned(), outputs(own, place).unwrap()),
            ("the worker's keys".to_owned(), self.outputs),
        ];
        attempts.extend(self.public.iter().map(|value| ("a public value".to_owned(), [*value; 3])));

        // Fewer are refused by name, whatever threshold the root has.
        let inputs = PURPOSES.map(|purpose| place.input(purpose));
        let partials = inputs.map(|input| own.iter().map(|share| partial(*share, &input).unwrap()).collect::<Vec<_>>());
        assert!(partials.iter().all(|partials| combined(threshold, partials).is_none()));

        let seats = self.eras[era].seats();
        for index in seats.into_iter().filter(|index| !self.coalitions[era].contains(index)) {
            let mut guesses: BTreeSet<[u8; 32]> = own.iter().chain(other).map(|(_, share)| *share).collect();
            guesses.extend(self.public.iter().chain(&self.outputs).map(|value| reduced(*value)));
            guesses.extend(self.dealt(members, era, index));
            guesses.extend(self.eras[era].beacon_shares(&self.coalitions[era]));
            guesses.insert(Scalar::ONE.to_bytes());
            for guess in guesses {
                let mut found = [[0; 32]; 3];
                for ((output, input), partials) in found.iter_mut().zip(&inputs).zip(&partials) {
                    // What is no share at all gives nothing.
                    let Some(guessed) = partial((index, guess), input) else { continue };
                    let all = [partials.as_slice(), &[guessed]].concat();
                    *output = combined(threshold, &all).unwrap_or_default();
                }
                attempts.push((format!("a guess of the share of seat {index}"), found));
            }
            for (what, found) in self.points(era, index, &inputs) {
                attempts.push((format!("{what} instead of the evaluation by seat {index}"), found));
            }
        }

        let both = [own.as_slice(), other.as_slice()].concat();
        for mixed in subsets(&both, threshold) {
            let indices: BTreeSet<u16> = mixed.iter().map(|(index, _)| *index).collect();
            if indices.len() == threshold {
                attempts.push(("shares of both eras".to_owned(), outputs(&mixed, place).unwrap()));
            }
        }
        attempts
    }

    /// Points that stand where the evaluation by the seat of `index` belongs.
    fn points(&self, era: usize, index: u16, inputs: &[Input; 3]) -> Vec<(&'static str, Outputs)> {
        let own = &self.shares[era];
        let mut found: BTreeMap<&'static str, Outputs> = BTreeMap::new();
        for (number, input) in inputs.iter().enumerate() {
            let have: Vec<(u16, RistrettoPoint)> =
                own.iter().map(|share| (share.0, evaluated(*share, input))).collect();
            let enough = self.eras[era].enough();
            let group: Vec<(u16, RistrettoPoint)> =
                enough.iter().map(|(index, _)| (*index, self.eras[era].public_share(*index))).collect();
            // None of a seat that has no share in the worker's era.
            let answered = |index: u16| self.evaluations[number].get(&index).copied().unwrap_or_default();
            // The worker's answer, moved by what the answers of a taken seat differ by.
            let (witness, at_place) = have[0];
            let moved = answered(index) + at_place - answered(witness);
            let stand_ins = [
                ("the public share", self.eras[era].public_share(index)),
                ("the beacon's public share", self.eras[era].public_beacon_share(index)),
                ("the other era's public share", self.eras[1 - era].public_share(index)),
                ("the root's public key", at_zero(&group)),
                ("the input", point(&input.to_bytes())),
                ("the worker's answer", answered(index)),
                ("the worker's answer, moved", moved),
            ];
            for (what, stand_in) in stand_ins {
                let points = [have.as_slice(), &[(index, stand_in)]].concat();
                found.entry(what).or_insert([[0; 32]; 3])[number] = output_of_points(input, &points);
            }
        }
        found.into_iter().collect()
    }

    /// All bytes that the taken machines hold or can read: what they sealed at any time, parcels that open to them, all that was
    /// public or on the wire, the worker's keys.
    pub(super) fn bytes(&self, members: &Members) -> Vec<Vec<u8>> {
        let mut bytes: Vec<Vec<u8>> = vec![self.outputs.concat()];
        for (era, coalition) in self.eras.iter().zip(&self.coalitions) {
            bytes.extend(coalition.iter().flat_map(|index| era.ran.kept[index].iter().cloned()));
            for parcel in &era.ran.parcels {
                bytes.push(parcel.encode());
                if coalition.contains(&parcel.header.to) {
                    let content = open_parcel(&GENESIS, members.opener(parcel).secret(), parcel);
                    bytes.push(content.unwrap().expose().clone());
                }
            }
            for (said, beside) in &era.ran.public {
                bytes.push((said, beside).encode());
                if let Some(Attachment::Parcel(parcel)) = beside {
                    let keys = coalition.iter().map(|index| members.receiving(*index, attempt_of(parcel)));
                    let opened = keys.filter_map(|key| open_parcel(&GENESIS, key.secret(), parcel).ok());
                    bytes.extend(opened.map(|content| content.expose().clone()));
                }
            }
            bytes.push(era.root.encode());
        }
        bytes.sort_unstable();
        bytes.dedup();
        bytes
    }
}

/// The value at 0 of the polynomial through these points, in the exponent.
fn at_zero(points: &[(u16, RistrettoPoint)]) -> RistrettoPoint {
    let mut sum = RistrettoPoint::identity();
    for (index, value) in points {
        let own = Scalar::from(*index);
        let others = points.iter().filter(|(other, _)| other != index).map(|(other, _)| Scalar::from(*other));
        sum += value * others.fold(Scalar::ONE, |product, other| product * other * (other - own).invert());
    }
    sum
}

/// `combine` without its types, for points that nobody has a proof of.
pub(super) fn output_of_points(input: &Input, points: &[(u16, RistrettoPoint)]) -> [u8; 32] {
    let mut sum = RistrettoPoint::identity();
    for (index, evaluated) in points {
        let own = Scalar::from(*index);
        let mut coefficient = Scalar::ONE;
        for (other, _) in points.iter().filter(|(other, _)| other != index) {
            let other = Scalar::from(*other);
            coefficient *= other * (other - own).invert();
        }
        sum += evaluated * coefficient;
    }
    let sum = Secret::new(sum.compress().to_bytes());
    *kdf::derive::<32>(&sum, domain::PRF_OUTPUT, &input.to_bytes()).expose()
}
