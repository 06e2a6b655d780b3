//! Services on loopback that are honest, late or hostile, and a chain that is played: it takes what the pallet would, and counts what is
//! submitted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::provisioning::tests::{genuine, lasting, Parts};
use phala_attest::{Evidence, Vendor};
use phala_client::chain::{PalletError, SubmitError};
use phala_insecure_tee::{qe_identity_json, tcb_info_json, InsecureMachine, InsecureVendor, Revoked, Window};
use phala_protocol::{
    attestation::{Registration, Role},
    ids::BlockNumber,
    relay::{Outgoing, TeeStatus},
    AccountId, WorkerId,
};
use std::sync::{Arc, Mutex};

const GENESIS: Hash = [7; 32];
const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;
/// The simulated platform's model, as a service is asked for it.
const FMSPC: &str = "494E53454355";

/// INSECURE: collateral of the simulated platform, issued so many seconds before a day ago.
fn issued(ago: u64) -> Collateral {
    InsecureMachine::new("one", b"program", unix_now() - ago).unwrap().collateral().clone()
}

fn verified(collateral: &Collateral) -> VerifiedCollateral {
    verify_collateral(collateral, &development(&GENESIS).unwrap(), unix_now()).unwrap()
}

fn model() -> PlatformModel {
    verified(&issued(0)).model()
}

/// A chain that is played.
#[derive(Default)]
struct Played {
    /// In the newest block.
    newest: Mutex<BTreeMap<PlatformModel, VerifiedCollateral>>,
    /// In the newest finalised block, which is all that is shown.
    finalised: Mutex<BTreeMap<PlatformModel, VerifiedCollateral>>,
    others: Vec<PlatformModel>,
    registered: BTreeSet<Platform>,
    cap: Option<u32>,
    /// What it says to everything that is submitted.
    refuses: Option<&'static str>,
    submitted: Mutex<Vec<Vec<u8>>>,
}

impl Played {
    /// One that holds `collateral`, and a registration of a machine of its platform.
    fn holding(collateral: &Collateral) -> Self {
        let verified = verified(collateral);
        let registered = BTreeSet::from([(verified.vendor(), verified.fmspc())]);
        let held = BTreeMap::from([(verified.model(), verified)]);
        Self { newest: Mutex::new(held.clone()), finalised: Mutex::new(held), registered, ..Self::default() }
    }

    fn finalise(&self) {
        *self.finalised.lock().unwrap() = self.newest.lock().unwrap().clone();
    }

    fn submissions(&self) -> usize {
        self.submitted.lock().unwrap().len()
    }
}

impl Ledger for Played {
    fn genesis(&self) -> &Hash {
        &GENESIS
    }

    async fn ends(&self) -> Result<Vec<(PlatformModel, (u64, bool))>, ClientError> {
        let finalised = self.finalised.lock().unwrap();
        let held = finalised.iter().map(|(model, there)| (*model, (there.valid_until(), false)));
        Ok(held.chain(self.others.iter().map(|model| (*model, (0, true)))).collect())
    }

    async fn now(&self) -> Result<u64, ClientError> {
        Ok(unix_now())
    }

    async fn platform_of(&self, _: &WorkerId) -> Result<Option<Platform>, ClientError> {
        Ok(None)
    }

    async fn registered(&self) -> Result<BTreeSet<Platform>, ClientError> {
        Ok(self.registered.clone())
    }

    async fn present(&self, model: &PlatformModel) -> Result<Option<VerifiedCollateral>, ClientError> {
        Ok(self.finalised.lock().unwrap().get(model).cloned())
    }

    async fn cap(&self) -> Result<Option<u32>, ClientError> {
        Ok(self.cap)
    }

    async fn newest_root_list(&self, _: Root) -> Result<u64, ClientError> {
        Ok(0)
    }

    async fn submit(&self, collateral: &[u8]) -> Result<BlockNumber, SubmitError> {
        self.submitted.lock().unwrap().push(collateral.to_vec());
        let refused =
            |error: &str| SubmitError::from(PalletError { pallet: "Attestation".into(), error: error.into() });
        if let Some(error) = self.refuses {
            return Err(refused(error));
        }
        let new = verified(&codec::DecodeAll::decode_all(&mut &collateral[..]).unwrap());
        let mut newest = self.newest.lock().unwrap();
        if newest.get(&new.model()).is_some_and(|present| !is_newer(&new, present)) {
            return Err(refused("CollateralNotNewer"));
        }
        newest.insert(new.model(), new);
        Ok(1)
    }
}

