//! The gatekeeper's disk fails: nothing that it writes may grow, all the time that workers start and ask it for keys; then what it keeps is
//! cut.
//!
//! The gatekeeper is the real process; `phala dev` is stopped meanwhile, so that it is this test that runs it, on copies of its disk. One that
//! holds its seat writes nothing when an epoch opens or somebody asks. What it writes with the first head that shows a root is the list of
//! its seats, where that is not there: so the copy lacks it. Not here: a ceremony on a full disk, which `phala-core` has (P173).

use phala_e2e::{
    processes::{argument, limit_files, ByHand, Place, Stopped},
    raw_http::ask,
    small_disk::copy_all,
    wait_until, Network,
};
use serde_json::Value;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

/// How long the gatekeeper may take to be where the chain is, and to say what it has to.
const WELL_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a file that is less than anything it keeps.
const LITTLE_FILE: &str = "1";
/// How files of the lone seat, of the list of seats and of the identity begin.
const SEAT: &str = "seat-";
const LIST: &str = "seats-";
const IDENTITY: &str = "identity-";
/// What the process says that cannot read what it keeps, or cannot keep it.
const REFUSED: &str = "sealed data could not be written or read; check the disk";

/// A gatekeeper in the place of the network's own, whose files may not grow.
pub struct Gatekeeper {
    place: Place,
    folder: PathBuf,
    /// A copy of what the network's own left, without the list.
    data: PathBuf,
    list: PathBuf,
    process: ByHand,
}

impl Gatekeeper {
    /// Kills the network's own and starts it.
    pub fn take(supervisor: &Stopped, network: &Network, folder: &Path) -> Self {
        let place = Place::take(supervisor, network, "gatekeeper");
        let (folder, data) = (folder.to_owned(), folder.join("limited"));
        copy_all(Path::new(&argument(&place.arguments, "--data")), &data);
        let list = kept(&data, LIST).expect("it had seen a root");
        fs::remove_file(&list).unwrap();
        let process = limited(&place, &data, &folder.join("limited.log"));
        Self { place, folder, data, list, process }
    }

    fn ask(&self, path: &str) -> Value {
        let host = argument(&self.place.arguments, "--listen");
        ask(&host, "GET", path, &[]).map_or(Value::Null, |answer| answer.json())
    }

    fn is_well(&self) -> bool {
        self.ask("/v1/health")["healthy"] == true
    }

    /// What has to hold once workers have started meanwhile; then with room, and with files that were cut.
    pub fn check(mut self) {
        wait_until("the gatekeeper is well", WELL_WITHIN, || self.is_well());
        let given = self.ask("/v1/info")["gatekeeper"]["keys"]["given"].as_u64();
        assert!(given.is_some_and(|given| given > 0), "workers were given keys meanwhile: {given:?}");
        wait_until("it says what it could not do", WELL_WITHIN, || said(&self.process.log).contains("size limit"));
        assert_eq!(self.process.ended(), None, "it died of a limit: {}", said(&self.process.log));
        assert!(!self.list.exists(), "it could not be written");

        limit_files(self.process.id(), "unlimited");
        wait_until("it writes what it could not", WELL_WITHIN, || self.list.exists());
        assert!(self.is_well());
        assert_eq!(self.process.end(), Some(0));

        self.files_that_were_cut_are_refused();
        self.an_identity_that_cannot_be_kept_is_none();
    }

    /// Refused at the start, with what to look at, and left as they are: nothing new is made in their place.
    fn files_that_were_cut_are_refused(&self) {
        for (number, (kind, part)) in [(SEAT, 0), (SEAT, 2), (LIST, 2)].into_iter().enumerate() {
            let data = self.folder.join(format!("cut-{number}"));
            copy_all(&self.data, &data);
            let file = kept(&data, kind).unwrap();
            let whole = fs::read(&file).unwrap();
            let cut = &whole[..whole.len() * part / 3];
            fs::write(&file, cut).unwrap();
            let log = self.folder.join(format!("cut-{number}.log"));
            let mut process = ByHand::start(&self.place.words_with("--data", data.to_str().unwrap()), &log);
            wait_until("a file that was cut is refused", WELL_WITHIN, || process.ended().is_some());
            let (said, name) = (said(&log), file.file_name().unwrap().to_string_lossy());
            assert_eq!(process.ended(), Some(1), "{said}");
            assert!(said.contains(REFUSED) && said.contains(&*name), "{said}");
            assert_eq!(fs::read(&file).unwrap(), cut, "{name} was left as it was");
        }
    }

    /// A new gatekeeper whose first file is too long: it does not go on with what it would lose.
    fn an_identity_that_cannot_be_kept_is_none(&self) {
        let (data, log) = (self.folder.join("new"), self.folder.join("new.log"));
        let mut process = limited(&self.place, &data, &log);
        wait_until("a new gatekeeper ends that can keep nothing", WELL_WITHIN, || process.ended().is_some());
        assert_eq!(process.ended(), Some(1));
        wait_until("it says why", WELL_WITHIN, || said(&log).contains(REFUSED));
        assert_eq!(kept(&data, IDENTITY), None);
    }
}

/// A gatekeeper on `data` none of whose files may grow from its first moment on. Its log comes through a pipe, which is no file.
fn limited(place: &Place, data: &Path, log: &Path) -> ByHand {
    let (mut lines, writer) = io::pipe().unwrap();
    let mut file = File::create(log).unwrap();
    thread::spawn(move || io::copy(&mut lines, &mut file));
    let limit = ["prlimit".to_owned(), format!("--fsize={LITTLE_FILE}:")];
    let words = [&limit[..], &place.words_with("--data", data.to_str().unwrap())].concat();
    ByHand::start_into(&words, Stdio::from(writer.try_clone().unwrap()), Stdio::from(writer), log)
}

/// The sealed file of `data` whose name begins with `kind`.
fn kept(data: &Path, kind: &str) -> Option<PathBuf> {
    let mut files = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(kind) && name.ends_with(".sealed")
    })
}

fn said(log: &Path) -> String {
    fs::read_to_string(log).unwrap_or_default()
}
