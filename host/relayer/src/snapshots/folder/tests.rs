//! What stays in the folder, and what goes.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::{
    super::tests::{header, part_of, CLUSTER},
    *,
};
use phala_protocol::limits::FINAL_RESULTS_KEPT;

const MUCH: u64 = 64 * 1024 * 1024;

async fn write(folder: &Folder, header: SnapshotHeader, origin: Origin, parts: u32) -> io::Result<Kept> {
    give(folder, header, (origin == Origin::Peer).then_some([7; 32]), parts).await
}

/// Writes what `giver` gives.
async fn give(folder: &Folder, header: SnapshotHeader, giver: Option<Hash>, parts: u32) -> io::Result<Kept> {
    let mut writer = folder.begin(&header, giver).await?;
    for index in 0..parts {
        writer.add(&part_of(header, index, parts).sealed).await?;
    }
    writer.finish().await
}

fn ids(folder: &Folder) -> Vec<Hash> {
    folder.of(CLUSTER).iter().map(|kept| kept.id).collect()
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_head_is_as_long_as_it_is_said_to_be() {
    assert_eq!(header(1, 1).encode().len(), HEADER_BYTES);
}

#[tokio::test]
async fn the_newest_of_each_origin_stays_and_what_a_peer_gave_makes_none_of_ours_go() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), MUCH);
    write(&folder, header(100, 1), Origin::Own, 1).await.unwrap();
    // A peer can say any block.
    write(&folder, header(u32::MAX, 2), Origin::Peer, 1).await.unwrap();
    assert_eq!(ids(&folder), [header(100, 1).id(), header(u32::MAX, 2).id()]);
    write(&folder, header(50, 3), Origin::Peer, 1).await.unwrap();
    assert_eq!(ids(&folder), [header(100, 1).id(), header(50, 3).id()]);
    write(&folder, header(200, 4), Origin::Own, 1).await.unwrap();
    assert_eq!(ids(&folder), [header(200, 4).id()], "it is newer than either");
    let elsewhere = SnapshotHeader { cluster: ClusterId(9), ..header(1, 5) };
    write(&folder, elsewhere, Origin::Own, 1).await.unwrap();
    assert_eq!((ids(&folder), files(place.path())), (vec![header(200, 4).id()], 2), "another cluster's stays");
    let next = SnapshotHeader { epoch: header(1, 6).epoch + 1, ..header(1, 6) };
    write(&folder, next, Origin::Peer, 1).await.unwrap();
    assert_eq!(ids(&folder), [next.id()], "a former epoch's opens for nobody any more");
    let again = Folder::open(place.path().to_owned(), MUCH);
    assert_eq!((ids(&again), again.of(ClusterId(9)).len()), (vec![next.id()], 1));
}

#[tokio::test]
async fn what_was_replaced_is_there_for_whoever_reads_it_and_then_goes() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), MUCH);
    let former = header(100, 1);
    let kept = write(&folder, former, Origin::Own, 2).await.unwrap();
    assert!(folder.part(&kept, 0).await.unwrap().is_some());
    write(&folder, header(400, 2), Origin::Own, 1).await.unwrap();
    assert_eq!(ids(&folder), [header(400, 2).id()], "nobody begins with it");
    assert_eq!(folder.part(&kept, 1).await.unwrap(), Some(part_of(former, 1, 2)));
    folder.sweep(Instant::now() + IN_USE);
    assert_eq!((folder.get(&former.id()), files(place.path())), (None, 1));

    // Nor does it stay for whoever never stops.
    let kept = write(&folder, header(500, 3), Origin::Own, 1).await.unwrap();
    assert_eq!(folder.get(&header(400, 2).id()), None, "nobody has read of it");
    assert!(folder.part(&kept, 0).await.unwrap().is_some());
    let start = Instant::now();
    write(&folder, header(600, 4), Origin::Own, 1).await.unwrap();
    let replaced = Instant::now();
    for minute in 0..LONGEST_USE.as_secs() / 60 {
        let now = start + Duration::from_secs(60 * minute);
        for entry in folder.index().entries.iter_mut().filter(|entry| entry.kept == kept) {
            entry.read_at = Some(now);
        }
        folder.sweep(now);
        assert!(folder.get(&kept.id).is_some(), "{minute}");
    }
    folder.sweep(replaced + LONGEST_USE);
    assert_eq!(folder.get(&kept.id), None);
}

