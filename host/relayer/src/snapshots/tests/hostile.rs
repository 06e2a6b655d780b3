//! Peers that give garbage under an honest name, or slowly, and TEEs that do not wait for it.
use super::*;

/// What `made` holds, but for one bit of its last part.
fn poisoned(made: SnapshotHeader, of: u32) -> Giver {
    Giver::giving(made, of, move |index| {
        let mut part = part_of(made, index, of);
        part.sealed[9] ^= u8::from(index + 1 == of);
        Some(part.encode())
    })
}

/// A relayer that asks `first` before `second`.
async fn asking(folder: &FilePath, first: &Giver, second: &Giver) -> Snapshots {
    let urls = [first.open().await, second.open().await];
    let mut snapshots = relayer(folder, &urls);
    let is_second = |peer: &Peer| !peer.url.as_str().starts_with(&format!("{}/", urls[0]));
    snapshots.peers.sort_by_key(is_second);
    snapshots
}

async fn until(mut check: impl FnMut() -> bool) {
    let waited = async {
        while !check() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, waited).await.unwrap();
}

fn is_begun(folder: &FilePath) -> bool {
    files(folder).iter().any(|name| name.ends_with(".partial"))
}

#[tokio::test]
async fn a_name_that_a_liar_gave_garbage_under_is_asked_of_others_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let made = header(100, 1);
    let honest = Giver::honest(made, 2);
    let snapshots = asking(folder.path(), &poisoned(made, 2), &honest).await;
    let nothing = Delivery::default();
    assert_eq!(snapshots.look(&nobody(), Some(lacks(None))).await.unwrap(), Looked::Kept);
    let due = snapshots.due(Some(&lacks(None)), &nothing).await.unwrap();
    assert_eq!((due.of.id, due.parts[0] == part_of(made, 0, 2)), (made.id(), true));
    assert_ne!(due.parts[1], part_of(made, 1, 2), "the liar's");
    assert_eq!(honest.asked.load(Ordering::SeqCst), 0);
    snapshots.refused(&due.of);

    // The TEE has begun it, and goes on with the other's.
    let begun = lacks(Some((made.id(), 1)));
    assert!(snapshots.due(Some(&begun), &nothing).await.is_none(), "not the liar's again");
    assert_eq!(snapshots.look(&nobody(), Some(begun)).await.unwrap(), Looked::Kept);
    let again = snapshots.due(Some(&begun), &nothing).await.unwrap();
    assert_eq!(again.parts, [part_of(made, 1, 2)]);
    assert_ne!(again.of, due.of);
    assert_eq!(files(folder.path()).len(), 2, "nobody knows yet which is the liar's");
    // TEEs that had the liar's parts on their way blame the liar.
    for _ in 0..2 {
        snapshots.refused(&due.of);
        assert!(snapshots.due(Some(&begun), &nothing).await.is_some());
        assert_eq!(snapshots.look(&nobody(), Some(begun)).await.unwrap(), Looked::Idle);
    }
    assert_eq!(files(folder.path()).len(), 1, "nothing is left of the liar's");
    assert_eq!(snapshots.due(Some(&begun), &nothing).await.unwrap().of, again.of);
}

#[tokio::test]
async fn what_was_refused_is_no_reason_not_to_ask_when_its_rest_is_over_and_goes_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let made = header(100, 1);
    let liar = poisoned(made, 1);
    let snapshots = relayer(folder.path(), &[liar.open().await]);
    assert_eq!(snapshots.look(&nobody(), Some(lacks(None))).await.unwrap(), Looked::Kept);
    for refusals in 1..=3 {
        // It may be all that there is, and a delivery may have been refused for another reason.
        let due = snapshots.due(Some(&lacks(None)), &Delivery::default()).await;
        let due = due.unwrap_or_else(|| panic!("{refusals}"));
        snapshots.refused(&due.of);
        snapshots.judged().snapshots.until.clear();
        let looked = snapshots.look(&nobody(), Some(lacks(None))).await.unwrap();
        assert_eq!(looked, Looked::Nowhere, "{refusals}: others are asked, the liar is not");
    }
    assert_eq!(liar.asked.load(Ordering::SeqCst), 2, "its list and its part");
    assert_eq!(files(folder.path()).len(), 1, "there is no other");

    // One of ours stays, and the liar's goes at once, although somebody has read of it.
    make(&snapshots, header(100, 2), 1).await;
    assert_eq!(files(folder.path()), [own_name(&header(100, 2))]);
    for _ in 0..5 {
        let due = snapshots.due(Some(&lacks(None)), &Delivery::default()).await.unwrap();
        snapshots.refused(&due.of);
        assert!(snapshots.due(Some(&lacks(None)), &Delivery::default()).await.is_none(), "it rests");
        snapshots.judged().snapshots.until.clear();
    }
    assert_eq!(files(folder.path()), [own_name(&header(100, 2))]);
}