/// What a service has, which a test may change.
type Shelf = Arc<Mutex<Collateral>>;

fn shelf(collateral: Collateral) -> Shelf {
    Arc::new(Mutex::new(collateral))
}

/// A service that has what is on a shelf, and counts how often it is asked for the model's document.
fn service(shelf: &Shelf) -> (String, Arc<Mutex<usize>>) {
    let (shelf, asked) = (shelf.clone(), Arc::new(Mutex::new(0)));
    let count = asked.clone();
    let alter = move |path: &str, _: &mut Parts| *count.lock().unwrap() += usize::from(path.contains("/tcb?"));
    (lasting(FMSPC.to_owned(), move || shelf.lock().unwrap().clone(), alter), asked)
}

fn fetching(services: &[&str], folder: &Path) -> Fetching {
    let services = services.iter().map(|url| Service::new(url, None).unwrap().within(Duration::from_millis(1_500)));
    Fetching::new(services.collect(), folder.to_path_buf())
}

fn collaterals() -> Collaterals {
    Collaterals::new(Vec::new())
}

/// How long after `clock` the model is asked for again.
fn again(fetching: &Fetching, clock: Instant) -> Duration {
    fetching.plans.get(&model()).unwrap().at - clock
}

#[tokio::test]
async fn what_a_service_has_newer_is_kept_and_submitted_exactly_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made");
    let (old, newer) = (issued(10 * DAY), issued(2 * DAY));
    let (chain, own, shelf) = (Played::holding(&old), collaterals(), shelf(old.clone()));
    let (url, asked) = service(&shelf);
    let (mut job, start) = (fetching(&[&url], &folder), Instant::now());
    job.round(&chain, &own, start).await.unwrap();
    assert_eq!((*asked.lock().unwrap(), chain.submissions()), (1, 0), "the chain has the same");
    assert_eq!(own.own(&model()).unwrap().bytes, old.encode(), "and evidence is carried with it");

    // Newer comes, and is seen with the next question and not before.
    *shelf.lock().unwrap() = newer.clone();
    job.round(&chain, &own, start + USUAL - Duration::from_secs(1)).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), 1);
    // Until it is finalised nothing of it is shown, and nobody may pay for it again.
    for second in 0..5 {
        job.round(&chain, &own, start + USUAL + Duration::from_secs(second)).await.unwrap();
    }
    assert_eq!((*asked.lock().unwrap(), chain.submissions()), (2, 1));
    chain.finalise();
    for times in 2..5 {
        job.round(&chain, &own, start + USUAL * times).await.unwrap();
    }
    assert_eq!(*chain.submitted.lock().unwrap(), [newer.encode()]);
    let kept: Vec<PathBuf> = files(&folder).await.unwrap();
    let [file] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!(std::fs::read(file).unwrap(), newer.encode());
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing half written is left");

    // Another process finds it, without any service, and pays nothing. What does not verify in the folder is passed over.
    std::fs::write(folder.join("garbage.collateral"), b"garbage").unwrap();
    let (own, mut job) = (collaterals(), fetching(&["http://127.0.0.1:1"], &folder));
    job.round(&chain, &own, start).await.unwrap();
    assert_eq!((own.own(&model()).unwrap().bytes.clone(), chain.submissions()), (newer.encode(), 1));
    // What it kept is submitted where the chain does not have it.
    let behind = Played::holding(&old);
    let (own, mut job) = (collaterals(), fetching(&["http://127.0.0.1:1"], &folder));
    job.round(&behind, &own, start).await.unwrap();
    assert_eq!(behind.submissions(), 1);
}

/// INSECURE: what Intel's service would give: documents and the authority's list of so many seconds before a day ago, and a root's list
/// of years, of which there is no newer.
fn issued_anew(ago: u64, revoked: &Revoked) -> Collateral {
    let (vendor, now) = (InsecureVendor::new().unwrap(), unix_now());
    let given = |window: Window| {
        let (tcb, qe) = (tcb_info_json(window).unwrap(), qe_identity_json(window).unwrap());
        vendor.collateral(window, &tcb, &qe, revoked).unwrap()
    };
    let root_ca_crl = given(Window { start: 1_740_000_000, end: 2_300_000_000 }).root_ca_crl;
    Collateral { root_ca_crl, ..given(Window::around(now - ago)) }
}