#[tokio::test]
async fn all_together_are_held_to_a_number_of_bytes_and_what_nobody_names_makes_room() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), 3 * PART_BYTES + 3 * HEAD_BYTES);
    let elsewhere = SnapshotHeader { cluster: ClusterId(9), ..header(1, 5) };
    write(&folder, elsewhere, Origin::Own, 2).await.unwrap();
    folder.name(ClusterId(9), elsewhere.epoch, Instant::now());
    let full = write(&folder, header(100, 1), Origin::Own, 2).await.unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!((files(place.path()), folder.of(ClusterId(9)).len()), (1, 1), "nothing is left of it, and nothing went");
    write(&folder, header(100, 2), Origin::Own, 1).await.unwrap();
    // A process that begins knows of no TEE yet that names it.
    let folder = Folder::open(place.path().to_owned(), 3 * PART_BYTES + 3 * HEAD_BYTES);
    write(&folder, header(200, 3), Origin::Own, 2).await.unwrap();
    assert_eq!((ids(&folder), folder.of(ClusterId(9)).len()), (vec![header(200, 3).id()], 0));
    assert_eq!(files(place.path()), 1);
}

#[tokio::test]
async fn files_that_are_no_whole_snapshots_count_for_nothing_and_are_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), MUCH);
    let made = write(&folder, header(100, 1), Origin::Own, 2).await.unwrap();
    let path = place.path().join(made.file_name());
    let whole = fs::read(&path).unwrap();
    let other = place.path().join(file_name(&header(100, 2).id(), Origin::Own, None));
    let mut of_another_magic = whole.clone();
    of_another_magic[0] ^= 1;
    let wrong = [&whole[..whole.len() - 1], &whole[..HEAD_BYTES as usize], &whole[..20], &of_another_magic[..], &[]];
    for bytes in wrong {
        fs::write(&path, bytes).unwrap();
        assert_eq!(ids(&Folder::open(place.path().to_owned(), MUCH)), Vec::<Hash>::new());
    }
    fs::write(&path, &whole).unwrap();
    fs::write(&other, &whole).unwrap();
    fs::write(place.path().join("short.own.snapshot"), &whole).unwrap();
    fs::write(place.path().join(file_name(&made.id, Origin::Own, Some(&[7; 32]))), &whole).unwrap();
    assert_eq!(ids(&Folder::open(place.path().to_owned(), MUCH)), [made.id], "the control");
    assert_eq!(files(place.path()), 4);
    // It goes away under a process that has it: that one finds another.
    fs::remove_file(&path).unwrap();
    assert!(folder.part(&made, 0).await.is_err());
    assert_eq!(ids(&folder), Vec::<Hash>::new());
}

/// Room for as many parts, and heads.
const fn room_for(parts: u64) -> u64 {
    parts * (PART_BYTES + HEAD_BYTES)
}

#[tokio::test]
async fn whoever_reads_what_was_replaced_keeps_nothing_new_out() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), room_for(4));
    let first = write(&folder, header(100, 1), Origin::Own, 2).await.unwrap();
    assert!(folder.part(&first, 0).await.unwrap().is_some());
    let second = write(&folder, header(201, 2), Origin::Own, 2).await.unwrap();
    for kept in [&first, &second] {
        assert!(folder.part(kept, 0).await.unwrap().is_some(), "there is room for both");
    }
    let third = write(&folder, header(302, 3), Origin::Own, 2).await.unwrap();
    assert_eq!((folder.get(&first.id), ids(&folder)), (None, vec![third.id]));
    assert_eq!(folder.part(&first, 1).await.unwrap(), None);
}