#[tokio::test]
async fn garbage_takes_no_honest_copy_away_that_a_tee_refused_for_another_reason() {
    let folder = tempfile::tempdir().unwrap();
    let made = header(100, 1);
    let snapshots = asking(folder.path(), &Giver::honest(made, 3), &poisoned(made, 3)).await;
    let (tee, nothing) = (nobody(), Delivery::default());
    let look = |stand| snapshots.look(&tee, Some(stand));
    assert_eq!(look(lacks(None)).await.unwrap(), Looked::Kept);
    let honest = snapshots.due(Some(&lacks(None)), &nothing).await.unwrap().of;
    // The node gave a bad proof beside its parts, twice.
    snapshots.refused(&honest);
    assert_eq!(look(lacks(None)).await.unwrap(), Looked::Kept);
    snapshots.refused(&honest);
    let due = snapshots.due(Some(&lacks(None)), &nothing).await.unwrap();
    assert!(due.of != honest && due.parts[2] != part_of(made, 2, 3), "the liar's");
    let (one, two) = (lacks(Some((made.id(), 1))), lacks(Some((made.id(), 2))));
    snapshots.took(&due.of, Some(&lacks(None)), Some(&one), &mut 0);
    snapshots.refused(&due.of);
    assert!(snapshots.due(Some(&one), &nothing).await.is_none(), "both rest");
    snapshots.judged().snapshots.until.clear();
    let due = snapshots.due(Some(&one), &nothing).await.unwrap();
    assert_eq!((due.of, &due.parts[..]), (honest, &[part_of(made, 1, 3), part_of(made, 2, 3)][..]));

    // In doubt, it is no reason not to ask others; once a TEE gets on in it, it is.
    assert_eq!(look(one).await.unwrap(), Looked::Nowhere);
    snapshots.took(&honest, Some(&one), Some(&two), &mut 0);
    assert_eq!(look(two).await.unwrap(), Looked::Idle);
}

#[tokio::test]
async fn a_peer_that_keeps_the_pace_has_time_that_grows_with_the_parts() {
    let limits = Limits { part: Duration::from_secs(2), whole: Duration::from_millis(500), ..HASTY };
    let folder = tempfile::tempdir().unwrap();
    let made = header(100, 1);
    let url = Giver { pace: Duration::from_millis(200), ..Giver::honest(made, 5) }.open().await;
    let urls = [url.clone()];
    let snapshots = Snapshots::within(Some(folder.path().to_owned()), &urls, limits).unwrap();
    // The control: a TEE has the time that there is for all of it.
    let slow = snapshots.look(&Operator::new(&url).unwrap(), Some(has(100))).await;
    assert!(matches!(slow, Err(Fault::Slow)), "{slow:?}");
    assert_eq!(snapshots.look(&nobody(), Some(lacks(None))).await.unwrap(), Looked::Kept);

    // The largest at the least pace, 1 MiB in a second, and as long it is there for whoever reads it.
    let limits = Limits::default();
    let most = Folder::open(folder.path().to_owned(), limits.bytes).most_of_peers();
    let parts = u32::try_from(most / PART_BYTES).unwrap();
    let at_the_pace = Duration::from_secs(most / (1024 * 1024));
    assert!(limits.of_peer(parts) >= at_the_pace && at_the_pace > limits.whole, "{at_the_pace:?}");
    assert!(limits.of_peer(parts) <= super::super::folder::LONGEST_USE);
}

#[tokio::test]
async fn another_is_fetched_as_soon_as_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = header(100, 1);
    let snapshots = asking(folder.path(), &poisoned(made, 1), &Giver::honest(made, 1)).await;
    let (_stands, stand) = watch::channel(Some(lacks(None)));
    let tee = nobody();
    let present = || snapshots.good(CLUSTER, EPOCH, Instant::now());
    let story = async {
        until(|| !present().is_empty()).await;
        let due = snapshots.due(Some(&lacks(None)), &Delivery::default()).await.unwrap();
        snapshots.refused(&due.of);
        assert!(present().is_empty());
        let asked = Instant::now();
        until(|| !present().is_empty()).await;
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    };
    tokio::select! {
        () = keep(&snapshots, &tee, stand) => panic!("it ended"),
        () = story => {}
    }
}

