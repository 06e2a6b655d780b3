//! An era that governance calls early, for a gatekeeper whose machine is lost: staking, ceremony and hand-over together.

use super::{
    hand_over::{announce, clusters, create_clusters, enter, eras, next, stand},
    *,
};
use pallet_staking::{ForceEra, Forcing};

/// Blocks for which governance may cancel a root outside a development network.
const DELAY: BlockNumber = 600;

/// The seats of the ceremony under way make its root. Returns the first block in which clusters may go over to it.
fn make_root() -> BlockNumber {
    all_say(|number| Statement::Commit { package: [number; 32] });
    next();
    all_say(|_| Statement::Confirm(KEYS));
    next();
    System::block_number() + DELAY
}

fn sorted(mut accounts: Vec<AccountId>) -> Vec<AccountId> {
    accounts.sort();
    accounts
}

fn seats() -> Vec<WorkerId> {
    Root::<Runtime>::get().unwrap().seats
}

#[test]
fn an_early_era_elects_a_replaced_machine_makes_its_root_and_takes_the_clusters_over() {
    network(false).execute_with(|| {
        let four = (1..=4).map(account).collect::<Vec<_>>();
        (1..=4).for_each(attest_and_bind);
        for index in 2..=6 {
            assert_eq!(plan_session(index), None);
        }
        let from = make_root();
        assert_eq!(plan_session(7).map(sorted), Some(four.clone()));
        enter(from);
        assert_eq!((CurrentEra::<Runtime>::get(), eras()), (Some(1), (Some(0), None)));
        create_clusters();
        // The era has six sessions, and nothing waits: no election is due.
        assert_eq!(plan_session(8), None);
        assert!(Planned::<Runtime>::get().is_none() && Ceremony::<Runtime>::get().is_none());

        // A machine is lost. Without it there are too few, and staking asks again at the end of each session.
        Workers::<Runtime>::mutate(gatekeeper(4), |record| record.as_mut().unwrap().valid_until = 0);
        assert!(Staking::force_new_era(RuntimeOrigin::signed(account(4))).is_err());
        Staking::force_new_era(RuntimeOrigin::root()).unwrap();
        assert_eq!(plan_session(9), None);
        assert!(Planned::<Runtime>::get().is_none() && Ceremony::<Runtime>::get().is_none());
        // Its validator binds another one in its place.
        let lost = Workers::<Runtime>::get(gatekeeper(4)).unwrap();
        let record = WorkerRecord { hardware: [6; 32], valid_until: u64::MAX, ..lost };
        Workers::<Runtime>::insert(gatekeeper(6), record);
        Gatekeepers::register_seat(RuntimeOrigin::signed(account(4)), gatekeeper(6)).unwrap();
        assert_eq!((plan_session(10), ForceEra::<Runtime>::get()), (None, Forcing::ForceNew));
        assert_eq!(Planned::<Runtime>::get().map(|plan| (plan.era, sorted(plan.validators))), Some((1, four.clone())));
        let from = make_root();
        assert_eq!(plan_session(11).map(sorted), Some(four));
        // Two sessions before the end of an era that nobody calls early, and for once.
        assert_eq!((CurrentEra::<Runtime>::get(), ErasStartSessionIndex::<Runtime>::get(2)), (Some(2), Some(11)));
        assert_eq!(ForceEra::<Runtime>::get(), Forcing::NotForcing);

        // The former root answers until clusters have gone over, for whom the next epochs are due at once.
        enter(from - 1);
        assert_eq!((eras(), seats().contains(&gatekeeper(4))), ((Some(0), None), true));
        enter(from);
        assert_eq!(eras(), (Some(0), Some(1)));
        next();
        next();
        for epoch in [2, 3] {
            assert_eq!(eras(), (Some(0), Some(1)));
            for cluster in clusters() {
                announce(cluster, 1, epoch).unwrap();
            }
            next();
        }
        assert_eq!((stand(), eras()), ((1, 1, 3), (Some(1), None)));
        assert!(seats().contains(&gatekeeper(6)) && !seats().contains(&gatekeeper(4)));
        assert_eq!(plan_session(12), None);
        assert!(Planned::<Runtime>::get().is_none() && Ceremony::<Runtime>::get().is_none());
    });
}
