//! What comes first in a block, as a pool asks and as an author applies it.

use super::*;
use crate::{
    precedence::{EACH_PAIR, EACH_SEAT, MOST_AHEAD, MOST_OF_OTHERS},
    Address, Balances, Extensions, RuntimeCall, TxExtension,
};
use codec::Encode;
use frame_support::{
    dispatch::{GetDispatchInfo, Pays, PostDispatchInfo},
    storage::{with_transaction_unchecked, TransactionOutcome},
};
use phala_crypto::{beacon::BeaconShare, prf::KeyShare, Secret};
use phala_pallet_beacon::{Due, Keys, Schedule, Timetable};
use phala_pallet_gatekeepers::{Call, IdentityCeremony};
use phala_protocol::{
    beacon::{BeaconHolder, BeaconInput, BeaconPartial, BeaconRecord, DueBeacon},
    ceremony::{AnnouncedKey, Attachment, CeremonyAttempt},
    identities::{IdentityHolder, IdentityPoints, IdentityRecord, IdentityStatement, SignedIdentityStatement},
};
use scale_info::TypeInfo;
use sp_runtime::{
    generic::Era,
    traits::{DispatchTransaction, TransactionExtension, TransactionExtensionMetadata},
    transaction_validity::{InvalidTransaction, TransactionSource, TransactionValidityError, ValidTransaction},
    DispatchErrorWithPostInfo,
};

/// Who has no seat, and money.
const STRANGER: u8 = 6;

/// Four gatekeepers in their first ceremony, of which the next block is asked.
fn ceremony() -> sp_io::TestExternalities {
    let mut network = network(true);
    network.execute_with(|| {
        (1..=4).for_each(attest_and_bind);
        let seats: Vec<_> = (1..=4).map(gatekeeper).collect();
        Gatekeepers::start(RuntimeOrigin::root(), seats.try_into().unwrap()).unwrap();
        System::set_block_number(2);
    });
    network
}

fn extensions(nonce: u32, tip: Balance) -> Extensions {
    (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(tip),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
        frame_system::WeightReclaim::new(),
    )
}

/// What a pool learns of a transaction.
fn judge(who: u8, nonce: u32, tip: Balance, call: &RuntimeCall) -> ValidTransaction {
    let extension = TxExtension::new(extensions(nonce, tip));
    let mut info = call.get_dispatch_info();
    info.extension_weight = extension.weight(call);
    let (origin, source) = (RuntimeOrigin::signed(account(who)), TransactionSource::External);
    extension.validate_only(origin, call, &info, call.encoded_size() + 110, source, 0).unwrap().0
}

type Applied = Result<Result<PostDispatchInfo, DispatchErrorWithPostInfo<PostDispatchInfo>>, TransactionValidityError>;

/// What comes of a transaction that an author puts into the block.
fn apply(who: u8, nonce: u32, tip: Balance, call: RuntimeCall) -> Applied {
    let extension = TxExtension::new(extensions(nonce, tip));
    let mut info = call.get_dispatch_info();
    info.extension_weight = extension.weight(&call);
    let (origin, len) = (RuntimeOrigin::signed(account(who)), call.encoded_size() + 110);
    // What does not get into the block leaves nothing behind.
    with_transaction_unchecked(|| match extension.dispatch_transaction(origin, call, &info, len, 0) {
        Ok(applied) => TransactionOutcome::Commit(Ok(applied)),
        Err(refused) => TransactionOutcome::Rollback(Err(refused)),
    })
}

fn transfer() -> RuntimeCall {
    RuntimeCall::Balances(pallet_balances::Call::transfer_keep_alive { dest: Address::Id(account(5)), value: 1 })
}

/// Puts transfers with a tip into the block until it is full.
fn fill() {
    let mut nonce = 0;
    loop {
        match apply(STRANGER, nonce, UNIT, transfer()) {
            Ok(transferred) => assert!(transferred.is_ok()),
            Err(error) => {
                assert_eq!(error, InvalidTransaction::ExhaustsResources.into());
                assert!(nonce > 100, "the block had room for {nonce}");
                return;
            }
        }
        nonce += 1;
    }
}

/// What gatekeeper `number` says as the seat of the same number.
fn signed(number: u8, statement: Statement) -> SignedStatement {
    let CeremonyRecord { era, attempt, .. } = Ceremony::<Runtime>::get().unwrap();
    sign(number, SignedStatement { era, attempt, index: number.into(), statement, signature: [0; 64] })
}

fn sign(number: u8, statement: SignedStatement) -> SignedStatement {
    let genesis: [u8; 32] = System::block_hash(0).into();
    SignedStatement { signature: pair(number).sign(&statement.signing_payload(&genesis)).0, ..statement }
}