#[tokio::test]
async fn what_is_fetched_for_an_epoch_or_a_tee_that_does_not_need_it_any_more_is_given_up() {
    let patient = Limits { part: Duration::from_secs(600), whole: Duration::from_secs(3_600), ..HASTY };
    let next = SnapshotStand::Lacks { cluster: CLUSTER, epoch: EPOCH + 1, taking: None };
    for after in [Some(next), Some(has(100)), None] {
        let folder = tempfile::tempdir().unwrap();
        let made = header(100, 1);
        let giver = Giver::giving(made, 3, move |index| Some(part_of(made, index, 3).encode()).filter(|_| index == 0));
        let urls = [giver.open().await];
        let snapshots = Snapshots::within(Some(folder.path().to_owned()), &urls, patient).unwrap();
        let (stands, stand) = watch::channel(Some(lacks(None)));
        let tee = nobody();
        let story = async {
            until(|| is_begun(folder.path()) && giver.asked.load(Ordering::SeqCst) == 3).await;
            // What it has taken of it meanwhile is no other aim.
            stands.send(Some(lacks(Some((made.id(), 1))))).unwrap();
            sleep(Duration::from_millis(200)).await;
            assert!(is_begun(folder.path()) && snapshots.claim(CLUSTER).is_none());
            stands.send(after).unwrap();
            until(|| !is_begun(folder.path())).await;
            until(|| snapshots.claim(CLUSTER).is_some()).await;
        };
        tokio::select! {
            () = keep(&snapshots, &tee, stand) => panic!("it ended"),
            () = story => {}
        }
    }
}

#[tokio::test]
async fn a_peer_that_is_slow_for_long_is_given_up_and_left_alone() {
    let limits = Limits { part: Duration::from_secs(1), whole: Duration::from_secs(60), ..HASTY };
    let made = header(100, 1);
    // Each part within its time, and all of them too slowly; the control is the other.
    for (pace, expected) in [(900, Looked::Nowhere), (200, Looked::Kept)] {
        let folder = tempfile::tempdir().unwrap();
        let giver = Giver { pace: Duration::from_millis(pace), ..Giver::honest(made, 8) };
        let urls = [giver.open().await];
        let snapshots = Snapshots::within(Some(folder.path().to_owned()), &urls, limits).unwrap();
        let looked = timeout(SOON, snapshots.look(&nobody(), Some(lacks(None)))).await.unwrap().unwrap();
        assert_eq!(looked, expected, "{pace}");
        let late = Instant::now() + LIAR_REST - Duration::from_secs(10);
        let is_left_alone = snapshots.judged().peers.is_resting(&snapshots.peers[0].key, late);
        assert_eq!((is_left_alone, files(folder.path()).len()), (pace == 900, usize::from(pace == 200)), "{pace}");
    }
}

#[tokio::test]
async fn an_epoch_without_a_boundary_of_its_own_has_a_snapshot_of_the_last_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = relayer(folder.path(), &[]);
    let former = header(300, 1);
    make(&snapshots, former, 1).await;
    let made = SnapshotHeader { epoch: EPOCH + 1, salt: [2; 32], ..former };
    let stand = |block| SnapshotStand::Has { cluster: CLUSTER, epoch: EPOCH + 1, boundary: header(block, 0).boundary };
    let operator = Operator::new(&Giver::honest(made, 1).open().await).unwrap();
    assert_eq!(snapshots.look(&operator, Some(stand(300))).await.unwrap(), Looked::Kept);
    assert_eq!(files(folder.path()), [own_name(&made)]);
    for block in [300, 300 + OLD_BLOCKS] {
        assert_eq!(snapshots.look(&operator, Some(stand(block))).await.unwrap(), Looked::Idle, "{block}");
    }
    let newcomer = SnapshotStand::Lacks { cluster: CLUSTER, epoch: EPOCH + 1, taking: None };
    let due = snapshots.due(Some(&newcomer), &Delivery::default()).await.unwrap();
    assert_eq!((due.of.header, due.parts.len()), (made, 1));
}