#[tokio::test]
async fn what_only_says_again_what_the_chain_has_is_carried_and_not_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    let none = Revoked::default();
    let (chain, own) = (Played::holding(&issued_anew(10 * DAY, &none)), collaterals());
    let shelf = shelf(issued_anew(10 * DAY - HOUR, &none));
    let (url, _) = service(&shelf);
    let (mut job, mut clock) = (fetching(&[&url], folder.path()), Instant::now());
    job.round(&chain, &own, clock).await.unwrap();
    assert_eq!(own.own(&model()).unwrap().bytes, shelf.lock().unwrap().encode(), "evidence is carried with the newest");
    assert_eq!(chain.submissions(), 0);
    // What revokes a processor is brought at once, and what holds for a day longer.
    let revoked = Revoked { by_authority: vec![vec![7; 16]], ..Revoked::default() };
    for (times, again) in [(1, issued_anew(10 * DAY - 2 * HOUR, &revoked)), (2, issued_anew(8 * DAY, &revoked))] {
        *shelf.lock().unwrap() = again;
        clock += USUAL;
        job.round(&chain, &own, clock).await.unwrap();
        assert_eq!(chain.submissions(), times);
        chain.finalise();
    }
}

#[tokio::test]
async fn old_lists_beside_the_newest_documents_keep_nothing_back_that_another_service_has() {
    let (none, revoked) = (Revoked::default(), Revoked { by_authority: vec![vec![7; 16]], ..Revoked::default() });
    let (held, honest) = (issued_anew(10 * DAY, &none), issued_anew(3 * DAY, &revoked));
    // Newer than the honest one's in its documents, and with the list of before the revocation.
    let hostile = Collateral { pck_crl: held.pck_crl.clone(), ..issued_anew(2 * DAY, &none) };
    for answers in [[&hostile, &honest], [&honest, &hostile]] {
        let folder = tempfile::tempdir().unwrap();
        let (chain, own) = (Played::holding(&held), collaterals());
        let [(first, _), (second, _)] = answers.map(|answer| service(&shelf(answer.clone())));
        fetching(&[&first, &second], folder.path()).round(&chain, &own, Instant::now()).await.unwrap();
        assert_eq!(own.own(&model()).unwrap().bytes, honest.encode());
        assert_eq!(*chain.submitted.lock().unwrap(), [honest.encode()]);
    }
    // Nor does what came from it earlier.
    let folder = tempfile::tempdir().unwrap();
    let (chain, own) = (Played::holding(&held), collaterals());
    own.learn(&hostile.encode(), &GENESIS).unwrap();
    let (url, _) = service(&shelf(honest.clone()));
    fetching(&[&url], folder.path()).round(&chain, &own, Instant::now()).await.unwrap();
    assert_eq!(own.own(&model()).unwrap().bytes, honest.encode());
}

#[test]
fn what_ends_soon_on_the_chain_gives_way_to_what_ends_any_later() {
    let none = Revoked::default();
    let of = |ago: u64| verified(&issued_anew(ago, &none));
    let (now, [present, later]) = (unix_now(), [10 * DAY, 10 * DAY - HOUR].map(of));
    assert!(is_worth_a_fee(&present, None, now));
    assert!(!is_worth_a_fee(&later, Some(&present), present.valid_until() - SOON_SECONDS - 1));
    assert!(is_worth_a_fee(&later, Some(&present), present.valid_until() - SOON_SECONDS));
    assert!(!is_worth_a_fee(&present, Some(&present), present.valid_until()), "the same is worth nothing");
}

#[tokio::test]
async fn what_ends_soon_is_asked_for_each_hour_and_the_rest_four_times_a_day() {
    let folder = tempfile::tempdir().unwrap();
    // Of 30 days, 3 and some hours are left.
    let ending = issued(26 * DAY - HOUR);
    let (chain, own, shelf) = (Played::holding(&ending), collaterals(), shelf(ending));
    let (url, _) = service(&shelf);
    let (mut job, start) = (fetching(&[&url], folder.path()), Instant::now());
    job.round(&chain, &own, start).await.unwrap();
    assert_eq!(again(&job, start), URGENT);
    *shelf.lock().unwrap() = issued(0);
    job.round(&chain, &own, start + URGENT).await.unwrap();
    assert_eq!((again(&job, start + URGENT), chain.submissions()), (USUAL, 1));
}

