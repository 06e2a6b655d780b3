//! Handing one stable identity from a set of holders to another set of the same size: INSECURE, a dealer made it.
//!
//! Every old holder deals, nothing is lost, nobody complains. Without sealing, transport, and the chain.

use crate::{floor::scalar, measure::timed};
use anyhow::{ensure, Context, Result};
use curve25519_dalek::scalar::Scalar;
use phala_crypto::Secret;
use phala_gatekeeper::identity::{
    open_share, verify_key_record, EdwardsPoint, Group, IdentityShare, KeyRecord, Resharing, Session,
};
use phala_keys_sim::members::GENESIS;
use phala_protocol::{ceremony::threshold_of, WorkerId};
use std::hint::black_box;

/// Processor seconds of all old and all new holders together.
pub fn run(seats: u16) -> Result<f64> {
    let threshold = u16::try_from(threshold_of(seats.into()))?;
    let (record, shares) = insecure_split(threshold, seats)?;
    let holders = (1..=seats).map(|index| {
        let mut id = [0; 32];
        for (target, byte) in id.iter_mut().zip(index.to_be_bytes()) {
            *target = byte;
        }
        WorkerId(id)
    });
    let session = Session { genesis: GENESIS, era: 1, attempt: 0, holders: holders.collect() };
    let resharing = Resharing::new(&session, record.clone())?;
    let mut spent = 0.0;
    let mut dealings = Vec::new();
    for share in &shares {
        let [high, low] = share.index().to_be_bytes();
        let seed = Secret::<[u8; 32]>::fill(|bytes| {
            for (target, byte) in bytes.iter_mut().zip([high, low]) {
                *target = byte;
            }
        });
        let (dealing, sub_shares) = timed(&mut spent, || -> Result<_> {
            let dealing = resharing.deal(share, &seed)?;
            let sub_shares: Option<Vec<_>> = (1..=seats).map(|to| dealing.sub_share(to)).collect();
            Ok((dealing, sub_shares.context("a new holder has no sub-share")?))
        })?;
        dealings.push((dealing, sub_shares));
    }
    for to in 1..=seats {
        let own = usize::from(to).checked_sub(1).context("an index of 0")?;
        let accepted = timed(&mut spent, || -> Result<_> {
            let (mut packages, mut received) = (Vec::new(), Vec::new());
            for (dealing, sub_shares) in &dealings {
                let package = resharing.verify_package(dealing.package())?;
                let sub_share = sub_shares.get(own).context("no sub-share")?;
                received.push(resharing.verify_sub_share(&package, sub_share)?);
                packages.push(package);
            }
            let accepted = resharing.accept(&packages)?;
            black_box(accepted.share(to, &received)?);
            Ok(accepted)
        })?;
        ensure!(accepted.record().key() == record.key(), "the identity changed");
    }
    Ok(spent)
}

/// An identity and its shares. INSECURE: whoever runs this holds all of it.
fn insecure_split(threshold: u16, holders: u16) -> Result<(KeyRecord<EdwardsPoint>, Vec<IdentityShare<EdwardsPoint>>)> {
    let polynomial: Vec<Scalar> = (1..=threshold).map(|number| scalar(number.into())).collect();
    let value = |at: u16| {
        let at = Scalar::from(at);
        polynomial.iter().rev().fold(Scalar::ZERO, |sum, coefficient| sum * at + coefficient)
    };
    let public = |index: u16| EdwardsPoint::base_times(&value(index)).to_encoding();
    let listed: Vec<(u16, [u8; 32])> = (1..=holders).map(|index| (index, public(index))).collect();
    let record: KeyRecord<EdwardsPoint> = verify_key_record(threshold, &public(0), &listed)?;
    let mut shares = Vec::new();
    for index in 1..=holders {
        shares.push(open_share(&record, index, &Secret::new(value(index).to_bytes()))?);
    }
    Ok((record, shares))
}
