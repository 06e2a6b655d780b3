//! Egress: transfers to accounts that are new, each out of another cluster, messages as long as one may be, and signatures under them.
//!
//! INSECURE: the network's secret key is a number.

use crate::{
    case::{number, Case, Scene, Work},
    world::{self, ERA, GENESIS},
};
use anyhow::{anyhow, bail, Context, Result};
use codec::Encode;
use curve25519_dalek::{edwards::EdwardsPoint, ristretto::RistrettoPoint, scalar::Scalar};
use phala_crypto::merkle;
use phala_pallet_contracts::{Disputed, EgressRoots, Instances};
use phala_pallet_egress::{Call, Fates, Next, Senders, Signatures, WeightInfo};
use phala_pallet_gatekeepers::Identity;
use phala_protocol::{
    ceremony::MAX_SEATS,
    chain_state::ContractRecord,
    egress::{EgressAction, EgressFate, EgressItem, EgressOutcome, EgressRoot, ProvedEgress},
    identities::{derivation_offset, signing::EgressSignature, IdentityHolder, IdentityPoints, IdentityRecord, Scheme},
    limits::{EGRESS_FATES_KEPT, MAX_EGRESS_BYTES},
    ClusterId, CodeHash, ContractId, Hash,
};
use phala_runtime::{currency::UNIT, Nonce, Runtime, RuntimeCall};
use sp_core::{sr25519, Pair};

/// Items of a boundary, so that a proof has a dozen nodes.
const ITEMS: u32 = 4_096;
/// The boundary's block; its result became final in the next.
const BOUNDARY: u32 = 10;
/// The sequence of the item that comes next.
const SEQUENCE: u64 = 5_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("egress", "take", |at| <() as WeightInfo>::take(number(at, 0), number(at, 1)))
            .at("one transfer", &[1, 0], take)
            .at("16 transfers", &[16, 0], take)
            .at("one message", &[1, 1], take)
            .at("16 messages", &[16, 1], take),
        Case::new("egress", "attach_signature", |_| <() as WeightInfo>::attach_signature())
            .at("of Ristretto255", &[], attach_signature)
            .at("of Ed25519, by another key", &[], forged),
        Case::new("egress", "govern", |_| <() as WeightInfo>::govern()).at("settle", &[], settle).at(
            "set_limit",
            &[],
            set_limit,
        ),
    ]
}

/// `[items, whether they are messages]`.
fn take(size: &[u32]) -> Result<Scene> {
    let (count, messages) = (number(size, 0), number(size, 1) > 0);
    let items = (0..count).map(|cluster| item(cluster, messages)).collect::<Result<Vec<_>>>()?;
    let bytes = u32::try_from(items.encoded_size())?;
    let items = items.try_into().map_err(|_| anyhow!("too many items"))?;
    Ok(Scene { at: vec![count, bytes], work: Work::Call(RuntimeCall::Egress(Call::take { items })) })
}

/// The next item of a cluster, which is the last of its boundary.
fn item(number: u32, is_message: bool) -> Result<ProvedEgress> {
    let (cluster, contract) = (ClusterId(number), ContractId(world::bytes(0x10, number)));
    let action = if is_message {
        let (destination, payload) = (vec![1; 32], vec![2; MAX_EGRESS_BYTES - 64]);
        EgressAction::Message { destination, payload }
    } else {
        EgressAction::Transfer { to: world::operator(world::OTHERS + number), amount: UNIT }
    };
    let item = EgressItem { cluster, sequence: SEQUENCE, contract, action };
    let mut ids: Vec<_> = (1..ITEMS).map(|number| world::bytes(0x11, number)).collect();
    ids.push(item.id(&GENESIS));
    let tree = merkle::Tree::of(&ids);
    let index = ITEMS - 1;
    let path = tree.prove(index.into()).context("there is no such item")?;
    EgressRoots::<Runtime>::insert((cluster, BOUNDARY), EgressRoot { root: tree.root(), finalised_at: BOUNDARY + 1 });
    let (code, deployer) = (CodeHash([3; 32]), world::alice());
    Instances::<Runtime>::insert(contract, ContractRecord { cluster, code, deployer, created_at: 1 });
    Next::<Runtime>::insert(cluster, SEQUENCE);
    let Some(old) = SEQUENCE.checked_sub(EGRESS_FATES_KEPT) else { bail!("nothing is forgotten") };
    // The one that is forgotten was a message, and has both signatures.
    let fate = EgressFate { id: [1; 32], block: 1, outcome: EgressOutcome::Left };
    Fates::<Runtime>::insert((cluster, old), fate);
    Senders::<Runtime>::insert((cluster, old), contract);
    for scheme in [Scheme::Ed25519, Scheme::Ristretto255] {
        let signed = EgressSignature { item: [1; 32], scheme, key: [1; 32], signature: [1; 64] };
        Signatures::<Runtime>::insert((cluster, old, scheme), signed);
    }
    let funded: frame_system::AccountInfo<Nonce, pallet_balances::AccountData<u128>> = frame_system::AccountInfo {
        providers: 1,
        data: pallet_balances::AccountData { free: 100 * UNIT, ..Default::default() },
        ..Default::default()
    };
    frame_system::Account::<Runtime>::insert(phala_runtime::AccountId::from(contract.account().0), funded);
    Ok(ProvedEgress { item, block: BOUNDARY, index, count: ITEMS, path })
}