/// The key of gatekeeper `number` in the attempt under way, as it announces it.
fn key_of(number: u8) -> AnnouncedKey {
    let CeremonyRecord { era, attempt, .. } = Ceremony::<Runtime>::get().unwrap();
    let of = CeremonyAttempt::root(era, attempt);
    let unsigned = AnnouncedKey { of, key: vec![0; 1_216], signature: [0; 64] };
    let genesis: [u8; 32] = System::block_hash(0).into();
    AnnouncedKey { signature: pair(number).sign(&unsigned.signing_payload(&genesis)).0, ..unsigned }
}

fn commitment(number: u8) -> SignedStatement {
    signed(number, Statement::Commit { package: [number; 32] })
}

fn state(statement: SignedStatement) -> RuntimeCall {
    RuntimeCall::Gatekeepers(Call::state { statement })
}

/// Whether a pool gives the call of `who` no rank and no tag of its own.
fn is_ordinary(who: u8, call: &RuntimeCall) -> bool {
    let ValidTransaction { priority, provides, .. } = judge(who, System::account_nonce(account(who)), 0, call);
    priority <= MOST_OF_OTHERS && provides.len() == 1
}

#[test]
fn in_a_block_full_of_tipped_transfers_a_statement_is_in() {
    // As authors do, the best of a pool first.
    ceremony().execute_with(|| {
        Balances::force_set_balance(RuntimeOrigin::root(), Address::Id(account(STRANGER)), 1_000_000 * UNIT).unwrap();
        let richest = judge(STRANGER, 0, 900_000 * UNIT, &transfer());
        let statement = judge(1, 0, 0, &state(commitment(1)));
        assert_eq!((richest.priority, statement.priority), (MOST_OF_OTHERS, EACH_SEAT));
        let before = Balances::free_balance(account(1));
        let taken = apply(1, 0, 0, state(commitment(1))).unwrap().unwrap();
        assert_eq!((taken.pays_fee, Balances::free_balance(account(1))), (Pays::No, before));
        assert!(Ceremony::<Runtime>::get().unwrap().seats[0].package.is_some());
        fill();
        // And there is no place for another one, which is first in the next block.
        let full: Result<(), TransactionValidityError> = Err(InvalidTransaction::ExhaustsResources.into());
        assert_eq!(apply(2, 0, 0, state(commitment(2))).map(|_| ()), full);
        assert_eq!(judge(2, 0, 0, &state(commitment(2))).priority, EACH_SEAT);
    });
    // By tips alone it would not be in.
    ceremony().execute_with(|| {
        fill();
        let full: Result<(), TransactionValidityError> = Err(InvalidTransaction::ExhaustsResources.into());
        assert_eq!(apply(1, 0, 0, state(commitment(1))).map(|_| ()), full);
    });
}

#[test]
fn what_the_chain_would_not_take_has_no_rank_and_costs_a_fee() {
    ceremony().execute_with(|| {
        let good = commitment(1);
        assert!(!is_ordinary(1, &state(good)));
        let wrong = [
            SignedStatement { signature: [0; 64], ..good },
            sign(1, SignedStatement { era: good.era + 1, ..good }),
            sign(1, SignedStatement { attempt: 1, ..good }),
            sign(1, SignedStatement { index: 2, ..good }),
            sign(1, SignedStatement { index: 9, ..good }),
            signed(1, Statement::Confirm(KEYS)),
        ];
        assert!(wrong.into_iter().all(|statement| is_ordinary(1, &state(statement))));
        let with =
            RuntimeCall::Gatekeepers(Call::state_with { statement: good, attachment: Attachment::Key(key_of(1)) });
        let within = RuntimeCall::Utility(pallet_utility::Call::batch { calls: vec![state(good)] });
        assert!(is_ordinary(1, &with) && is_ordinary(1, &within));
        // In the block in whose beginning the phase ends.
        System::set_block_number(Ceremony::<Runtime>::get().unwrap().until + 1);
        assert!(is_ordinary(1, &state(good)));
        System::set_block_number(2);

        apply(1, 0, 0, state(good)).unwrap().unwrap();
        assert!(is_ordinary(1, &state(good)), "it stands");
        let before = Balances::free_balance(account(1));
        let refused = apply(1, 1, 0, state(good)).unwrap().unwrap_err();
        assert_eq!(refused.post_info.pays_fee, Pays::Yes);
        assert!(Balances::free_balance(account(1)) < before);
    });
}

