//! What somebody opens who has all memory and disk of t-1 gatekeepers, of two eras, and of one worker in one epoch: that epoch of
//! that cluster, and nothing else. Tried, not argued.
//!
//! The roots are made by the code that ships. What is tried on: envelopes, commitments of a small state and stores under the keys of
//! another cluster, of the epochs around, and of the other era, and the sealed messages by which all of these come to be. Each also opens in
//! its own way - by one share more, or by its own worker's key - so that an attempt could succeed. Does not: invert a discrete logarithm, or
//! try what is no attempt on these keys, as a broken chain that assigns the cluster to somebody.

use codec::Encode;
use curve25519_dalek::{
    ristretto::{CompressedRistretto, RistrettoPoint},
    scalar::Scalar,
    traits::Identity,
};
use phala_crypto::{
    envelope::{open_envelope, seal_envelope, Destination},
    hpke, kdf,
    prf::{combine, verify_partial, Input, KeyShare, VerifiedPartial},
    xwing::{DecapsulationKey, EncapsulationKey},
    Secret,
};
use phala_gatekeeper::{dkg::open_parcel, open_grant, GrantError, Grants};
use phala_keys_sim::{
    invariants::{interpolate, subsets, Holder},
    members::GENESIS,
    random::Random,
    run, Members, Ran,
};
use phala_protocol::{
    call::{Call, CallPurpose, SignedCall},
    ceremony::{Attachment, CeremonyAttempt, Parcel, ParcelKind, Statement},
    chain_state::RootRecord,
    domain,
    envelope::{Envelope, EnvelopeKind, SizeClass},
    gas::GasClass,
    hash::blake2_256,
    keys::{answer_key_hash, Evaluation, KeyAnswer, KeyGrant, KeyPurpose, KeyRequest, PrfInput},
    AccountId, ClusterId, ContractId, Epoch, Hash, WorkerId,
};
use phala_state::{ClusterStore, Entropy, EntropyError, OpenError, Options, StorageKey};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::Mutex,
};

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