/// INSECURE: the network's secret key of either kind.
fn secret() -> Scalar {
    Scalar::from_bytes_mod_order([0x21; 32])
}

/// A message of a contract has left, on a network whose identities a hundred gatekeepers hold. Gives the network's keys, the contract and
/// the item's id.
fn left() -> (IdentityPoints, ContractId, Hash) {
    let keys = IdentityPoints {
        ed25519: EdwardsPoint::mul_base(&secret()).compress().0,
        sr25519: RistrettoPoint::mul_base(&secret()).compress().0,
    };
    let holder = |index: u16| IdentityHolder { index, gatekeeper: world::id(index.into()), shares: keys };
    let holders = (1..=MAX_SEATS as u16).map(holder).collect();
    Identity::<Runtime>::put(IdentityRecord { era: ERA, threshold: 67, keys, holders });
    let (contract, id) = (ContractId(world::bytes(0x10, 0)), [1; 32]);
    let fate = EgressFate { id, block: 1, outcome: EgressOutcome::Left };
    Fates::<Runtime>::insert((ClusterId(0), SEQUENCE), fate);
    Senders::<Runtime>::insert((ClusterId(0), SEQUENCE), contract);
    (keys, contract, id)
}

fn attach(scheme: Scheme, signature: [u8; 64]) -> RuntimeCall {
    let (cluster, sequence) = (ClusterId(0), SEQUENCE);
    RuntimeCall::Egress(Call::attach_signature { cluster, sequence, scheme, signature })
}

fn attach_signature(_: &[u32]) -> Result<Scene> {
    let ((keys, contract, id), scheme) = (left(), Scheme::Ristretto255);
    let offset = derivation_offset(&GENESIS, scheme, keys.of(scheme), &contract);
    let secret = secret() + Scalar::from_bytes_mod_order_wide(&offset);
    let pair = sr25519::Pair::from_seed_slice(&[secret.to_bytes(), [1; 32]].concat())
        .map_err(|error| anyhow!("the contract has no key: {error:?}"))?;
    let signature = pair.sign(&EgressSignature::payload(&GENESIS, scheme, &id)).0;
    Ok(Scene { at: vec![], work: Work::Call(attach(scheme, signature)) })
}

/// A point and a scalar: whether they are the contract's signature shows only when all was computed.
fn forged(_: &[u32]) -> Result<Scene> {
    left();
    let nonce = Scalar::from_bytes_mod_order([0x43; 32]);
    let signature = [EdwardsPoint::mul_base(&nonce).compress().0, (nonce + secret()).to_bytes()].concat();
    let signature = signature.try_into().map_err(|_| anyhow!("the signature has another length"))?;
    Ok(Scene { at: vec![], work: Work::Refused(attach(Scheme::Ed25519, signature), "BadSignature") })
}

fn settle(_: &[u32]) -> Result<Scene> {
    let cluster = ClusterId(0);
    Disputed::<Runtime>::insert(cluster, 1u32);
    Ok(Scene { at: vec![], work: Work::Root(RuntimeCall::Egress(Call::settle { cluster, void: true })) })
}

fn set_limit(_: &[u32]) -> Result<Scene> {
    let call = Call::set_limit { cluster: ClusterId(0), limit: Some(UNIT) };
    Ok(Scene { at: vec![], work: Work::Root(RuntimeCall::Egress(call)) })
}
