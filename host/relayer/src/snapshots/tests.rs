//! Snapshots of TEEs and peers that are played, some of which lie, stall or never end.
#![allow(clippy::unwrap_used, reason = "tests")]
use super::{
    fetching::{Fault, Looked},
    *,
};
use crate::{
    letters::{self, Bounds},
    mail::Mail,
    operator::Operator,
};
use axum::{
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
    Router,
};
use phala_protocol::{
    result::Boundary,
    snapshot::{SnapshotHeader, MAX_SNAPSHOT_PARTS},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path as FilePath,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

mod hostile;

pub(super) const CLUSTER: ClusterId = ClusterId(3);
pub(super) const EPOCH: Epoch = 2;
/// Longer than anything here may take.
const SOON: Duration = Duration::from_secs(20);
const HASTY: Limits = Limits { bytes: 64 * 1024 * 1024, part: Duration::from_secs(2), whole: Duration::from_secs(10) };

pub(super) fn header(block: u32, salt: u8) -> SnapshotHeader {
    let boundary = Boundary { block, count: 5, link: [1; 32] };
    SnapshotHeader { cluster: CLUSTER, era: 1, epoch: EPOCH, boundary, salt: [salt; 32] }
}

pub(super) fn part_of(header: SnapshotHeader, index: u32, of: u32) -> SnapshotPart {
    let sealed = vec![index as u8; PART_BYTES as usize];
    SnapshotPart { header, index, last: index + 1 == of, sealed }
}

pub(super) fn has(block: u32) -> SnapshotStand {
    SnapshotStand::Has { cluster: CLUSTER, epoch: EPOCH, boundary: header(block, 0).boundary }
}

fn lacks(taking: Option<(Hash, u32)>) -> SnapshotStand {
    SnapshotStand::Lacks { cluster: CLUSTER, epoch: EPOCH, taking }
}

/// What is answered to the question for a part: its bytes, or nothing ever.
type Parts = Arc<dyn Fn(u32) -> Option<Vec<u8>> + Send + Sync>;

/// A TEE, or a relayer, that gives one snapshot.
#[derive(Clone)]
struct Giver {
    made: SnapshotHeader,
    list: Vec<u8>,
    parts: Parts,
    /// How long it takes for a part.
    pace: Duration,
    asked: Arc<AtomicUsize>,
}

impl Giver {
    fn honest(made: SnapshotHeader, of: u32) -> Self {
        Self::giving(made, of, move |index| Some(part_of(made, index, of).encode()))
    }

    /// It promises `of` parts, and gives these.
    fn giving(made: SnapshotHeader, of: u32, parts: impl Fn(u32) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let list = vec![(made, of)].encode();
        Self { made, list, parts: Arc::new(parts), pace: Duration::ZERO, asked: Arc::default() }
    }

    async fn answer(&self, index: u32) -> Vec<u8> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        sleep(self.pace).await;
        match (self.parts)(index) {
            Some(bytes) => bytes,
            None => std::future::pending().await,
        }
    }

    async fn open(&self) -> String {
        async fn make(State(giver): State<Giver>) -> Vec<u8> {
            giver.made.encode()
        }
        async fn of_tee(State(giver): State<Giver>, Path((_, index)): Path<(String, u32)>) -> Vec<u8> {
            giver.answer(index).await
        }
        async fn list(State(giver): State<Giver>) -> Vec<u8> {
            giver.asked.fetch_add(1, Ordering::SeqCst);
            giver.list
        }
        async fn of_peer(
            State(giver): State<Giver>,
            Path((_, _, index)): Path<(String, String, u32)>,
        ) -> Result<Body, StatusCode> {
            Ok(Body::from(giver.answer(index).await))
        }
        let router = Router::new()
            .route("/operator/v1/snapshot", post(make))
            .route("/operator/v1/snapshot/{id}/{index}", get(of_tee))
            .route("/v1/snapshots/{cluster}/{of}", get(list))
            .route("/v1/snapshots/{cluster}/{of}/{index}", get(of_peer))
            .with_state(self.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }
}

pub(super) fn relayer(folder: &FilePath, peers: &[String]) -> Snapshots {
    Snapshots::within(Some(folder.to_owned()), peers, HASTY).unwrap()
}

/// A relayer of which another knows, and its address.
async fn listening(snapshots: Arc<Snapshots>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mail = Arc::new(Mail::new(BTreeMap::from([(IpAddr::V4(Ipv4Addr::LOCALHOST), 1)])));
    let beside = serving::router(snapshots, mail.clone());
    tokio::spawn(letters::serve(listener, mail, beside, Bounds::default()));
    url
}

/// Makes `snapshots` fetch what a TEE has made.
pub(super) async fn make(snapshots: &Snapshots, made: SnapshotHeader, of: u32) {
    let operator = Operator::new(&Giver::honest(made, of).open().await).unwrap();
    assert_eq!(snapshots.look(&operator, Some(has(made.boundary.block))).await.unwrap(), Looked::Kept);
}

/// The TEE of whoever asks peers only.
fn nobody() -> Operator {
    Operator::new("http://127.0.0.1:9").unwrap()
}

fn files(folder: &FilePath) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

fn own_name(header: &SnapshotHeader) -> String {
    format!("{}.own.snapshot", hex::encode(header.id()))
}

#[tokio::test]
async fn what_a_tee_can_make_is_kept_whole_and_again_when_it_is_old_and_found_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), b"somebody's").unwrap();
    let snapshots = relayer(folder.path(), &[]);
    let first = header(100, 1);
    make(&snapshots, first, 3).await;
    let named: BTreeSet<String> = files(folder.path()).into_iter().collect();
    assert_eq!(named, BTreeSet::from([own_name(&first), "notes.txt".to_owned()]));
    let kept = snapshots.folder.as_ref().unwrap();
    let whole = kept.get(&first.id()).unwrap();
    for index in 0..3 {
        assert_eq!(kept.part(&whole, index).await.unwrap(), Some(part_of(first, index, 3)));
    }
    assert_eq!(kept.part(&whole, 3).await.unwrap(), None);

    let giver = Giver::honest(header(201, 2), 2);
    let operator = Operator::new(&giver.open().await).unwrap();
    for block in [100, 200] {
        assert_eq!(snapshots.look(&operator, Some(has(block))).await.unwrap(), Looked::Idle, "{block}");
    }
    assert_eq!(giver.asked.load(Ordering::SeqCst), 0);
    assert_eq!(snapshots.look(&operator, Some(has(201))).await.unwrap(), Looked::Kept);
    assert_eq!(snapshots.good(CLUSTER, EPOCH, Instant::now()).len(), 1, "the newest of the cluster");
    drop(snapshots);

    // What the process before did not finish goes; what is read no more has gone; what is nobody's stays.
    let partial = format!("{}.partial", own_name(&header(400, 3)));
    fs::write(folder.path().join(&partial), b"half").unwrap();
    let again = relayer(folder.path(), &[]);
    let kept = again.good(CLUSTER, EPOCH, Instant::now());
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((kept.header, kept.parts, kept.origin), (header(201, 2), 2, Origin::Own));
    let left = files(folder.path());
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&own_name(&header(201, 2))) && left.contains(&"notes.txt".to_owned()), "{left:?}");
    // Of an epoch that is over nothing is made while one of a later epoch is here.
    let late = SnapshotStand::Has { cluster: CLUSTER, epoch: EPOCH - 1, boundary: header(900, 0).boundary };
    assert_eq!(again.look(&operator, Some(late)).await.unwrap(), Looked::Idle);
}

