//! Identities: who makes them, who receives them, and what waits meanwhile.

mod absences;
mod equivocation;

use super::*;
use frame_support::dispatch::Pays;
use phala_protocol::identities::{
    IdentityCeremonyRecord, IdentityHolder, IdentityPoints, IdentityRecord, IdentityStatement, SignedIdentityStatement,
    MOST_READMISSIONS,
};

fn ceremony() -> IdentityCeremonyRecord {
    IdentityCeremony::<Test>::get().unwrap()
}

/// The record of keys that are told apart by a number, held by these gatekeepers under indices from 1.
fn held(era: u32, keys: u8, numbers: impl IntoIterator<Item = u8>) -> IdentityRecord {
    let points = |byte: u8| IdentityPoints { ed25519: [byte; 32], sr25519: [byte ^ 0xff; 32] };
    let holder = |(index, number): (u16, u8)| IdentityHolder { index, gatekeeper: id(number), shares: points(number) };
    IdentityRecord { era, threshold: 3, keys: points(keys), holders: (1..).zip(numbers).map(holder).collect() }
}

/// A network of eight gatekeepers, of whom the first four have the root that answers.
fn with_root() -> sp_io::TestExternalities {
    let mut network = network(8);
    network.execute_with(|| {
        assert_ok!(start(1..=4));
        make_root(1..=4);
    });
    network
}

/// The same, and they hold the keys.
fn with_identities() -> sp_io::TestExternalities {
    let mut network = with_root();
    network.execute_with(|| {
        assert_ok!(begin());
        agree(&FIRST, &held(0, 9, 1..=4));
        assert_ok!(bring(held(0, 9, 1..=4)));
    });
    network
}

fn begin() -> DispatchResult {
    Gatekeepers::start_identities(RuntimeOrigin::root())
}

fn bring(record: IdentityRecord) -> DispatchResult {
    let shown = Gatekeepers::show_identities(RuntimeOrigin::signed(ANYBODY), record);
    shown.map(|_| ()).map_err(|refused| refused.error)
}

fn signed_identity(number: u8, index: u16, statement: IdentityStatement) -> SignedIdentityStatement {
    let IdentityCeremonyRecord { era, attempt, .. } = ceremony();
    sign_identity(number, SignedIdentityStatement { era, attempt, index, statement, signature: [0; 64] })
}

fn sign_identity(number: u8, statement: SignedIdentityStatement) -> SignedIdentityStatement {
    let payload = statement.signing_payload(&Gatekeepers::genesis());
    SignedIdentityStatement { signature: pair(number).sign(&payload).0, ..statement }
}

fn tell(statement: SignedIdentityStatement) -> DispatchResult {
    let taken = Gatekeepers::state_identities(RuntimeOrigin::signed(ANYBODY), statement, None);
    taken.map(|_| ()).map_err(|refused| refused.error)
}

/// Dealers, which are (gatekeeper, index), commit, and the next phase begins.
fn deal(dealers: &[(u8, u16)]) {
    for (number, index) in dealers {
        assert_ok!(tell(signed_identity(*number, *index, IdentityStatement::Commit { package: [*number; 32] })));
    }
    next();
    assert_eq!(ceremony().phase, Phase::Share);
}

/// These deal, and the holders of `record` confirm it.
fn agree(dealers: &[(u8, u16)], record: &IdentityRecord) {
    deal(dealers);
    let numbers = (1..=8u8).map(|number| (id(number), number)).collect::<std::collections::BTreeMap<_, _>>();
    for holder in &record.holders {
        let confirm = IdentityStatement::Confirm { record: record.hash() };
        assert_ok!(tell(signed_identity(numbers[&holder.gatekeeper], holder.index, confirm)));
    }
    next();
    assert_eq!(ceremony().agreed, Some(record.hash()));
}

const FIRST: [(u8, u16); 4] = [(1, 1), (2, 2), (3, 3), (4, 4)];

#[test]
fn the_records_of_identities_are_the_ones_that_tees_read() {
    assert_eq!(IdentityCeremony::<Test>::hashed_key().to_vec(), storage::identity_ceremony_key());
    assert_eq!(Identity::<Test>::hashed_key().to_vec(), storage::identity_key());
    with_identities().execute_with(|| {
        let read = sp_io::storage::get(&storage::identity_key()).unwrap();
        assert_eq!(read.to_vec(), held(0, 9, 1..=4).encode());
    });
}

