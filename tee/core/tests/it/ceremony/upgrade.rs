//! A gatekeeper that moves to another release: its validator sets up another machine, whose program measures something else, and that
//! takes part in the next root.
//!
//! The network is a development one, so that of the delay before a measurement counts the governed part alone is in here, which is the
//! block that governance names. The part that is compiled in has its own tests, in `phala_gatekeeper`.

use super::{
    count,
    play::{Asker, Play},
    seats,
};
use crate::machine::MemoryMachine;
use phala_core::{Notice, SeatHealth};
use phala_gatekeeper::Refusal;
use phala_protocol::relay::Outgoing;

/// The gatekeeper that moves.
const MOVES: usize = 3;
/// Blocks until its measurement counts: less than until a seat complains of what is not sealed to it.
const DELAY: u32 = 9;

#[test]
fn a_gatekeeper_of_another_release_makes_the_next_root_with_the_others_once_its_measurement_counts() {
    let mut play = Play::new(960, false);
    play.start(1);
    let former = play.make_root();
    play.record(Some(former.clone()), None);
    let asker = Asker::new(&mut play);
    play.cluster(&asker, 1, (1, 1));
    play.run(2);
    let before = play.opened_by(&asker, 1, 1, [0, 1, 2]);
    assert!(before.is_some());

    let machine = MemoryMachine::of(96_099, b"phala-worker, the next release");
    let release = machine.measurement();
    assert_ne!(release, play.nodes[0].machine.measurement());
    let old = play.nodes[MOVES].id();
    play.replace(MOVES, machine);
    play.run_until(|play| play.nodes[MOVES].tee().registration().is_some());
    let new = play.nodes[MOVES].id();
    assert_ne!(new, old);

    // Elected, and its release is listed, but does not count yet: each of the others says so, and seals nothing to it.
    let from = play.number() + DELAY;
    play.list(&release, from);
    play.start(2);
    let sealed_to = |play: &Play| {
        let outgoing = play.nodes[..MOVES].iter().flat_map(|node| node.tee().status().outgoing);
        outgoing.filter(|item| matches!(item, Outgoing::Post { to, .. } if *to == new)).count()
    };
    let refused = Notice::PeerRefused { peer: new, refusal: Refusal::MeasurementNotAllowed };
    // The head that is shown in a step is the block before.
    while play.number() <= from {
        play.step();
        assert_eq!(sealed_to(&play), 0);
    }
    assert!((0..MOVES).all(|index| count(&play, index, &refused) == 1));
    assert!(seats(&play, MOVES).is_empty());
    // Among themselves they go on, and then with it, in the same attempt.
    let next = play.make_root();
    assert_eq!((play.attempts(), next.seats[MOVES], next.seats.contains(&old)), (1, new, false));
    assert_eq!(count(&play, MOVES, &Notice::CeremonyConfirmed { era: 2, attempt: 0 }), 1);
    assert_eq!(seats(&play, MOVES), [SeatHealth { era: 2, recorded: false }]);

    // Nothing is lost: the former root opens what it opened, and the next one is as much the other release's.
    play.record(Some(former), Some(next.clone()));
    play.run(2);
    assert_eq!(play.opened_by(&asker, 1, 1, [0, 1, 2]), before);
    assert_eq!(play.ask(&asker, MOVES, 1, 1), Err(Refusal::RootNotRecorded), "its seat was another machine's");
    let with = play.opened_by(&asker, 2, 2, [1, 2, MOVES]);
    assert!(with.is_some());
    assert_eq!(play.opened_by(&asker, 2, 2, [0, 1, 2]), with);
    play.cluster(&asker, 3, (2, 2));
    play.record(Some(next), None);
    play.run(2);
    assert_eq!(seats(&play, MOVES), [SeatHealth { era: 2, recorded: true }]);
    assert!(play.opened_by(&asker, 2, 3, [0, 1, MOVES]).is_some());
}
