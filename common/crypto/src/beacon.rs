//! The beacon's cryptography: partial evaluations, and values that anyone verifies.
//!
//! ```text
//! x   = hash_to_group(BEACON_INPUT, (genesis, era, period))
//! Z_i = k_i x, with a proof that log_G(P_i) = log_x(Z_i)        (as crate::prf, under labels of its own)
//! Y   = sum of lambda_i Z_i over any t indices = k x
//! value = H(BEACON_OUTPUT, (genesis, era, period, Y))
//! ```
//!
//! Guarantees: a [`VerifiedBeacon`] comes from [`verify_beacon`] only, and is the one value of its period, whichever holders made it. That
//! rests on two checks: each partial is proved against its public share, and [`verify_beacon_record`] shows that all public shares
//! are of one polynomial of degree t - 1 (the dual-code test of Cascudo and David, SCRAPE, ACNS 2017, made non-interactive by
//! Fiat and Shamir) - shares that are not would give each subset a value of its own to choose from. Fewer than `t` holders cannot know the
//! value (one-more gap Diffie-Hellman, random oracle). Dealers who bias the key, as they can in a joint generation, do not bias
//! values: without `t` shares they cannot tell which key gives which.
//!
//! Does not do: make shares, or decide when a period's partials may be given: who gets `t` of them early knows the value early. Anyone
//! controls partials and values; the chain controls the record.

use crate::{
    prf::{
        hash_to_scalar, interpolate, lagrange_at_zero, verify_partial_under, CombineError, Input, KeyShare, Labels,
        PartialError, PartialEvaluation, PublicShare, ShareError, VerifiedPartial,
    },
    Secret,
};
use alloc::vec::Vec;
use codec::Encode;
use curve25519_dalek::{
    ristretto::RistrettoPoint,
    scalar::Scalar,
    traits::{Identity, VartimeMultiscalarMul},
};
use phala_protocol::{
    beacon::{BeaconHolder, BeaconInput, BeaconPartial, BeaconRecord, BeaconValue, Period},
    ceremony::MAX_SEATS,
    domain, hash_value, Hash,
};

const LABELS: Labels = Labels { proof: domain::BEACON_PROOF, nonce: domain::BEACON_NONCE };

/// One holder's share of a beacon key: never a share of a root, which answers workers only.
pub struct BeaconShare(KeyShare);

impl BeaconShare {
    /// Takes the share of a key that was generated for the beacon alone.
    pub fn new(share: KeyShare) -> Self {
        Self(share)
    }

    /// The index, from 1.
    pub fn index(&self) -> u16 {
        self.0.index()
    }

    /// What this share's partials are verified against.
    pub fn public_share(&self) -> PublicShare {
        self.0.public_share()
    }

    /// The share's encoding, for sealing: what [`KeyShare::from_bytes`] reads.
    pub fn to_bytes(&self) -> Secret<[u8; 32]> {
        self.0.to_bytes()
    }

    /// The partial evaluation for `input`. `entropy` should be fresh; a constant one is safe.
    pub fn partial(&self, input: &BeaconInput, entropy: &[u8; 32]) -> BeaconPartial {
        let PartialEvaluation { index, point, proof } = self.0.partial_under(&LABELS, &point_of(input), entropy);
        BeaconPartial { index, point, proof }
    }
}

/// The beacon key of an era whose public shares are consistent.
pub struct VerifiedBeaconRecord {
    genesis: Hash,
    era: u32,
    threshold: usize,
    holders: Vec<PublicShare>,
    key: [u8; 32],
}

/// Verifies that the shares of `record` are the public halves of shares of one key with its threshold.
///
/// Costs one multiplication of as many scalars and points as there are holders, once an era.
pub fn verify_beacon_record(genesis: &Hash, record: &BeaconRecord) -> Result<VerifiedBeaconRecord, RecordError> {
    let threshold = usize::from(record.threshold);
    let count = record.holders.len();
    if threshold == 0 || threshold > count || count > MAX_SEATS {
        return Err(RecordError::Size { threshold, holders: count });
    }
    let mut holders: Vec<PublicShare> = Vec::with_capacity(count);
    for holder in &record.holders {
        if holders.last().is_some_and(|last| last.index() >= holder.index) {
            return Err(RecordError::Order(holder.index));
        }
        let share = PublicShare::from_bytes(holder.index, &holder.share)
            .map_err(|reason| RecordError::Share { index: holder.index, reason })?;
        holders.push(share);
    }
    if !is_of_one_polynomial(genesis, record, &holders) {
        return Err(RecordError::Inconsistent);
    }
    let indices = || holders.iter().take(threshold).map(PublicShare::index);
    let weights: Vec<Scalar> = indices().map(|index| lagrange_at_zero(index, indices())).collect();
    let points: Vec<RistrettoPoint> = holders.iter().take(threshold).map(|share| *share.point()).collect();
    let key = RistrettoPoint::vartime_multiscalar_mul(&weights, &points);
    if key == RistrettoPoint::identity() {
        return Err(RecordError::Identity);
    }
    let key = key.compress().to_bytes();
    Ok(VerifiedBeaconRecord { genesis: *genesis, era: record.era, threshold, holders, key })
}