#[tokio::test]
async fn a_peer_that_lies_stalls_or_never_ends_is_given_up_and_nothing_is_left_of_it() {
    let made = header(100, 1);
    let other = header(100, 2);
    let given = |part: SnapshotPart| Some(part.encode());
    let mut cases: Vec<(&str, Giver)> = vec![
        ("fewer parts than it said", Giver::giving(made, 3, move |index| given(part_of(made, index, 2)))),
        ("more parts than it said", Giver::giving(made, 2, move |index| given(part_of(made, index, u32::MAX)))),
        ("another header", Giver::giving(made, 2, move |index| given(part_of(other, index, 2)))),
        ("out of their turn", Giver::giving(made, 2, move |index| given(part_of(made, 1 - index, 2)))),
        (
            "a short part",
            Giver::giving(made, 1, move |index| {
                given(SnapshotPart { sealed: vec![0; PART_BYTES as usize - 1], ..part_of(made, index, 1) })
            }),
        ),
        (
            "a long part",
            Giver::giving(made, 1, move |index| {
                given(SnapshotPart { sealed: vec![0; PART_BYTES as usize + 1], ..part_of(made, index, 1) })
            }),
        ),
        ("a body without end", Giver::giving(made, 1, |_| Some(vec![0; 8 * 1024 * 1024]))),
        ("garbage", Giver::giving(made, 1, |_| Some(vec![0xff; 1_000]))),
        (
            "bytes after a part",
            Giver::giving(made, 1, move |index| Some([part_of(made, index, 1).encode(), vec![0]].concat())),
        ),
        (
            "nothing after the first",
            Giver::giving(made, 2, move |index| Some(part_of(made, index, 2).encode()).filter(|_| index == 0)),
        ),
    ];
    for (what, list) in [
        ("a list of garbage", vec![0xff; 100]),
        ("a long list", vec![(made, 1u32); 20].encode()),
        ("a list without end", vec![0; 1024 * 1024]),
    ] {
        cases.push((what, Giver { list, ..Giver::honest(made, 1) }));
    }
    for (what, giver) in cases {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = relayer(folder.path(), &[giver.open().await]);
        let tee = nobody();
        let look = || snapshots.look(&tee, Some(lacks(None)));
        let looked = timeout(SOON, look()).await.unwrap().unwrap();
        assert_eq!((looked, files(folder.path())), (Looked::Nowhere, vec![]), "{what}");
        let asked = giver.asked.load(Ordering::SeqCst);
        assert!((1..=4).contains(&asked), "{what}: {asked}");
        assert_eq!(look().await.unwrap(), Looked::Nowhere, "{what}");
        assert_eq!(giver.asked.load(Ordering::SeqCst), asked, "{what}: it is left alone");
    }
    // What nobody could keep is not even begun, and is no fault of whoever has it.
    for parts in [0, MAX_SNAPSHOT_PARTS, u32::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let giver = Giver::giving(made, parts, |_| None);
        let snapshots = relayer(folder.path(), &[giver.open().await]);
        assert_eq!(snapshots.look(&nobody(), Some(lacks(None))).await.unwrap(), Looked::Nowhere);
        assert_eq!(giver.asked.load(Ordering::SeqCst), 1, "its list only: {parts}");
    }
    // The control: whoever tells the truth is believed that far.
    let folder = tempfile::tempdir().unwrap();
    let snapshots = relayer(folder.path(), &[Giver::honest(made, 3).open().await]);
    assert_eq!(snapshots.look(&nobody(), Some(lacks(None))).await.unwrap(), Looked::Kept);
}