/// [`combine`] without its types, for points that nobody has a proof of.
fn output_of_points(input: &Input, points: &[(u16, RistrettoPoint)]) -> [u8; 32] {
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

fn evaluated((_, scalar): Share, input: &Input) -> RistrettoPoint {
    point(&input.to_bytes()) * Scalar::from_canonical_bytes(scalar).unwrap()
}

fn envelope_key(output: [u8; 32]) -> DecapsulationKey {
    DecapsulationKey::from_seed(&kdf::derive(&Secret::new(output), domain::EPOCH_ENVELOPE, &[]))
}

fn commit_key(output: [u8; 32]) -> Secret<[u8; 32]> {
    kdf::derive(&Secret::new(output), domain::EPOCH_COMMIT, &[])
}

struct Seeded(Mutex<Random>);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut random = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(32) {
            let bytes = random.bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

fn entropy(random: &mut Random) -> [u8; 64] {
    [random.bytes(), random.bytes()].concat().try_into().unwrap()
}

/// A machine's own part of its storage key. Whoever tries has it, too: only the network's part is missing.
const MACHINE: &[u8] = b"the worker's machine";
const CONTRACT: ContractId = ContractId([6; 32]);

fn open_store(path: &Path, place: Place, storage: [u8; 32]) -> Result<ClusterStore, OpenError> {
    let storage = kdf::derive(&Secret::new(storage), domain::EPOCH_STORAGE, &[]);
    let key = StorageKey::derive(place.epoch, &storage, MACHINE);
    let options = Options { file_cache_bytes: 1 << 20, tree_cache_bytes: 1 << 20, ..Options::default() };
    ClusterStore::open(path, key, Box::new(Seeded(Mutex::new(Random::new(place.epoch.into())))), options)
}

/// What is sealed under the keys of one place.
struct Sealed {
    place: Place,
    envelope: Envelope,
    /// Of a state that anybody could guess.
    commitment: Hash,
    guess: Hash,
    store: PathBuf,
    answers: Vec<(KeyRequest, KeyAnswer)>,
    /// Of the worker's requests: what it waits with.
    receiving: DecapsulationKey,
}

impl Sealed {
    fn new(era: &Era, place: Place, number: u8, folder: &Path) -> Self {
        let mut random = Random::new(number.into());
        let [envelope, commit, storage] = outputs(&era.enough(), place).unwrap();
        let payload = format!("the command of {place:?}").into_bytes();
        let call = Call {
            purpose: CallPurpose::Command,
            contract: CONTRACT,
            nonce: 1,
            valid_until: 100,
            gas_class: GasClass::Small,
            gas_limit: 1,
            max_fee: 1,
            payload,
        };
        let plain = SignedCall { account: AccountId([4; 32]), call, signature: [0; 64] }.encode();
        let size = SizeClass::holding(plain.len()).unwrap();
        let recipient = EncapsulationKey::from_bytes(envelope_key(envelope).public_key()).unwrap();
        let destination = place.destination();
        let (envelope, _) =
            seal_envelope(&recipient, &destination, EnvelopeKind::Call, size, &plain, &entropy(&mut random)).unwrap();

        let guess = blake2_256(b"a vote: yes");
        let commitment = kdf::hmac_commit(&commit_key(commit), domain::COMMITMENT, &guess);
        let path = folder.join(format!("{number}.store"));
        let store = open_store(&path, place, storage).unwrap();
        let mut batch = store.begin();
        batch.set(&CONTRACT, b"balance", b"271828".to_vec()).unwrap();
        store.commit(batch, Vec::new(), Vec::new()).unwrap();

        let receiving = DecapsulationKey::from_seed(&Secret::new(random.bytes()));
        let answers = era.ran.holders.iter();
        let answers = answers.map(|holder| answer(holder, &era.root, place, &receiving, &mut random)).collect();
        Self { place, envelope, commitment, guess, store: path, answers, receiving }
    }

    /// What of it these outputs open. Stores are asked only where it is worth their time.
    fn opened(&self, tried: &Outputs, stores: bool) -> Vec<&'static str> {
        let [envelope, commit, storage] = *tried;
        let mut opened = Vec::new();
        if open_envelope(&envelope_key(envelope), &self.place.destination(), &self.envelope).is_ok() {
            opened.push("envelope");
        }
        if kdf::verify_hmac(&commit_key(commit), domain::COMMITMENT, &self.guess, &self.commitment) {
            opened.push("commitment");
        }
        if stores {
            match open_store(&self.store, self.place, storage) {
                Ok(store) => {
                    assert_eq!(store.view().get(&CONTRACT, b"balance").unwrap(), Some(b"271828".to_vec()));
                    opened.push("store");
                }
                Err(OpenError::Integrity(_)) => {}
                Err(error) => panic!("the store was not tried: {error}"),
            }
        }
        opened
    }
}

/// The answer of a gatekeeper to the worker that serves at `place`.
fn answer(
    holder: &Holder,
    root: &RootRecord,
    place: Place,
    receiving: &DecapsulationKey,
    random: &mut Random,
) -> (KeyRequest, KeyAnswer) {
    let Place { era, cluster, epoch } = place;
    let gatekeeper = root.seats[usize::from(holder.index) - 1];
    let worker = WorkerId([9; 32]);
    let answer_key = answer_key_hash(receiving.public_key());
    let nonce = random.bytes();
    let request = KeyRequest { genesis: GENESIS, worker, gatekeeper, cluster, era, epoch, nonce, answer_key };
    let share = KeyShare::from_bytes(holder.index, &Secret::new(holder.share)).unwrap();
    let evaluation = |purpose| {
        let made = share.partial(&place.input(purpose), &[2; 32]);
        Evaluation { purpose, point: made.point, proof: made.proof }
    };
    let grant = KeyGrant {
        request: request.signing_payload(),
        era,
        index: holder.index,
        shares: holder.shares.clone(),
        evaluations: KeyPurpose::ALL.into_iter().map(evaluation).collect(),
        head: (100, [0x64; 32]),
    };
    let recipient = EncapsulationKey::from_bytes(receiving.public_key()).unwrap();
    let info = [domain::KEY_ANSWER.as_bytes(), &GENESIS].concat();
    let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &entropy(random));
    let (body, _) = context.seal(&request.signing_payload(), &grant.encode()).unwrap();
    (request, KeyAnswer { encapsulated: encapsulated.to_vec(), body })
}

/// What was taken.
struct Loot<'a> {
    eras: &'a [Era; 2],
    /// The seats whose machines were taken, in each era.
    coalitions: [Vec<u16>; 2],
    /// Their shares.
    shares: [Vec<Share>; 2],
    /// The worker's answers, opened: the evaluation by each seat, for each of [`PURPOSES`].
    evaluations: [BTreeMap<u16, RistrettoPoint>; 3],
    /// What the worker made of them.
    outputs: Outputs,
    /// 32 bytes that anybody can read, each once.
    public: BTreeSet<[u8; 32]>,
}

impl<'a> Loot<'a> {
    fn take(eras: &'a [Era; 2], coalitions: [Vec<u16>; 2]) -> Self {
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
    fn attempts(&self, members: &Members, place: Place) -> Vec<(String, Outputs)> {
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
    fn bytes(&self, members: &Members) -> Vec<Vec<u8>> {
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
    let whole = vec!["envelope", "commitment", "store"];
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
        assert_eq!(target.opened(&keys, false), ["envelope", "commitment"]);
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