#[test]
fn keys_are_made_by_the_seats_of_the_root_when_governance_says_so() {
    network(4).execute_with(|| {
        assert_noop!(begin(), Error::<Test>::NoRoot);
    });
    with_root().execute_with(|| {
        assert!(Gatekeepers::start_identities(RuntimeOrigin::signed(account(1))).is_err());
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        assert_ok!(begin());
        assert!(happened(Event::IdentitiesStarted { era: 0, attempt: 0, threshold: 3, made: true }));
        let record = ceremony();
        assert_eq!((record.former, record.deals, record.dealers.len(), record.holders.len()), (None, 3, 4, 4));
        // The next election waits, and no other ceremony begins.
        assert_eq!(Gatekeepers::election(), Election::Withheld);
        assert_noop!(begin(), Error::<Test>::UnderWay);
        assert_noop!(start(1..=4), Error::<Test>::IdentitiesUnderWay);
        assert_noop!(bring(held(0, 9, 1..=4)), Error::<Test>::NotAgreed);
        agree(&FIRST, &held(0, 9, 1..=4));
        assert!(Identity::<Test>::get().is_none(), "the record is awaited");
        for other in [held(0, 8, 1..=4), held(1, 9, 1..=4), held(0, 9, 1..=3), held(0, 9, [1, 2, 3, 5])] {
            assert_noop!(bring(other), Error::<Test>::OtherRecord);
        }
        assert_ok!(bring(held(0, 9, 1..=4)));
        assert!(happened(Event::IdentitiesReceived { era: 0, attempt: 0, holders: 4 }));
        assert_eq!(Identity::<Test>::get(), Some(held(0, 9, 1..=4)));
        assert!(!IdentityCeremony::<Test>::exists() && IdentityDue::<Test>::get().is_none());
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        assert_noop!(begin(), Error::<Test>::IdentitiesHeld);
        assert_noop!(bring(held(0, 9, 1..=4)), Error::<Test>::NoCeremony);
    });
}

#[test]
fn keys_are_handed_over_when_the_next_root_answers_and_stay_with_those_who_hold_them_until_then() {
    with_identities().execute_with(|| {
        FormerClusters::set(1);
        assert_ok!(start(1..=4));
        make_root(1..=4);
        assert!(!IdentityCeremony::<Test>::exists(), "a cluster still needs the former root");
        FormerClusters::set(0);
        next();
        assert!(happened(Event::IdentitiesStarted { era: 1, attempt: 0, threshold: 3, made: false }));
        let former = held(0, 9, 1..=4);
        assert_eq!((ceremony().former, ceremony().era), (Some(former.hash()), 1));
        assert_eq!(Gatekeepers::election(), Election::Withheld);
        // Of other keys it is no record, whoever confirmed it: the time in which it is awaited runs out.
        agree(&FIRST, &held(1, 8, 1..=4));
        assert_noop!(bring(held(1, 8, 1..=4)), Error::<Test>::OtherRecord);
        at(ceremony().until + 1);
        assert_eq!((ceremony().attempt, ceremony().phase, ceremony().agreed), (1, Phase::Commit, None));
        assert_eq!(Identity::<Test>::get(), Some(former));
        agree(&FIRST, &held(1, 9, 1..=4));
        assert_ok!(bring(held(1, 9, 1..=4)));
        assert_eq!(Identity::<Test>::get(), Some(held(1, 9, 1..=4)));
        assert_eq!(Gatekeepers::election(), Election::Candidates);
    });
}

/// The next root is that of the other four.
fn with_others_root() -> sp_io::TestExternalities {
    let mut network = with_identities();
    network.execute_with(|| {
        Root::<Test>::put(RootRecord { era: 1, threshold: 3, seats: ids(5..=8), share_list: LIST });
        assert_ok!(begin());
    });
    network
}

/// The same, and it is known whose validators the other four are.
fn to_others() -> sp_io::TestExternalities {
    let mut network = with_others_root();
    network.execute_with(|| {
        let seats = (5..=8).map(|number| (id(number), account(number))).collect();
        Elections::<Test>::insert(1, Elected { first_attempt: 0, seats });
    });
    network
}

#[test]
fn those_who_hold_the_keys_deal_to_the_set_that_receives_them() {
    with_others_root().execute_with(|| {
        let commit = IdentityStatement::Commit { package: [1; 32] };
        assert_noop!(tell(signed_identity(5, 1, commit)), Error::<Test>::BadSignature);
        let confirm = IdentityStatement::Confirm { record: [1; 32] };
        assert_noop!(tell(signed_identity(5, 1, confirm)), Error::<Test>::WrongPhase);
        agree(&FIRST, &held(1, 9, 5..=8));
        assert_ok!(bring(held(1, 9, 5..=8)));
        assert_eq!(Identity::<Test>::get(), Some(held(1, 9, 5..=8)));
    });
}