#[tokio::test]
async fn a_tee_that_makes_none_or_another_or_stalls_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = relayer(folder.path(), &[]);
    let made = header(100, 1);
    let elsewhere = SnapshotHeader { epoch: EPOCH + 1, ..made };
    let givers = [
        Giver::honest(elsewhere, 1),
        Giver::giving(made, 1, |_| None),
        Giver::giving(made, 1, move |index| Some(part_of(header(100, 2), index, 1).encode())),
    ];
    for giver in givers {
        let operator = Operator::new(&giver.open().await).unwrap();
        let looked = timeout(SOON, snapshots.look(&operator, Some(has(100)))).await.unwrap();
        assert!(looked.is_err(), "{looked:?}");
    }
    assert!(snapshots.look(&nobody(), Some(has(100))).await.is_err());
    assert_eq!(files(folder.path()), Vec::<String>::new());
    // Nothing stands in the way of the next.
    make(&snapshots, made, 1).await;
}

#[tokio::test]
async fn what_a_tee_lacks_comes_from_the_relayer_that_has_it_and_is_brought_in_order_within_a_delivery() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Arc::new(relayer(one.path(), &[]));
    let made = header(100, 1);
    make(&first, made, 10).await;
    let gone = "http://127.0.0.1:9".to_owned();
    let second = relayer(other.path(), &[gone, listening(first.clone()).await]);
    let nothing = Delivery::default();
    assert!(second.due(Some(&lacks(None)), &nothing).await.is_none(), "nothing is here yet");
    assert_eq!(timeout(SOON, second.look(&nobody(), Some(lacks(None)))).await.unwrap().unwrap(), Looked::Kept);
    assert!(second.due(Some(&has(100)), &nothing).await.is_none(), "whoever has it lacks none");
    assert!(second.due(None, &nothing).await.is_none());

    let mut at = None;
    let mut taken = Vec::new();
    while taken.len() < 10 {
        let due = second.due(Some(&lacks(at)), &nothing).await.unwrap();
        assert!(due.of.id == made.id() && due.parts.len() <= MOST_SNAPSHOT_PARTS);
        taken.extend(due.parts);
        at = Some((made.id(), taken.len() as u32));
    }
    assert_eq!(taken, (0..10).map(|index| part_of(made, index, 10)).collect::<Vec<_>>());
    // One that it began elsewhere is not here: it begins anew with this one.
    let due = second.due(Some(&lacks(Some(([7; 32], 5)))), &nothing).await.unwrap();
    assert_eq!((due.of.id, due.parts[0].index), (made.id(), 0));

    // Beside what else is brought, letters included, no delivery is longer than one may be.
    let mut counts = Vec::new();
    for megabytes in [0, 6, 9, 11, 13] {
        let mut delivery = Delivery { codes: vec![vec![0; 1024 * 1024]; megabytes], ..Delivery::default() };
        let due = second.due(Some(&lacks(None)), &delivery).await;
        delivery.snapshot = due.map_or(Vec::new(), |due| due.parts);
        counts.push(delivery.snapshot.len());
        assert!(delivery.encoded_size() + MAX_MAIL_BYTES <= MAX_DELIVERY_BYTES || delivery.snapshot.is_empty());
    }
    assert_eq!(counts, [8, 8, 5, 1, 0]);
    // Another epoch's is none.
    let later = SnapshotStand::Lacks { cluster: CLUSTER, epoch: EPOCH + 1, taking: None };
    assert!(second.due(Some(&later), &nothing).await.is_none());
}