/// Whether the points lie, in the exponent, on a polynomial of a degree below the threshold.
///
/// They do exactly if `sum of v_i f(i) P_i = 0` for every polynomial `f` of a degree below `n - t`, where `v_i` is the product of
/// `1 / (i - j)` over all other indices `j`. One `f` out of a hash of the record passes others with a probability of 2^-252.
fn is_of_one_polynomial(genesis: &Hash, record: &BeaconRecord, holders: &[PublicShare]) -> bool {
    let encoded = record.encode();
    let free = holders.len().saturating_sub(usize::from(record.threshold));
    let coefficients: Vec<Scalar> = (0u16..)
        .take(free)
        .map(|number| hash_to_scalar(domain::BEACON_RECORD, &[&number.to_le_bytes(), genesis, &encoded]))
        .collect();
    let weight = |share: &PublicShare| {
        let own = Scalar::from(share.index());
        let product = holders
            .iter()
            .filter(|other| other.index() != share.index())
            .fold(Scalar::ONE, |product, other| product * (own - Scalar::from(other.index())));
        let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * own + coefficient);
        // Not zero: indices are distinct and below the group's order.
        value * product.invert()
    };
    let weights: Vec<Scalar> = holders.iter().map(weight).collect();
    let points: Vec<RistrettoPoint> = holders.iter().map(|share| *share.point()).collect();
    RistrettoPoint::vartime_multiscalar_mul(&weights, &points) == RistrettoPoint::identity()
}

impl VerifiedBeaconRecord {
    /// The era.
    pub fn era(&self) -> u32 {
        self.era
    }

    /// Partials that make a value.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The public key of the era's beacon, a compressed Ristretto point.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// The input of a period.
    pub fn input(&self, period: Period) -> BeaconInput {
        BeaconInput { genesis: self.genesis, era: self.era, period }
    }

    /// Verifies one partial, as it arrives, for `period`.
    pub fn verify_partial(
        &self,
        period: Period,
        partial: &BeaconPartial,
    ) -> Result<VerifiedBeaconPartial, BeaconError> {
        self.verify_at(&point_of(&self.input(period)), partial)?;
        Ok(VerifiedBeaconPartial { era: self.era, period, partial: *partial })
    }

    /// The value of a period as it travels, from at least a threshold of verified partials.
    ///
    /// Names the first partial of another period and the first holder who is there twice.
    pub fn combine(&self, period: Period, partials: &[VerifiedBeaconPartial]) -> Result<BeaconValue, BeaconError> {
        let mut sorted: Vec<&VerifiedBeaconPartial> = partials.iter().collect();
        sorted.sort_by_key(|verified| verified.partial.index);
        let mut last = None;
        for verified in &sorted {
            let index = verified.partial.index;
            if (verified.era, verified.period) != (self.era, period) {
                return Err(BeaconError::OtherPeriod(index));
            }
            if last == Some(index) {
                return Err(BeaconError::Duplicate(index));
            }
            last = Some(index);
        }
        if sorted.len() < self.threshold {
            return Err(BeaconError::Count { have: sorted.len(), need: self.threshold });
        }
        let partials = sorted.into_iter().take(self.threshold).map(|verified| verified.partial).collect();
        Ok(BeaconValue { era: self.era, period, partials })
    }

    /// Holders of whom `partials` has none: those who withhold theirs, once their time is over.
    pub fn absent(&self, partials: &[VerifiedBeaconPartial]) -> Vec<u16> {
        let answered = |index: u16| partials.iter().any(|verified| verified.partial.index == index);
        self.holders.iter().map(PublicShare::index).filter(|index| !answered(*index)).collect()
    }

    fn verify_at(&self, input: &Input, partial: &BeaconPartial) -> Result<VerifiedPartial, BeaconError> {
        let share = self.holders.iter().find(|share| share.index() == partial.index);
        let share = share.ok_or(BeaconError::NoSuchHolder(partial.index))?;
        let BeaconPartial { index, point, proof } = *partial;
        verify_partial_under(&LABELS, share, input, &PartialEvaluation { index, point, proof })
            .map_err(|reason| BeaconError::Partial { index, reason })
    }
}

/// Verifies one partial against its holder's public share alone, out of a record that was verified before: it costs nothing of what
/// [`verify_beacon_record`] does. That the share is of the key of `era` is the record's to show, and the caller's to have kept.
pub fn verify_partial_of(
    genesis: &Hash,
    era: u32,
    holder: &BeaconHolder,
    period: Period,
    partial: &BeaconPartial,
) -> Result<VerifiedBeaconPartial, BeaconError> {
    let BeaconPartial { index, point, proof } = *partial;
    if holder.index != index {
        return Err(BeaconError::NoSuchHolder(index));
    }
    let share = PublicShare::from_bytes(index, &holder.share).map_err(|reason| BeaconError::Share { index, reason })?;
    let input = point_of(&BeaconInput { genesis: *genesis, era, period });
    verify_partial_under(&LABELS, &share, &input, &PartialEvaluation { index, point, proof })
        .map_err(|reason| BeaconError::Partial { index, reason })?;
    Ok(VerifiedBeaconPartial { era, period, partial: *partial })
}