#[test]
fn a_statement_that_is_copied_into_anothers_transaction_has_no_rank() {
    ceremony().execute_with(|| {
        let copied = state(commitment(1));
        for other in [2, STRANGER] {
            assert!(is_ordinary(other, &copied));
        }
        // It pays for its place; the seat's own has its rank all the same, and pays when it comes second.
        apply(STRANGER, 0, UNIT, copied.clone()).unwrap().unwrap();
        assert!(is_ordinary(1, &copied));
        let second = apply(1, 0, 0, copied).unwrap().unwrap_err();
        assert_eq!(second.post_info.pays_fee, Pays::Yes);
    });
}

#[test]
fn of_one_statement_a_pool_holds_one_transaction() {
    ceremony().execute_with(|| {
        let tag = |who, nonce, call: &RuntimeCall| judge(who, nonce, 0, call).provides[1].clone();
        let first = tag(1, 0, &state(commitment(1)));
        assert_eq!(tag(1, 7, &state(commitment(1))), first, "under another nonce");
        // Nor does a seat that contradicts itself get a second one.
        let beside = state(signed(1, Statement::Commit { package: [9; 32] }));
        assert_eq!(tag(1, 1, &beside), first);
        assert_ne!(tag(2, 0, &state(commitment(2))), first);
    });
}

#[test]
fn whatever_a_seat_says_of_another_has_a_place_of_its_own() {
    ceremony().execute_with(|| {
        all_say(|number| Statement::Commit { package: [number; 32] });
        at(3);
        let complain = |dealer| {
            let attachment = Attachment::Key(key_of(1));
            let call = Call::state_with { statement: signed(1, Statement::Complain { dealer }), attachment };
            judge(1, 0, 0, &RuntimeCall::Gatekeepers(call)).provides[1].clone()
        };
        let confirm = |keys| judge(1, 0, 0, &state(signed(1, Statement::Confirm(keys)))).provides[1].clone();
        let tags = [complain(2), complain(3), confirm(KEYS)];
        assert!(tags[0] != tags[1] && tags[0] != tags[2] && tags[1] != tags[2]);
        assert_eq!(confirm(Confirmed { beacon: [9; 32], ..KEYS }), tags[2]);
    });
}

#[test]
fn what_an_account_sends_far_ahead_is_not_looked_at() {
    ceremony().execute_with(|| {
        let priority = |nonce| judge(1, nonce, 0, &state(commitment(1))).priority;
        assert_eq!((priority(0), priority(MOST_AHEAD - 1)), (EACH_SEAT, EACH_SEAT));
        assert!(priority(MOST_AHEAD) <= MOST_OF_OTHERS);
    });
}

#[test]
fn what_all_have_to_say_goes_before_what_a_seat_says_of_another() {
    ceremony().execute_with(|| {
        all_say(|number| Statement::Commit { package: [number; 32] });
        at(3);
        let complaint = signed(1, Statement::Complain { dealer: 2 });
        let complain =
            RuntimeCall::Gatekeepers(Call::state_with { statement: complaint, attachment: Attachment::Key(key_of(1)) });
        let confirm = state(signed(2, Statement::Confirm(KEYS)));
        assert_eq!(judge(1, 0, 0, &complain).priority, EACH_PAIR);
        assert_eq!(judge(2, 0, 0, &confirm).priority, EACH_SEAT);
        assert!(is_ordinary(1, &state(complaint)), "without its key it is refused");
    });
}

#[test]
fn what_a_ceremony_of_identities_waits_for_has_the_rank_too() {
    network(true).execute_with(|| {
        (1..=4).for_each(attest_and_bind);
        let seats = (1..=4).map(gatekeeper).collect();
        Root::<Runtime>::put(RootRecord { era: 3, threshold: 3, seats, share_list: [5; 32] });
        Gatekeepers::start_identities(RuntimeOrigin::root()).unwrap();
        System::set_block_number(2);
        let genesis: [u8; 32] = System::block_hash(0).into();
        let statement = IdentityStatement::Commit { package: [1; 32] };
        let unsigned = SignedIdentityStatement { era: 3, attempt: 0, index: 1, statement, signature: [0; 64] };
        let signature = pair(1).sign(&unsigned.signing_payload(&genesis)).0;
        let call = |statement| RuntimeCall::Gatekeepers(Call::state_identities { statement, attachment: None });
        let good = call(SignedIdentityStatement { signature, ..unsigned });
        assert_eq!(judge(1, 0, 0, &good).priority, EACH_SEAT);
        assert!(is_ordinary(2, &good) && is_ordinary(STRANGER, &good) && is_ordinary(1, &call(unsigned)));

        // The record that the holders agreed on, brought by the operator of one of them.
        let points = |byte| IdentityPoints { ed25519: [byte; 32], sr25519: [byte; 32] };
        let holder = |number: u8| IdentityHolder {
            index: number.into(),
            gatekeeper: gatekeeper(number),
            shares: points(number),
        };
        let record = IdentityRecord { era: 3, threshold: 3, keys: points(9), holders: (1..=4).map(holder).collect() };
        let show = |record: &IdentityRecord| RuntimeCall::Gatekeepers(Call::show_identities { record: record.clone() });
        assert!(is_ordinary(1, &show(&record)), "nothing is agreed on");
        IdentityCeremony::<Runtime>::mutate(|ceremony| ceremony.as_mut().unwrap().agreed = Some(record.hash()));
        assert_eq!(judge(1, 0, 0, &show(&record)).priority, EACH_SEAT);
        let other = IdentityRecord { keys: points(8), ..record.clone() };
        assert!(is_ordinary(1, &show(&other)) && is_ordinary(STRANGER, &show(&record)));
        Gatekeepers::leave(RuntimeOrigin::signed(account(1))).unwrap();
        assert!(is_ordinary(1, &show(&record)), "it runs no holder now");
        assert_eq!(judge(2, 0, 0, &show(&record)).priority, EACH_SEAT);
    });
}

