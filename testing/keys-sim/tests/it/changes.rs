//! What happens to the set in the middle of a ceremony: in whole ceremonies, and by the chain's rules alone.

use phala_keys_sim::{
    chain::{Chain, PHASE_BLOCKS},
    malice::sign,
    run,
    seating::Seating,
    Members, Ran,
};
use phala_protocol::ceremony::{Attachment, CeremonyAttempt, Complaint, Phase, Statement};
use std::collections::BTreeSet;

const COMMIT: Statement = Statement::Commit { package: [1; 32] };

#[test]
fn a_set_that_changes_in_the_middle_of_a_ceremony_makes_one_root_all_the_same() {
    let members = Members::new(4);
    let all: Vec<Ran> = (3_000..3_060).map(|seed| run(&members, seed, 1, 4)).collect();
    for ran in &all {
        assert_eq!(ran.violation, None, "trace {:?}, {:?}", ran.trace, ran.counts);
        assert!(ran.root.is_some() || ran.beyond);
    }
    let happened = |what: &str| all.iter().filter(|ran| ran.counts.contains_key(what)).count();
    for what in [
        "registration lapsed",
        "machine lost",
        "gatekeeper replaced",
        "ceremony cancelled",
        "parcel that a replaced gatekeeper does not open",
    ] {
        assert!(happened(what) > 0, "{what}");
    }
    // Whoever replaced another has its seat of the root, and the other has none.
    let first = members.ids(4);
    let is_another = |ran: &&Ran| ran.root.as_ref().is_some_and(|root| root.seats != first);
    let others: Vec<&Ran> = all.iter().filter(is_another).collect();
    assert!(!others.is_empty() && others.iter().all(|ran| ran.sets == 2));
    for ran in others {
        let seats = &ran.root.as_ref().unwrap().seats;
        assert_eq!((seats.len(), seats.iter().collect::<BTreeSet<_>>().len()), (4, 4));
    }
}

#[test]
fn a_set_elected_anew_has_attempts_of_its_own_and_nobody_who_lapsed_or_is_convicted() {
    let members = Members::new(4);
    let mut seating = Seating::new(&members, 4);
    let mut chain = Chain::new(1, seating.ids(0));
    chain.tick();
    let commit = |seating: &Seating<'_>, chain: &Chain, index| sign(seating, &chain.record, index, COMMIT);
    // While its registration has lapsed nothing of it is taken, and it is not elected.
    let (first, ids) = (commit(&seating, &chain, 1), seating.ids(0));
    chain.lapse(&ids[0]);
    assert_eq!(chain.away(), BTreeSet::from([1]));
    assert!(chain.submit(&first, None).is_err() && chain.elect_anew(&ids).is_err());
    chain.register(ids[0]);
    chain.submit(&first, None).unwrap();
    // Whoever contradicted itself goes on in this ceremony, and is in no other.
    let second = sign(&seating, &chain.record, 2, Statement::Commit { package: [2; 32] });
    let other = commit(&seating, &chain, 2);
    assert!(chain.report(&second, &second).is_err());
    chain.report(&second, &other).unwrap();
    assert!(chain.report(&second, &other).is_err(), "once");
    chain.submit(&other, None).unwrap();
    assert!(chain.elect_anew(&ids).is_err());

    let late = commit(&seating, &chain, 3);
    let another = sign(&seating, &chain.record, 3, Statement::Commit { package: [2; 32] });
    seating.elect(1, &BTreeSet::from([2]));
    let (ids, spare) = (seating.ids(1), members.spare(2));
    assert_eq!((seating.number(2, 0), seating.number(2, 1), seating.number(1, 1)), (2, spare, 1));
    assert!(chain.elect_anew(&ids).is_err(), "not registered yet");
    chain.register(ids[1]);
    chain.elect_anew(&ids).unwrap();
    assert_eq!((chain.record.attempt, chain.record.phase, chain.first_attempt), (1, Phase::Commit, 1));
    assert!(chain.record.seats.iter().all(|seat| seat.package.is_none() && seat.left_out.is_none()));
    assert!(chain.submit(&late, None).is_err(), "of the cancelled attempt");
    // The seat is another's now.
    chain.submit(&commit(&seating, &chain, 2), None).unwrap();
    assert!(chain.report(&first, &sign(&seating, &chain.record, 1, COMMIT)).is_err(), "of two attempts");
    // What was signed as a seat of the cancelled ceremony convicts whoever had that seat, and once.
    assert_eq!(chain.report(&second, &other), Err("convicted already".to_owned()));
    assert_eq!(chain.report(&late, &another), Ok(()));
    let convicted = BTreeSet::from([members.ids(4)[1], members.ids(4)[2]]);
    assert_eq!(chain.convicted, convicted);
}

#[test]
fn a_complaint_of_whose_registration_lapsed_counts_only_if_somebody_delivered_on_it() {
    let members = Members::new(4);
    let seating = Seating::new(&members, 4);
    for renewed_in_time in [true, false] {
        let mut chain = Chain::new(1, seating.ids(0));
        chain.tick();
        for index in 1..=4 {
            let said = sign(&seating, &chain.record, index, COMMIT);
            chain.submit(&said, None).unwrap();
        }
        chain.tick();
        assert_eq!(chain.record.phase, Phase::Share);
        let of = CeremonyAttempt::root(1, 0);
        let key = Attachment::Key(seating.receiving(1, of).announce(seating.identity(1, 0)));
        let complain = sign(&seating, &chain.record, 1, Statement::Complain { dealer: 2 });
        chain.submit(&complain, Some(&key)).unwrap();
        while chain.record.phase != Phase::Deliver {
            chain.tick();
        }
        let gatekeeper = seating.ids(0)[0];
        chain.lapse(&gatekeeper);
        if renewed_in_time {
            chain.register(gatekeeper);
        }
        for block in 0..PHASE_BLOCKS {
            assert_eq!(chain.record.phase, Phase::Deliver, "{block}");
            // Too late for anybody to deliver.
            if block == PHASE_BLOCKS / 2 && !renewed_in_time {
                chain.register(gatekeeper);
            }
            chain.tick();
        }
        let kept = if renewed_in_time { vec![Complaint::new(1, 2)] } else { Vec::new() };
        assert_eq!((chain.record.phase, &chain.record.complaints), (Phase::Settle, &kept));
    }
}