/// A partial whose proof holds for its holder and one period.
#[derive(Clone, Copy)]
pub struct VerifiedBeaconPartial {
    era: u32,
    period: Period,
    partial: BeaconPartial,
}

impl VerifiedBeaconPartial {
    /// The holder's index.
    pub fn index(&self) -> u16 {
        self.partial.index
    }
}

/// The value of a period, verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedBeacon {
    era: u32,
    period: Period,
    value: Hash,
}

impl VerifiedBeacon {
    /// The era.
    pub fn era(&self) -> u32 {
        self.era
    }

    /// The period.
    pub fn period(&self) -> Period {
        self.period
    }

    /// The value: 32 bytes that are uniform to whoever could not compute them.
    pub fn value(&self) -> &Hash {
        &self.value
    }
}

/// Verifies that `value` is the beacon of `period`. Costs four multiplications of a point for each partial, and one more.
pub fn verify_beacon(
    record: &VerifiedBeaconRecord,
    period: Period,
    value: &BeaconValue,
) -> Result<VerifiedBeacon, BeaconError> {
    if (value.era, value.period) != (record.era, period) {
        return Err(BeaconError::Misplaced { era: value.era, period: value.period });
    }
    // One encoding of a value only: no more partials than it takes, in order. Counted first, so that nothing is verified for free.
    if value.partials.len() != record.threshold {
        return Err(BeaconError::Count { have: value.partials.len(), need: record.threshold });
    }
    let mut last = None;
    for BeaconPartial { index, .. } in &value.partials {
        if last == Some(*index) {
            return Err(BeaconError::Duplicate(*index));
        }
        if last > Some(*index) {
            return Err(BeaconError::Order(*index));
        }
        last = Some(*index);
    }
    let input = record.input(period);
    let point = point_of(&input);
    let partials: Vec<VerifiedPartial> =
        value.partials.iter().map(|partial| record.verify_at(&point, partial)).collect::<Result<_, _>>()?;
    let (evaluated, _) = interpolate(record.threshold, &partials).map_err(BeaconError::Combine)?;
    let value = hash_value(domain::BEACON_OUTPUT, &(input, evaluated.compress().to_bytes()));
    Ok(VerifiedBeacon { era: record.era, period, value })
}

fn point_of(input: &BeaconInput) -> Input {
    Input::of(domain::BEACON_INPUT, input)
}

/// Why a record is not of one key; the fault is whoever made it, or the chain that recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A threshold of 0 or above the number of holders, or more holders than seats can be.
    #[error("beacon record has a threshold of {threshold} for {holders} holders")]
    Size {
        /// The threshold.
        threshold: usize,
        /// How many holders there are.
        holders: usize,
    },
    /// A holder twice, or not in ascending order.
    #[error("holder {0} of the beacon record is not in ascending order")]
    Order(u16),
    /// Not a public share.
    #[error("public share of holder {index} is refused: {reason}")]
    Share {
        /// Whose.
        index: u16,
        /// Why.
        reason: ShareError,
    },
    /// The shares are not of one key with that threshold.
    #[error("public shares of the beacon record are not of one key with its threshold")]
    Inconsistent,
    /// The key is the identity.
    #[error("key of the beacon record is the identity")]
    Identity,
}

/// Why a value or a partial of the beacon is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeaconError {
    /// Of another era or period than is asked about; the fault is whoever sent it.
    #[error("beacon value is of era {era}, period {period}")]
    Misplaced {
        /// The era that it names.
        era: u32,
        /// The period that it names.
        period: Period,
    },
    /// Not as many partials as the threshold.
    #[error("{have} partials of the beacon, where it takes {need}")]
    Count {
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// Two partials of one holder.
    #[error("holder {0} appears twice in the beacon's partials")]
    Duplicate(u16),
    /// Partials that do not ascend by index.
    #[error("partial of holder {0} is not in ascending order")]
    Order(u16),
    /// A verified partial, but of another period.
    #[error("partial of holder {0} is of another era or period")]
    OtherPeriod(u16),
    /// The index holds no share.
    #[error("index {0} holds no share of the beacon key")]
    NoSuchHolder(u16),
    /// The partial is not the holder's evaluation for this period: the holder's fault, or whoever changed it.
    #[error("partial of holder {index} is refused: {reason}")]
    Partial {
        /// Whose.
        index: u16,
        /// Why.
        reason: PartialError,
    },
    /// The holder's public share is none: it is not of a verified record.
    #[error("public share of holder {index} is refused: {reason}")]
    Share {
        /// Whose.
        index: u16,
        /// Why.
        reason: ShareError,
    },
    /// The partials do not combine; a verified record leaves no such case.
    #[error("partials of the beacon do not combine: {0}")]
    Combine(CombineError),
}