#[tokio::test]
async fn a_hostile_service_changes_nothing_costs_nothing_and_is_asked_less_and_less() {
    let held = issued(10 * DAY);
    let newer = issued(2 * DAY);
    let window = Window::around(unix_now() - DAY);
    let vendor = InsecureVendor::new().unwrap();
    let (tcb, qe) = (tcb_info_json(window).unwrap(), qe_identity_json(window).unwrap());
    let signed = |vendor: &InsecureVendor, tcb: &str| vendor.collateral(window, tcb, &qe, &Revoked::default()).unwrap();
    let of_another_platform = signed(&vendor, &tcb.replace(FMSPC, "494E53454356"));
    let of_another_root = signed(&InsecureVendor::of_another_root().unwrap(), &tcb);
    let mut forged = newer.clone();
    forged.tcb_info_signature[0] ^= 1;
    type Alter = fn(&str, &mut Parts);
    let honest: Alter = |_, _| ();
    let cases: [(&str, Collateral, Alter); 10] = [
        ("too long", newer.clone(), |_, answer| answer.2 = vec![b' '; 600_000]),
        ("slow", newer.clone(), |_, _| std::thread::sleep(Duration::from_secs(4))),
        ("garbage", newer.clone(), |_, answer| answer.2 = b"\xff\0{garbage".to_vec()),
        ("without chains", newer.clone(), |_, answer| answer.1.clear()),
        ("elsewhere", newer.clone(), |_, answer| {
            answer.0 = "302 Found".to_owned();
            answer.1 = "Location: /\r\n".to_owned();
        }),
        ("older than what is there", issued(20 * DAY), honest),
        ("of another platform", of_another_platform, honest),
        ("of another root", of_another_root, honest),
        ("forged", forged, honest),
        ("of Intel, and over", genuine(), honest),
    ];
    for (what, has, alter) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (chain, own) = (Played::holding(&held), collaterals());
        // What this relayer has already.
        own.learn(&held.encode(), &GENESIS).unwrap();
        let hostile = lasting(FMSPC.to_owned(), move || has.clone(), alter);
        let (mut job, mut clock) = (fetching(&[&hostile], folder.path()), Instant::now());
        job.round(&chain, &own, clock).await.unwrap();
        assert_eq!(own.own(&model()).unwrap().bytes, held.encode(), "{what}");
        assert_eq!((chain.submissions(), models_of(&own)), (0, 1), "{what}");
        assert_eq!(files(folder.path()).await.unwrap().len(), 0, "{what}");
        assert_eq!(again(&job, clock), FIRST_WAIT, "{what}");
        clock += FIRST_WAIT;
        job.round(&chain, &own, clock).await.unwrap();
        assert_eq!(again(&job, clock), 2 * FIRST_WAIT, "{what}");
        // Beside an honest one it is of no account, wherever it stands.
        let (url, _) = service(&shelf(newer.clone()));
        for services in [[hostile.as_str(), url.as_str()], [url.as_str(), hostile.as_str()]] {
            let folder = tempfile::tempdir().unwrap();
            let (chain, own) = (Played::holding(&held), collaterals());
            let mut job = fetching(&services, folder.path());
            job.round(&chain, &own, clock).await.unwrap();
            assert_eq!(*chain.submitted.lock().unwrap(), [newer.encode()], "{what}");
            assert_eq!(own.own(&model()).unwrap().bytes, newer.encode(), "{what}");
        }
    }
    // What governance has not let in yet is refused by gatekeepers: it does not take the place of what they take.
    let folder = tempfile::tempdir().unwrap();
    let chain = Played { cap: Some(0), ..Played::holding(&held) };
    let (own, (url, _)) = (collaterals(), service(&shelf(newer)));
    let (mut job, clock) = (fetching(&[&url], folder.path()), Instant::now());
    job.round(&chain, &own, clock).await.unwrap();
    assert!(own.own(&model()).is_none() && chain.submissions() == 0);
    assert_eq!(again(&job, clock), FIRST_WAIT);
}

/// Models of which there is collateral.
fn models_of(own: &Collaterals) -> usize {
    own.known.lock().unwrap().len()
}