#[test]
fn a_partial_that_is_not_due_has_no_rank() {
    ceremony().execute_with(|| {
        let partial = BeaconPartial { index: 1, point: [1; 32], proof: [1; 64] };
        let call = RuntimeCall::Beacon(phala_pallet_beacon::Call::submit_partial { era: 0, period: 0, partial });
        assert!(is_ordinary(1, &call) && is_ordinary(STRANGER, &call));
    });
}

#[test]
fn a_partial_that_is_due_has_the_rank_of_its_holders_operator_alone() {
    ceremony().execute_with(|| {
        let share = BeaconShare::new(KeyShare::from_bytes(1, &Secret::new([1; 32])).unwrap());
        let holder = BeaconHolder { index: 1, share: share.public_share().to_bytes() };
        let other = BeaconHolder { index: 2, ..holder };
        Keys::<Runtime>::insert(0, BeaconRecord { era: 0, threshold: 2, holders: vec![holder, other] });
        Due::<Runtime>::put(DueBeacon { era: 0, period: 0, present: vec![] });
        Schedule::<Runtime>::put(Timetable { era: 0, next: 1, opens: 10 });
        let genesis: [u8; 32] = System::block_hash(0).into();
        let partial = share.partial(&BeaconInput { genesis, era: 0, period: 0 }, &[9; 32]);
        let call =
            |partial| RuntimeCall::Beacon(phala_pallet_beacon::Call::submit_partial { era: 0, period: 0, partial });
        assert_eq!(judge(1, 0, 0, &call(partial)).priority, EACH_PAIR);
        assert!(is_ordinary(2, &call(partial)) && is_ordinary(STRANGER, &call(partial)));
        let mut wrong = partial;
        wrong.proof[0] ^= 1;
        assert!(is_ordinary(1, &call(wrong)), "its proof does not hold");
        // In the block in whose beginning the period ends.
        System::set_block_number(10);
        assert!(is_ordinary(1, &call(partial)));
    });
}

#[test]
fn what_is_signed_and_the_metadata_are_those_of_the_extensions() {
    let plain = extensions(7, 9);
    let wrapped = TxExtension::new(plain.clone());
    assert_eq!(wrapped.encode(), plain.encode());
    ceremony().execute_with(|| {
        let [of_plain, of_wrapped] = [
            TransactionExtension::<RuntimeCall>::implicit(&plain).unwrap().encode(),
            TransactionExtension::<RuntimeCall>::implicit(&wrapped).unwrap().encode(),
        ];
        assert_eq!(of_wrapped, of_plain);
    });
    assert_eq!(scale_info::meta_type::<TxExtension>(), scale_info::meta_type::<Extensions>());
    assert_eq!(<TxExtension as TypeInfo>::type_info(), <Extensions as TypeInfo>::type_info());
    let entries = |metadata: Vec<TransactionExtensionMetadata>| -> Vec<_> {
        metadata.into_iter().map(|extension| (extension.identifier, extension.ty, extension.implicit)).collect()
    };
    let metadata = entries(<TxExtension as TransactionExtension<RuntimeCall>>::metadata());
    assert_eq!(metadata, entries(<Extensions as TransactionExtension<RuntimeCall>>::metadata()));
    let names: Vec<_> = metadata.into_iter().map(|(identifier, ..)| identifier).collect();
    let expected = [
        "CheckNonZeroSender",
        "CheckSpecVersion",
        "CheckTxVersion",
        "CheckGenesis",
        "CheckMortality",
        "CheckNonce",
        "CheckWeight",
        "ChargeTransactionPayment",
        "CheckMetadataHash",
        "WeightReclaim",
    ];
    assert_eq!(names, expected);
}