#[tokio::test]
async fn a_state_of_more_than_half_of_the_room_is_kept_once_until_it_proves_nothing_or_its_epoch_ends() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), room_for(4));
    let first = header(100, 1);
    write(&folder, first, Origin::Own, 3).await.unwrap();
    // Of the same epoch, the one that is here is worth more than a part of another, for as long as it proves something.
    let late = 100 + FINAL_RESULTS_KEPT;
    for block in [201, late - 1, 0] {
        let full = write(&folder, header(block, 2), Origin::Own, 3).await.unwrap_err();
        assert_eq!((full.kind(), ids(&folder)), (io::ErrorKind::StorageFull, vec![first.id()]), "{block}");
    }
    let full = write(&folder, header(late, 2), Origin::Peer, 3).await.unwrap_err();
    assert_eq!((full.kind(), ids(&folder)), (io::ErrorKind::StorageFull, vec![first.id()]), "a peer can say any block");
    write(&folder, header(late, 2), Origin::Own, 3).await.unwrap();
    assert_eq!((ids(&folder), files(place.path())), (vec![header(late, 2).id()], 1));
    let next = SnapshotHeader { epoch: first.epoch + 1, ..header(100, 3) };
    write(&folder, next, Origin::Own, 3).await.unwrap();
    assert_eq!((ids(&folder), files(place.path())), (vec![next.id()], 1));

    // So it goes for another cluster, once a TEE here has said that its epoch is over.
    let elsewhere = SnapshotHeader { cluster: ClusterId(9), ..header(1, 5) };
    folder.name(CLUSTER, next.epoch, Instant::now());
    let full = write(&folder, elsewhere, Origin::Own, 3).await.unwrap_err();
    assert_eq!((full.kind(), ids(&folder)), (io::ErrorKind::StorageFull, vec![next.id()]));
    folder.name(CLUSTER, next.epoch + 1, Instant::now());
    // One that is behind says otherwise.
    folder.name(CLUSTER, next.epoch, Instant::now());
    write(&folder, elsewhere, Origin::Own, 3).await.unwrap();
    assert_eq!((ids(&folder), folder.of(ClusterId(9)).len()), (vec![], 1));
}

#[tokio::test]
async fn peers_have_a_share_of_the_room_ours_come_first_and_what_is_in_doubt_goes_first() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), room_for(4));
    let elsewhere = |salt| SnapshotHeader { cluster: ClusterId(9), ..header(1, salt) };
    folder.name(ClusterId(9), elsewhere(0).epoch, Instant::now());
    folder.name(CLUSTER, elsewhere(0).epoch, Instant::now());
    let full = write(&folder, elsewhere(1), Origin::Peer, 3).await.unwrap_err();
    assert_eq!((full.kind(), files(place.path())), (io::ErrorKind::StorageFull, 0), "more than half");
    let garbage = write(&folder, elsewhere(2), Origin::Peer, 2).await.unwrap();
    let full = write(&folder, header(100, 3), Origin::Peer, 2).await.unwrap_err();
    assert_eq!((full.kind(), folder.of(ClusterId(9)).len()), (io::ErrorKind::StorageFull, 1));
    folder.doubt(&garbage, true);
    let given = write(&folder, header(100, 3), Origin::Peer, 2).await.unwrap();
    assert_eq!((folder.get(&garbage.id), ids(&folder)), (None, vec![given.id]), "what a TEE refused made room");

    // Ours take all the room if they need it, and nothing of a peer's ever takes theirs.
    let own = write(&folder, elsewhere(4), Origin::Own, 3).await.unwrap();
    assert_eq!((ids(&folder), folder.of(ClusterId(9))), (vec![], vec![own]));
    folder.doubt(&own, true);
    let full = write(&folder, header(100, 5), Origin::Peer, 2).await.unwrap_err();
    assert_eq!((full.kind(), folder.of(ClusterId(9))), (io::ErrorKind::StorageFull, vec![own]));
    write(&folder, header(100, 6), Origin::Own, 2).await.unwrap();
    assert!(folder.of(ClusterId(9)).is_empty(), "one of ours that was refused goes for another of ours");
}

#[tokio::test]
async fn what_a_peer_gave_goes_when_it_was_refused_often_enough_and_ours_does_not() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), MUCH);
    let given = write(&folder, header(200, 1), Origin::Peer, 1).await.unwrap();
    let own = write(&folder, header(100, 2), Origin::Own, 1).await.unwrap();
    for _ in 1..MOST_REFUSALS {
        folder.doubt(&given, true);
    }
    assert!(folder.is_doubted(&given) && !folder.is_doubted(&own));
    folder.trust(&given);
    assert!(!folder.is_doubted(&given), "a TEE has taken it after all");
    for _ in 0..MOST_REFUSALS {
        assert!(folder.get(&given.id).is_some());
        folder.doubt(&given, false);
        folder.doubt(&given, true);
        folder.doubt(&own, true);
    }
    assert_eq!((folder.get(&given.id), ids(&folder), files(place.path())), (None, vec![own.id], 1));
}