#[tokio::test]
async fn a_chain_that_refuses_is_paid_once_whatever_other_bytes_a_service_gives() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Played { refuses: Some("CollateralExpired"), ..Played::holding(&issued(10 * DAY)) };
    let (own, shelf) = (collaterals(), shelf(issued(9 * DAY)));
    let (url, asked) = service(&shelf);
    let (mut job, start) = (fetching(&[&url], folder.path()), Instant::now());
    for times in 0..4u64 {
        *shelf.lock().unwrap() = issued(9 * DAY - times * HOUR);
        job.round(&chain, &own, start + USUAL * u32::try_from(times).unwrap()).await.unwrap();
    }
    assert_eq!((*asked.lock().unwrap(), chain.submissions()), (4, 1));
    assert_eq!(own.own(&model()).unwrap().bytes, shelf.lock().unwrap().encode(), "evidence is carried with the newest");
}

/// What a TEE shows that has not registered yet, on a simulated machine.
fn unregistered() -> TeeStatus {
    let machine = InsecureMachine::new("one", b"program", unix_now()).unwrap();
    let registration = Registration {
        role: Role::Worker,
        identity: WorkerId([2; 32]),
        encryption_key: [4; 32],
        operator: AccountId([3; 32]),
        block: 1,
        block_hash: [5; 32],
    };
    let quote = machine.quote(registration.report_data(&GENESIS));
    let evidence = Evidence::TdxDcap(quote.try_into().unwrap()).encode();
    TeeStatus {
        identity: registration.identity,
        role: Role::Worker,
        genesis: GENESIS,
        height: 0,
        head: GENESIS,
        wanted_keys: vec![],
        inboxes: vec![],
        wanted_codes: vec![],
        attempt: None,
        identity_attempt: None,
        signing: None,
        snapshot: None,
        outgoing: vec![Outgoing::Register { registration, evidence }],
    }
}

#[tokio::test]
async fn whoever_is_served_or_registered_is_looked_after_within_bounds_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let other = |number: u8| PlatformModel { vendor: Vendor::IntelSgx, fmspc: [number; 6], authority: [1; 32] };
    let others: Vec<PlatformModel> = (0..200).map(other).collect();
    let registered = others.iter().skip(100).map(|model| (model.vendor, model.fmspc)).collect();
    let chain = Played { others, registered, ..Played::default() };
    let (own, mut job, clock) = (collaterals(), fetching(&[], folder.path()), Instant::now());
    own.note_served(&unregistered());
    let wanted = job.wanted(&chain, &own, clock).await.unwrap();
    assert_eq!(wanted.len(), MOST_MODELS);
    assert!(wanted.contains(&model()), "what is served here comes first");
    assert!(wanted.iter().all(|wanted| *wanted == model() || wanted.fmspc[0] >= 100), "and nobody's is not renewed");
    job.round(&chain, &own, clock).await.unwrap();
    assert_eq!(job.plans.values().filter(|plan| plan.at > clock).count(), ASKED_AT_ONCE);
    // The list of registrations is read once an hour: it may be long.
    let nobody = Played::default();
    assert_eq!(job.wanted(&nobody, &own, clock + LISTED).await.unwrap(), BTreeSet::from([model()]));
    job.round(&nobody, &own, clock + LISTED).await.unwrap();
    assert_eq!(job.plans.len(), 1, "what is not wanted any more is forgotten");
}

#[tokio::test]
async fn the_folder_holds_a_bounded_number_of_files_and_each_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..MOST_FILES {
        std::fs::write(folder.path().join(format!("{number}.collateral")), b"").unwrap();
    }
    let refused = store(folder.path(), &model(), b"bytes").await.unwrap_err();
    assert!(refused.to_string().contains("remove"), "{refused}");
    std::fs::remove_file(folder.path().join("7.collateral")).unwrap();
    for bytes in [&b"bytes"[..], b"others"] {
        store(folder.path(), &model(), bytes).await.unwrap();
        let file = folder.path().join(name(&model())).with_extension(EXTENSION);
        assert_eq!(std::fs::read(file).unwrap(), bytes);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), MOST_FILES);
    // A file that no collateral is as long as is read to a bound.
    let long = folder.path().join("long");
    std::fs::write(&long, vec![0; 2 * MAX_FILE_BYTES as usize]).unwrap();
    assert_eq!(read(&long).await.unwrap().len() as u64, MAX_FILE_BYTES);
}