#[tokio::test]
async fn a_snapshot_that_was_refused_is_not_brought_again_at_once_and_another_is_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (liar, honest) = (Giver::honest(header(u32::MAX, 1), 1), Giver::honest(header(90, 2), 1));
    let urls = [liar.open().await, honest.open().await];
    let snapshots = relayer(folder.path(), &urls);
    let nothing = Delivery::default();
    let stand = lacks(None);
    let mut brought = BTreeSet::new();
    for _ in 0..2 {
        assert_eq!(snapshots.look(&nobody(), Some(stand)).await.unwrap(), Looked::Kept);
        assert_eq!(snapshots.look(&nobody(), Some(stand)).await.unwrap(), Looked::Idle, "one is enough");
        let due = snapshots.due(Some(&stand), &nothing).await.unwrap();
        brought.insert(due.of.id);
        snapshots.refused(&due.of);
        assert!(snapshots.due(Some(&stand), &nothing).await.is_none(), "not again at once");
    }
    assert_eq!(brought, BTreeSet::from([header(u32::MAX, 1).id(), header(90, 2).id()]));
    let asked = || liar.asked.load(Ordering::SeqCst) + honest.asked.load(Ordering::SeqCst);
    let before = asked();
    assert_eq!(snapshots.look(&nobody(), Some(stand)).await.unwrap(), Looked::Nowhere);
    assert_eq!(asked(), before, "whoever gave what was refused is left alone");

    // One of a TEE here comes first, and counts as refused when that is all that comes of it.
    make(&snapshots, header(100, 3), 1).await;
    let due = snapshots.due(Some(&stand), &nothing).await.unwrap();
    assert_eq!(due.of.id, header(100, 3).id());
    let mut idle = 0;
    for _ in 1..MOST_IDLE {
        snapshots.took(&due.of, Some(&stand), Some(&stand), &mut idle);
    }
    assert!(snapshots.due(Some(&stand), &nothing).await.is_some());
    snapshots.took(&due.of, Some(&stand), Some(&lacks(Some((due.of.id, 1)))), &mut idle);
    assert_eq!(idle, 0, "it goes on");
    for _ in 0..MOST_IDLE {
        snapshots.took(&due.of, Some(&stand), Some(&stand), &mut idle);
    }
    assert!(snapshots.due(Some(&stand), &nothing).await.is_none(), "it stands still");
}

