//! Silence in the beacon: who is warned, who pays, and when the network is the likelier cause.

use super::*;
use frame_support::weights::Weight;
use phala_attest::{ConfidenceLevel, Origin, Root as VendorRoot, Subject, TcbStatus, Vendor};
use phala_pallet_attestation::{Appraisal, Appraisals};

/// A network whose four gatekeepers have the root of era 0, of which three partials make a value.
fn with_root() -> sp_io::TestExternalities {
    let mut network = started(4);
    network.execute_with(|| make_root(1..=4));
    network
}

/// What the beacon says of a period that ended without a value.
fn tell(era: u32, period: u32, silent: &[u16]) -> Weight {
    <Gatekeepers as OnSilence>::silent(era, period, silent, 3)
}

fn silent(number: u8, era: u32, period: u32, times: u32) -> Event<Test> {
    Event::Silent { validator: account(number), era, period, times }
}

/// Who paid for silence, in which era and period.
fn fined() -> Vec<(AccountId32, u32, u32)> {
    let misdeeds = Punished::get();
    assert!(misdeeds.iter().all(|misdeed| misdeed.offence == Offence::Silence && misdeed.reporters.is_empty()));
    misdeeds.into_iter().map(|misdeed| (misdeed.offender, misdeed.era, misdeed.attempt)).collect()
}

#[test]
fn whoever_is_silent_is_warned_twice_and_fined_once_an_era() {
    with_root().execute_with(|| {
        for (times, period) in [(1, 0), (2, 7)] {
            let weight = tell(0, period, &[3, 4]);
            assert_eq!(weight, <() as WeightInfo>::silence().saturating_mul(2));
            assert!(happened(silent(3, 0, period, times)) && happened(silent(4, 0, period, times)));
        }
        assert!(fined().is_empty());
        // Not in a row: the other one was there twice meanwhile.
        tell(0, 20, &[1, 4]);
        assert_eq!(fined(), [(account(4), 0, 20)]);
        assert_eq!(Punished::get()[0].fraction, CurrentPolicy::<Test>::get().fine);
        assert_eq!(Silences::<Test>::get(account(3)), Some(SilenceRecord { era: 0, times: 2, fined_in: None }));
        // A machine that is gone for the rest of the era costs its owner nothing more.
        for period in 21..60 {
            tell(0, period, &[2, 4]);
        }
        assert_eq!(fined(), [(account(4), 0, 20), (account(2), 0, 23)]);
        assert!(!happened(silent(4, 0, 21, 1)) && !happened(silent(2, 0, 24, 1)));
        // In the next one it is warned and fined as anybody.
        assert_ok!(start(1..=4));
        make_root(1..=4);
        for period in 0..3 {
            tell(1, period, &[1, 4]);
        }
        assert_eq!(fined()[2..], [(account(1), 1, 1), (account(4), 1, 2)]);
    });
}

#[test]
fn where_as_many_are_silent_as_would_do_nobody_is_counted() {
    with_root().execute_with(|| {
        // Finality stood still, or no gatekeeper runs a release that does it.
        for period in 0..10 {
            assert_eq!(tell(0, period, &[1, 2, 3, 4]), Weight::zero());
            assert_eq!(tell(0, period, &[1, 2, 3]), Weight::zero());
        }
        assert_eq!((Silences::<Test>::iter().count(), fined().len()), (0, 0));
        tell(0, 10, &[1, 2]);
        assert_eq!(Silences::<Test>::iter().count(), 2);
    });
}

#[test]
fn silences_of_long_ago_count_no_more() {
    with_root().execute_with(|| {
        let seats: Vec<_> = (1..=4).map(|number| (id(number), account(number))).collect();
        for era in [7, 15] {
            Elections::<Test>::insert(era, Elected { first_attempt: 0, seats: seats.clone() });
        }
        tell(0, 0, &[3, 4]);
        tell(absences::SILENT_ERAS, 0, &[3, 4]);
        assert!(happened(silent(4, 7, 0, 2)));
        tell(15, 0, &[3, 4]);
        assert!(happened(silent(4, 15, 0, 1)) && fined().is_empty());
    });
}

#[test]
fn a_gatekeeper_that_is_shut_out_is_not_silent_of_its_own_will() {
    with_root().execute_with(|| {
        let suspended = [8; 32];
        for (number, measurement) in [(3, MEASUREMENT), (4, suspended)] {
            let (root, vendor) = (VendorRoot::InsecureDevelopment, Vendor::IntelTdx);
            let origin = Origin { root, vendor, fmspc: [0; 6], evaluation: 1, measurement };
            let appraisal = Appraisal { origin, status: TcbStatus::UpToDate, confidence: ConfidenceLevel::One };
            Appraisals::<Test>::insert(id(number), appraisal);
        }
        assert_ok!(Attestation::suspend(RuntimeOrigin::root(), Subject::Measurement(suspended)));
        for period in 0..3 {
            tell(0, period, &[3, 4]);
        }
        assert_eq!((fined(), Silences::<Test>::get(account(4))), (vec![(account(3), 0, 2)], None));
        // One that merely let its evidence lapse could have attested again.
        assert_ok!(Attestation::lift(RuntimeOrigin::root(), Subject::Measurement(suspended)));
        Workers::<Test>::mutate(id(4), |record| record.as_mut().unwrap().valid_until = 0);
        tell(0, 3, &[3, 4]);
        assert!(happened(silent(4, 0, 3, 1)));
    });
}

#[test]
fn an_era_that_is_not_remembered_and_seats_that_are_none_name_nobody() {
    with_root().execute_with(|| {
        tell(9, 0, &[1, 2]);
        tell(0, 0, &[0, 5]);
        tell(0, 1, &[u16::MAX]);
        tell(0, 2, &[]);
        assert_eq!((Silences::<Test>::iter().count(), fined().len()), (0, 0));
    });
}

#[test]
fn a_policy_without_a_fine_warns() {
    with_root().execute_with(|| {
        let policy = Policy { fine: Perbill::zero(), absences: 2, ..CurrentPolicy::<Test>::get() };
        assert_ok!(Gatekeepers::set_policy(RuntimeOrigin::root(), policy));
        tell(0, 0, &[1]);
        tell(0, 1, &[1]);
        assert!(happened(silent(1, 0, 1, 2)) && fined().is_empty());
    });
}