#[tokio::test]
async fn what_a_peer_gives_makes_nothing_go_that_another_gave_unless_that_failed_often_enough() {
    let place = tempfile::tempdir().unwrap();
    let open = || Folder::open(place.path().to_owned(), room_for(4));
    let folder = open();
    let (one, other, third) = (Some([7; 32]), Some([8; 32]), Some([9; 32]));
    let honest = give(&folder, header(100, 1), one, 1).await.unwrap();
    folder.doubt(&honest, true);
    // Under the same name: neither is written over the other.
    let garbage = give(&folder, header(100, 1), other, 1).await.unwrap();
    assert_eq!((folder.of(CLUSTER), files(place.path())), (vec![honest, garbage], 2));
    let again = open().of(CLUSTER);
    assert!(again.len() == 2 && again.contains(&honest) && again.contains(&garbage), "{again:?}");

    // The share of peers is spent: neither goes, in doubt or not, whatever block is said.
    for _ in 0..2 {
        let full = give(&folder, header(u32::MAX, 2), third, 1).await.unwrap_err();
        assert_eq!((full.kind(), folder.of(CLUSTER)), (io::ErrorKind::StorageFull, vec![honest, garbage]));
        folder.doubt(&garbage, false);
    }
    // What the same peer gave goes for what it gives anew.
    let newer = give(&folder, header(u32::MAX, 3), other, 1).await.unwrap();
    assert_eq!(folder.of(CLUSTER), [honest, newer]);
    // The control: one that was refused, or with which TEEs stood still, often enough.
    folder.doubt(&newer, true);
    for is_refused in [true, false] {
        assert!(folder.of(CLUSTER).contains(&honest));
        folder.doubt(&honest, is_refused);
    }
    let last = give(&folder, header(50, 4), third, 1).await.unwrap();
    assert_eq!((folder.of(CLUSTER), files(place.path())), (vec![newer, last], 2));
    // Of an epoch that is over, all go.
    let later = SnapshotHeader { epoch: header(1, 5).epoch + 1, ..header(1, 5) };
    let next = give(&folder, later, one, 1).await.unwrap();
    assert_eq!(folder.of(CLUSTER), [next]);
}

#[tokio::test]
async fn what_tees_get_on_in_is_refused_without_end_and_stays_and_so_does_the_only_one() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), MUCH);
    let given = give(&folder, header(100, 1), Some([7; 32]), 1).await.unwrap();
    let other = give(&folder, header(100, 2), Some([8; 32]), 1).await.unwrap();
    for parts in 1..=2 * MOST_REFUSALS {
        assert!(folder.reach(&given, parts) && !folder.is_doubted(&given), "{parts}");
        folder.doubt(&given, true);
        assert_eq!(folder.get(&given.id), Some(given), "{parts}");
    }
    // Who begins anew, and comes no further, is no reason to keep it.
    for _ in 1..MOST_REFUSALS {
        assert!(folder.get(&given.id).is_some() && !folder.reach(&given, 2 * MOST_REFUSALS));
        folder.doubt(&given, true);
    }
    assert_eq!((folder.of(CLUSTER), files(place.path())), (vec![other], 1));

    for _ in 0..2 * MOST_REFUSALS {
        folder.doubt(&other, true);
        assert_eq!(folder.of(CLUSTER), [other], "there is no other");
    }
    let last = give(&folder, header(50, 3), Some([9; 32]), 1).await.unwrap();
    assert_eq!((folder.of(CLUSTER), files(place.path())), (vec![last], 1));
}

#[tokio::test]
async fn whoever_gives_up_what_he_writes_gives_its_room_back() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().to_owned(), room_for(2));
    for salt in 0..5 {
        let mut writer = folder.begin(&header(100, salt), None).await.unwrap();
        for index in 0..2 {
            writer.add(&part_of(header(100, salt), index, 3).sealed).await.unwrap();
        }
        assert_eq!(files(place.path()), 1);
        drop(writer);
        assert_eq!(files(place.path()), 0);
    }
    write(&folder, header(100, 9), Origin::Own, 2).await.unwrap();
}