#[test]
fn a_statement_is_of_an_active_gatekeeper_of_this_ceremony() {
    with_others_root().execute_with(|| {
        let good = signed_identity(1, 1, IdentityStatement::Commit { package: [1; 32] });
        let refused = |statement: SignedIdentityStatement| tell(sign_identity(1, statement)).unwrap_err();
        let wrong = [
            (SignedIdentityStatement { era: 0, ..good }, Error::<Test>::WrongEra),
            (SignedIdentityStatement { attempt: 1, ..good }, Error::<Test>::WrongAttempt),
            (SignedIdentityStatement { index: 5, ..good }, Error::<Test>::NoSuchSeat),
            (SignedIdentityStatement { index: 2, ..good }, Error::<Test>::BadSignature),
        ];
        for (statement, error) in wrong {
            assert_eq!(refused(statement), error.into());
        }
        assert_noop!(tell(SignedIdentityStatement { signature: [0; 64], ..good }), Error::<Test>::BadSignature);
        Workers::<Test>::mutate(id(1), |record| record.as_mut().unwrap().valid_until = 0);
        assert_noop!(tell(good), Error::<Test>::NotAGatekeeper);
        attest(1);
        assert_ok!(tell(good));
        assert!(happened(Event::IdentitiesStated { era: 1, attempt: 0, index: 1, of_dealer: true }));
        assert_noop!(tell(good), Error::<Test>::AlreadyStated);
    });
}

#[test]
fn a_ceremony_of_identities_that_too_few_attend_is_given_up_and_nothing_is_lost() {
    with_others_root().execute_with(|| {
        for attempt in 0..=u32::from(MOST_READMISSIONS) {
            assert_eq!((ceremony().attempt, ceremony().phase), (attempt, Phase::Commit));
            assert_ok!(tell(signed_identity(1, 1, IdentityStatement::Commit { package: [1; 32] })));
            at(ceremony().until + 1);
        }
        assert!(happened(Event::IdentitiesGivenUp { era: 1, attempt: MOST_READMISSIONS.into() }));
        assert!(!IdentityCeremony::<Test>::exists() && Punished::get().is_empty());
        assert_eq!(Identity::<Test>::get(), Some(held(0, 9, 1..=4)));
        assert_eq!(Gatekeepers::election(), Election::Candidates);
        // Governance begins it again; no attempt's number is used twice, also when it cancels.
        assert_ok!(begin());
        assert_eq!(ceremony().attempt, u32::from(MOST_READMISSIONS) + 1);
        assert!(Gatekeepers::cancel_identities(RuntimeOrigin::signed(account(1))).is_err());
        assert_ok!(Gatekeepers::cancel_identities(RuntimeOrigin::root()));
        assert!(happened(Event::IdentitiesCancelled { era: 1, attempt: u32::from(MOST_READMISSIONS) + 1 }));
        assert_noop!(Gatekeepers::cancel_identities(RuntimeOrigin::root()), Error::<Test>::NothingToCancel);
        assert_ok!(begin());
        assert_eq!(ceremony().attempt, u32::from(MOST_READMISSIONS) + 2);
        agree(&FIRST, &held(1, 9, 5..=8));
        assert_ok!(bring(held(1, 9, 5..=8)));
    });
}

#[test]
fn a_dealer_of_identities_that_a_threshold_rejects_is_convicted_as_of_its_own_set() {
    with_others_root().execute_with(|| {
        deal(&FIRST);
        for phase in [Phase::Deliver, Phase::Settle] {
            at(ceremony().until + 1);
            assert_eq!(ceremony().phase, phase);
        }
        for (number, index) in [(5, 1), (6, 2), (7, 3)] {
            assert_ok!(tell(signed_identity(number, index, IdentityStatement::Reject { dealer: 2 })));
        }
        let conviction = <() as WeightInfo>::report(<Mock as Punish<AccountId32>>::MOST_BACKERS);
        assert!(!<() as WeightInfo>::advance(8, 16).all_gte(conviction));
        assert!(enter(ceremony().until + 1).all_gte(conviction));
        let (validator, gatekeeper, offence) = (account(2), id(2), Offence::WrongShare);
        assert!(happened(Event::Convicted { validator: validator.clone(), gatekeeper, offence }));
        let punished: Vec<_> = Punished::get().into_iter().map(|misdeed| (misdeed.offender, misdeed.era)).collect();
        assert_eq!(punished, [(validator, 0)]);
        let left_out = |number, fault| Event::IdentitiesLeftOut { era: 1, attempt: 0, gatekeeper: id(number), fault };
        assert!(happened(left_out(2, Fault::WrongShare)) && happened(left_out(8, Fault::Absent)));
        // The eighth said nothing, and no dealer owed it anything: those that are left go on.
        assert_eq!((ceremony().attempt, ceremony().phase), (1, Phase::Commit));
        agree(&[(1, 1), (3, 3), (4, 4)], &held(1, 9, 5..=7));
        assert_ok!(bring(held(1, 9, 5..=7)));
    });
}