#[test]
fn what_is_left_alone_is_so_for_longer_each_time_and_within_bounds() {
    let (mut rests, mut now) = (Rests::new(SHORTEST_REST, LONGEST_REST), Instant::now());
    let mut lengths = Vec::new();
    for _ in 0..9 {
        rests.failed([1; 32], Duration::ZERO, now);
        let length = (1..=4_000).find(|second| !rests.is_resting(&[1; 32], now + Duration::from_secs(*second)));
        lengths.push(length.unwrap());
        now += Duration::from_secs(4_000);
    }
    assert_eq!(lengths, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    assert!(!rests.is_resting(&[2; 32], now));
    rests.failed([2; 32], LIAR_REST, now);
    assert!(rests.is_resting(&[2; 32], now + LIAR_REST - Duration::from_secs(1)));
    rests.forgive(&[2; 32]);
    assert!(!rests.is_resting(&[2; 32], now));
    for number in 0..3 * MOST_RESTING as u64 {
        rests.failed(blake2_256(&number.to_le_bytes()), Duration::ZERO, now);
        assert!(rests.until.len() <= MOST_RESTING);
    }
}

#[tokio::test]
async fn a_full_disk_fails_what_is_written_leaves_nothing_and_is_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let snapshots = relayer(folder.path(), &[]);
    let made = header(100, 1);
    let operator = Operator::new(&Giver::honest(made, 3).open().await).unwrap();
    // What is written goes to a device that is always full.
    let partial = folder.path().join(format!("{}.partial", own_name(&made)));
    std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
    let full = snapshots.look(&operator, Some(has(100))).await.unwrap_err();
    let is_full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
    assert!(matches!(&full, Fault::Disk(error) if is_full(error)), "{full}");
    assert_eq!(files(folder.path()), Vec::<String>::new());
    assert_eq!(snapshots.look(&operator, Some(has(100))).await.unwrap(), Looked::Kept, "there is room again");

    // No folder at all: a file is in its place.
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let snapshots = relayer(&file.join("below"), &[]);
    assert!(snapshots.look(&operator, Some(has(100))).await.is_err());
    let without = Snapshots::within(None, &[], HASTY).unwrap();
    for stand in [has(100), lacks(None)] {
        assert_eq!(without.look(&operator, Some(stand)).await.unwrap(), Looked::Idle, "without a folder, none");
    }
    assert!(!without.are_kept() && snapshots.are_kept());
}