#[test]
fn gatekeepers_that_lapsed_receive_nothing_from_the_beginning() {
    let mut network = with_identities();
    network.execute_with(|| {
        Root::<Test>::put(RootRecord { era: 1, threshold: 3, seats: ids(5..=8), share_list: LIST });
        Workers::<Test>::mutate(id(6), |record| record.as_mut().unwrap().valid_until = 0);
        assert_ok!(begin());
        let left_out: Vec<_> = ceremony().holders.iter().map(|holder| holder.left_out).collect();
        assert_eq!(left_out, [None, Some(Fault::Absent), None, None]);
        assert_eq!(ceremony().threshold, 3, "of all seats");
    });
}

#[test]
fn gatekeepers_that_are_convicted_receive_nothing_however_few_are_left() {
    let left_out = || ceremony().holders.iter().map(|holder| holder.left_out).collect::<Vec<_>>();
    let convicted = Some(Fault::WrongShare);
    with_identities().execute_with(|| {
        Root::<Test>::put(RootRecord { era: 1, threshold: 3, seats: ids(5..=8), share_list: LIST });
        for number in [1, 6] {
            Convictions::<Test>::insert(id(number), 0);
        }
        assert_ok!(begin());
        assert_eq!(left_out(), [None, convicted, None, None]);
        assert!(ceremony().dealers.iter().all(|dealer| dealer.left_out.is_none()), "they alone have the keys");
        // Nobody commits, so that all that were absent would be back.
        at(ceremony().until + 1);
        assert_eq!((ceremony().attempt, left_out()), (1, vec![None, convicted, None, None]));
    });
    // Where keys are made they deal nothing either.
    with_root().execute_with(|| {
        Convictions::<Test>::insert(id(2), 0);
        assert_ok!(begin());
        assert_eq!((left_out()[1], ceremony().dealers[1].left_out), (convicted, convicted));
    });
}

#[test]
fn whoever_complained_and_is_active_no_more_accuses_no_dealer_of_identities() {
    for gone in [false, true] {
        with_others_root().execute_with(|| {
            deal(&FIRST);
            let complaint = signed_identity(5, 1, IdentityStatement::Complain { dealer: 1 });
            let submit = |key: AnnouncedKey| {
                let beside = Some(Attachment::Key(key));
                Gatekeepers::state_identities(RuntimeOrigin::signed(ANYBODY), complaint, beside)
            };
            let own = announced(CeremonyAttempt::identities(1, 0), 5, 5);
            let of_another = announced(own.of, 5, 6);
            let of_roots = announced(CeremonyAttempt::root(1, 0), 5, 5);
            let of_later = announced(CeremonyAttempt::identities(1, 1), 5, 5);
            for wrong in [of_another, of_roots, of_later] {
                let refused = submit(wrong).unwrap_err();
                assert_eq!(refused.error, Error::<Test>::WrongAttachment.into());
                assert_eq!(refused.post_info.pays_fee, Pays::Yes);
            }
            let taken = submit(own.clone()).unwrap();
            // Four dealers and four holders.
            assert_eq!((taken.pays_fee, taken.actual_weight), (Pays::No, Some(<() as WeightInfo>::state_with(8, 1))));
            let attachment = Attachment::Key(own);
            assert!(happened(Event::IdentitiesAttached { era: 1, attempt: 0, index: 1, of_dealer: false, attachment }));
            for (number, index) in [(6, 2), (7, 3), (8, 4)] {
                assert_ok!(tell(signed_identity(number, index, IdentityStatement::Confirm { record: [1; 32] })));
            }
            at(ceremony().until + 1);
            assert_eq!((ceremony().phase, ceremony().complaints.len()), (Phase::Deliver, 1));
            // Another key of its registration changes nothing: nothing is sealed to that one.
            Workers::<Test>::mutate(id(5), |record| record.as_mut().unwrap().encryption_key = [9; 32]);
            if gone {
                Workers::<Test>::remove(id(5));
            }
            at(ceremony().until + 1);
            assert_eq!((ceremony().phase, ceremony().complaints.len()), (Phase::Settle, usize::from(!gone)));
            at(ceremony().until + 1);
            // The dealer owed it a delivery, or nobody could seal to it.
            let absent = Some(Fault::Absent);
            let (dealer, holder) = if gone { (None, absent) } else { (absent, None) };
            assert_eq!((ceremony().attempt, ceremony().phase), (1, Phase::Commit));
            assert_eq!((ceremony().dealers[0].left_out, ceremony().holders[0].left_out), (dealer, holder));
        });
    }
}
