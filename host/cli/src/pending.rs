//! Commands whose reply this user has not seen yet: `$PHALA_HOME/pending`, one file each, from before a command leaves until its reply
//! was shown.
//!
//! ```text
//! file   <genesis>-<nonce, 20 digits>-<account>.pending      = SCALE of (version u8, name, cluster, last block, progress, sealed)
//! sealed = SCALE of (intent, method, input), by the account's own key
//! ```
//! Guarantees: a file is there before its command leaves this machine, durably; it is its owner's alone (mode 0600, in a folder of mode
//! 0700); whom a command was sent to, and with what, can be read by whoever opens the account's key and by nobody else. One that chain or
//! node refused, or that was not heard of, stays: a copy of it may be executed until its last block, and who sends the same again is given
//! its nonce, under which at most one of the two is. At most [`MAX_KEPT`] are kept, and the oldest go. Nothing in one is secret that a
//! reply could be opened with: replies are asked for by the account's signature. Whoever owns the folder controls what is in it, and can
//! make one go.

use crate::{
    error::{io, CliError},
    home,
    output::note,
};
use codec::{Decode, Encode};
use phala_client::{
    command::{Intent, Journal},
    Account, ErrorCode,
};
use phala_protocol::{ids::BlockNumber, AccountId, ClusterId, ContractId, Hash};
use std::{
    fs,
    path::{Path, PathBuf},
};

const VERSION: u8 = 2;
/// Bytes of a file: more than any has. An input is shorter than the largest envelope, of 16 KiB.
const MAX_BYTES: u64 = 32_768;
/// Files that are kept.
const MAX_KEPT: usize = 1_000;
const ENDING: &str = ".pending";

/// The folder of commands that are waited for.
pub struct Store {
    folder: PathBuf,
}

/// How far a command got, as far as this machine knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Progress {
    /// It is on its way, or in the inbox.
    Left,
    /// Chain or node refused it, or nothing was heard of it. Anybody who saw it can push a copy.
    Failed,
    /// The same, and a later command of its account has reached the cluster since: once that is executed, nothing under the nonce of this
    /// one is any more. A copy may have been before.
    Overtaken,
}

/// A kept command, as it can be read without its account's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The chain.
    pub genesis: Hash,
    /// Which of the account's commands.
    pub nonce: u64,
    /// Whose.
    pub account: AccountId,
    /// What the user calls the account.
    pub name: String,
    /// The cluster that it went to.
    pub cluster: ClusterId,
    /// The last block in which it can be executed.
    pub valid_until: BlockNumber,
    /// How far it got.
    pub progress: Progress,
    sealed: Vec<u8>,
    path: PathBuf,
}

impl Store {
    /// The user's.
    pub fn open() -> Result<Self, CliError> {
        Ok(Self { folder: home::folder()?.join("pending") })
    }

    /// All that are kept, oldest first. A file that cannot be read is left out, and that is said.
    pub fn all(&self) -> Result<Vec<Pending>, CliError> {
        let mut all = Vec::new();
        for name in self.names()? {
            match read(&self.folder.join(&name), &name) {
                Ok(found) => all.extend(found),
                Err(error) => note(&format!("note: left out: {}", error.message)),
            }
        }
        all.sort_by_key(|pending| pending.nonce);
        Ok(all)
    }

    /// The one with this nonce on a chain; `account` where there is more than one.
    pub fn find(&self, genesis: &Hash, nonce: u64, account: Option<AccountId>) -> Result<Pending, CliError> {
        let mut found = self.all()?;
        found.retain(|pending| {
            pending.genesis == *genesis
                && pending.nonce == nonce
                && account.is_none_or(|account| pending.account == account)
        });
        match (found.pop(), found.is_empty()) {
            (Some(pending), true) => Ok(pending),
            (Some(_), false) => {
                Err(CliError::invalid(format!("more than one account waits for a command with nonce {nonce}"))
                    .with_hint("say whose with --from"))
            }
            (None, _) => {
                let message = format!("no command with nonce {nonce} is waited for here on this network");
                Err(CliError::new(ErrorCode::NotFound, message)
                    .with_hint("`phala contract pending` lists them; a reply that was shown is forgotten"))
            }
        }
    }

    /// The newest attempt at this very command of `account` that failed, and may be executed yet or have been.
    pub fn failed(
        &self,
        genesis: &Hash,
        account: &Account,
        contract: &ContractId,
        call: (&str, &[u8]),
    ) -> Result<Option<(Intent, Progress)>, CliError> {
        let mut newest: Option<(Intent, Progress)> = None;
        for pending in self.of(genesis, account)?.into_iter().filter(|pending| pending.progress != Progress::Left) {
            // One that does not open finds no reply either; the list of all says so.
            let Ok((intent, method, input)) = pending.content(account) else { continue };
            let newer = newest.as_ref().is_none_or(|(other, _)| other.nonce < intent.nonce);
            if newer && intent.contract == *contract && (method.as_str(), input.as_slice()) == call {
                newest = Some((intent, pending.progress));
            }
        }
        Ok(newest)
    }

    /// A journal for a command that `account` sends, which the user calls `name`, to a method with an input.
    pub fn journal<'a>(
        &'a self,
        genesis: &'a Hash,
        account: &'a Account,
        name: &'a str,
        call: (&'a str, &'a [u8]),
    ) -> Entry<'a> {
        Entry { store: self, genesis, account, name, call, kept: None }
    }

    /// Those of an account on a chain that can be read.
    fn of(&self, genesis: &Hash, account: &Account) -> Result<Vec<Pending>, CliError> {
        let (start, end) = (format!("{}-", hex::encode(genesis)), format!("-{}{ENDING}", hex::encode(account.id().0)));
        let names = self.names()?.into_iter().filter(|name| name.starts_with(&start) && name.ends_with(&end));
        Ok(names.filter_map(|name| read(&self.folder.join(&name), &name).ok().flatten()).collect())
    }

    fn keep(
        &self,
        genesis: &Hash,
        account: &Account,
        name: &str,
        content: &(Intent, String, Vec<u8>),
    ) -> Result<PathBuf, CliError> {
        home::private_folder(&self.folder)?;
        let (intent, ..) = content;
        let file = format!("{}-{:020}-{}{ENDING}", hex::encode(genesis), intent.nonce, hex::encode(intent.account.0));
        let sealed = account.seal_own(&file, &content.encode())?;
        let path = self.folder.join(file);
        let file = (VERSION, name, intent.cluster, intent.valid_until, Progress::Left, sealed);
        home::write_private(&path, &file.encode())?;
        self.forget_oldest();
        Ok(path)
    }

    fn names(&self) -> Result<Vec<String>, CliError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("read", &self.folder)(error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name.ends_with(ENDING)).collect())
    }

    fn forget_oldest(&self) {
        let mut names = self.names().unwrap_or_default();
        let old = names.len().saturating_sub(MAX_KEPT);
        // A nonce is a time, and stands in the name in as many digits as the largest has.
        names.sort_by_cached_key(|name| name.split('-').nth(1).map(str::to_owned));
        for name in names.into_iter().take(old) {
            let _ = fs::remove_file(self.folder.join(name));
        }
    }
}

/// What a file says; nothing if it has gone meanwhile.
fn read(path: &Path, name: &str) -> Result<Option<Pending>, CliError> {
    let Some(bytes) = home::read_private(path, MAX_BYTES)? else { return Ok(None) };
    let malformed = || CliError::invalid(format!("{} is damaged, or of another version", path.display()));
    let (version, called, cluster, valid_until, progress, sealed) =
        <(u8, String, ClusterId, BlockNumber, Progress, Vec<u8>)>::decode(&mut bytes.as_slice())
            .map_err(|_| malformed())?;
    let mut parts = name.strip_suffix(ENDING).unwrap_or_default().split('-');
    let mut part = || parts.next().ok_or_else(malformed);
    let (genesis, nonce, account) = (part()?, part()?, part()?);
    let bytes32 = |digits: &str| hex::decode(digits).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if version != VERSION {
        return Err(malformed());
    }
    Ok(Some(Pending {
        genesis: bytes32(genesis).ok_or_else(malformed)?,
        nonce: nonce.parse().map_err(|_| malformed())?,
        account: bytes32(account).map(AccountId).ok_or_else(malformed)?,
        name: called,
        cluster,
        valid_until,
        progress,
        sealed,
        path: path.to_owned(),
    }))
}

impl Pending {
    /// What was sent, and the method that it calls, by the account's key.
    pub fn open(&self, account: &Account) -> Result<(Intent, String), CliError> {
        self.content(account).map(|(intent, method, _)| (intent, method))
    }

    /// The same, and the input.
    fn content(&self, account: &Account) -> Result<(Intent, String, Vec<u8>), CliError> {
        let file = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let content = account.open_own(file, &self.sealed)?;
        let malformed = || CliError::invalid(format!("{} is of another version", self.path.display()));
        let (intent, method, input) =
            <(Intent, String, Vec<u8>)>::decode(&mut content.expose().as_slice()).map_err(|_| malformed())?;
        if (intent.account, intent.nonce, intent.cluster) != (self.account, self.nonce, self.cluster) {
            return Err(malformed());
        }
        Ok((intent, method, input))
    }

    /// Keeps how far it got.
    fn mark(&self, progress: Progress) -> Result<(), CliError> {
        let file = (VERSION, &self.name, self.cluster, self.valid_until, progress, &self.sealed);
        home::write_private(&self.path, &file.encode())
    }

    /// Its reply was seen, or there will be none.
    pub fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Keeps one command while it is sent, and until it is forgotten.
pub struct Entry<'a> {
    store: &'a Store,
    genesis: &'a Hash,
    account: &'a Account,
    name: &'a str,
    call: (&'a str, &'a [u8]),
    kept: Option<(u64, PathBuf)>,
}

impl Entry<'_> {
    /// The nonce of the command, if it left, may have had an effect, and can be asked for later.
    pub fn nonce(&self) -> Option<u64> {
        self.kept.as_ref().map(|(nonce, _)| *nonce)
    }

    /// Sending it came to an error, whatever that was: it is kept, and found by who sends the same again.
    pub fn failed(&self) {
        if let Some((nonce, _)) = self.kept {
            self.mark(Progress::Failed, |pending| pending.nonce == nonce);
        }
    }

    /// It is in the inbox of `cluster`, with `nonce`: it overtakes those that failed before.
    pub fn arrived(&self, cluster: ClusterId, nonce: u64) {
        self.mark(Progress::Overtaken, |pending| {
            pending.progress == Progress::Failed && pending.cluster == cluster && pending.nonce < nonce
        });
    }

    fn mark(&self, progress: Progress, which: impl Fn(&Pending) -> bool) {
        let marked = self
            .store
            .of(self.genesis, self.account)
            .and_then(|all| all.iter().filter(|pending| which(pending)).try_for_each(|pending| pending.mark(progress)));
        if let Err(error) = marked {
            note(&format!("note: what became of a command was not kept: {}", error.message));
        }
    }

    /// Its reply was seen.
    pub fn forget(&mut self) {
        if let Some((_, path)) = self.kept.take() {
            let _ = fs::remove_file(path);
        }
    }
}

impl Journal for Entry<'_> {
    fn leaves(&mut self, intent: &Intent) {
        let (method, input) = self.call;
        let content = (intent.clone(), method.to_owned(), input.to_vec());
        match self.store.keep(self.genesis, self.account, self.name, &content) {
            Ok(path) => self.kept = Some((intent.nonce, path)),
            // A disk that is full is no reason not to send it: its nonce is in what is said of it from here on.
            Err(error) => note(&format!("note: the reply cannot be fetched after an interruption: {}", error.message)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const GENESIS: Hash = [1; 32];

    fn intent(account: &Account, nonce: u64) -> Intent {
        let contract = ContractId([0xc7; 32]);
        Intent { cluster: ClusterId(3), contract, account: account.id(), nonce, since: 100, valid_until: 700 }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store { folder: folder.path().join("pending") };
        (folder, store)
    }

    #[test]
    fn a_command_is_kept_from_before_it_leaves_until_its_reply_was_seen_and_by_its_account_alone() {
        let (_folder, store) = store();
        let (alice, bob) = (Account::development("alice").unwrap(), Account::development("bob").unwrap());
        assert!(store.all().unwrap().is_empty());
        let mut entry = store.journal(&GENESIS, &alice, "alice", ("transfer", b"input"));
        assert_eq!(entry.nonce(), None);
        entry.leaves(&intent(&alice, 77));
        // Sent again, because its epoch had changed.
        entry.leaves(&intent(&alice, 77));
        assert_eq!(entry.nonce(), Some(77));

        // Another process finds it, whatever became of this one.
        let found = store.find(&GENESIS, 77, None).unwrap();
        assert_eq!((found.name.as_str(), found.cluster, found.valid_until), ("alice", ClusterId(3), 700));
        assert_eq!(found.open(&alice).unwrap(), (intent(&alice, 77), "transfer".to_owned()));
        assert_eq!(found.open(&bob).unwrap_err().code.as_str(), "invalid");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&found.path), mode(&store.folder)), (0o600, 0o700));
        let on_disk = fs::read(&found.path).unwrap();
        assert!(!on_disk.windows(8).any(|window| window == b"transfer" || window == [0xc7; 8]), "whom it was sent to");

        entry.forget();
        assert_eq!(store.find(&GENESIS, 77, None).unwrap_err().code.as_str(), "not_found");
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 0);
    }

    #[test]
    fn a_command_that_failed_is_kept_and_the_same_again_is_given_its_nonce() {
        let (_folder, store) = store();
        let (alice, bob) = (Account::development("alice").unwrap(), Account::development("bob").unwrap());
        let contract = ContractId([0xc7; 32]);
        let call: (&str, &[u8]) = ("transfer", b"input");
        let failed = |call| store.failed(&GENESIS, &alice, &contract, call).unwrap();
        let mut entry = store.journal(&GENESIS, &alice, "alice", call);
        entry.leaves(&intent(&alice, 77));
        assert_eq!(failed(call), None, "it is on its way, and the same again is another command");
        entry.failed();
        assert_eq!(entry.nonce(), Some(77));
        assert_eq!(failed(call), Some((intent(&alice, 77), Progress::Failed)));
        assert_eq!(failed(("transfer", b"other")), None);
        assert_eq!(failed(("burn", b"input")), None);
        assert_eq!(store.failed(&GENESIS, &alice, &ContractId([1; 32]), call).unwrap(), None);
        assert_eq!(store.failed(&[2; 32], &alice, &contract, call).unwrap(), None);
        assert_eq!(store.failed(&GENESIS, &bob, &contract, call).unwrap(), None);
        assert_eq!(store.find(&GENESIS, 77, None).unwrap().open(&alice).unwrap().0, intent(&alice, 77));

        // Sent again under its nonce it is on its way, in one file.
        let mut again = store.journal(&GENESIS, &alice, "alice", call);
        again.leaves(&Intent { valid_until: 900, ..intent(&alice, 77) });
        assert_eq!(failed(call), None);
        assert_eq!(store.all().unwrap().iter().map(|pending| pending.valid_until).collect::<Vec<_>>(), [900]);
        again.arrived(ClusterId(3), 77);
        assert_eq!(store.find(&GENESIS, 77, None).unwrap().progress, Progress::Left, "nothing overtakes itself");
        again.forget();
        assert!(store.all().unwrap().is_empty());
    }

    #[test]
    fn a_command_that_failed_is_overtaken_by_a_later_one_of_its_account_in_its_cluster() {
        let (_folder, store) = store();
        let alice = Account::development("alice").unwrap();
        let mut first = store.journal(&GENESIS, &alice, "alice", ("transfer", b"input"));
        first.leaves(&intent(&alice, 77));
        let progress = || store.find(&GENESIS, 77, None).unwrap().progress;
        let mut later = store.journal(&GENESIS, &alice, "alice", ("transfer", b"other"));
        later.leaves(&intent(&alice, 78));
        later.arrived(ClusterId(3), 78);
        assert_eq!(progress(), Progress::Left, "that it failed was never said");
        first.failed();
        for (cluster, nonce) in [(ClusterId(4), 78), (ClusterId(3), 76)] {
            later.arrived(cluster, nonce);
            assert_eq!(progress(), Progress::Failed);
        }
        later.arrived(ClusterId(3), 78);
        assert_eq!(progress(), Progress::Overtaken);
        let (intent, progress) =
            store.failed(&GENESIS, &alice, &ContractId([0xc7; 32]), ("transfer", b"input")).unwrap().unwrap();
        assert_eq!((intent.nonce, progress), (77, Progress::Overtaken));
    }

    #[test]
    fn one_nonce_of_two_accounts_or_chains_is_told_apart_and_the_oldest_go() {
        let (_folder, store) = store();
        let (alice, bob) = (Account::development("alice").unwrap(), Account::development("bob").unwrap());
        for (genesis, account) in [([1; 32], &alice), ([1; 32], &bob), ([2; 32], &alice)] {
            store.journal(&genesis, account, "name", ("m", b"")).leaves(&intent(account, 77));
        }
        assert_eq!(store.find(&GENESIS, 77, None).unwrap_err().code.as_str(), "invalid");
        assert_eq!(store.find(&GENESIS, 77, Some(bob.id())).unwrap().account, bob.id());
        assert_eq!(store.find(&[2; 32], 77, None).unwrap().account, alice.id());
        // Three of 77 are there; two more than fit.
        for nonce in 100..100 + MAX_KEPT as u64 - 1 {
            fs::write(store.folder.join(format!("{}-{nonce:020}-00{ENDING}", hex::encode(GENESIS))), b"").unwrap();
        }
        store.forget_oldest();
        let names = store.names().unwrap();
        assert_eq!(names.len(), MAX_KEPT);
        assert_eq!(names.iter().filter(|name| name.contains("-00000000000000000077-")).count(), 1);
    }

    #[test]
    fn what_is_damaged_or_planted_is_left_out() {
        let (folder, store) = store();
        let alice = Account::development("alice").unwrap();
        store.journal(&GENESIS, &alice, "alice", ("m", b"")).leaves(&intent(&alice, 77));
        let whole = fs::read(&store.find(&GENESIS, 77, None).unwrap().path).unwrap();
        let long = vec![9; 100_000];
        for (nonce, bytes) in [(78, &whole[..9]), (79, &whole[..0]), (80, &long[..])] {
            let name = format!("{}-{nonce:020}-{}{ENDING}", hex::encode(GENESIS), hex::encode(alice.id().0));
            home::write_private(&store.folder.join(name), bytes).unwrap();
        }
        fs::write(folder.path().join("elsewhere"), &whole).unwrap();
        let planted = format!("{}-{:020}-{}{ENDING}", hex::encode(GENESIS), 81, hex::encode(alice.id().0));
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), store.folder.join(planted)).unwrap();
        let all = store.all().unwrap();
        assert_eq!(all.iter().map(|pending| pending.nonce).collect::<Vec<_>>(), [77]);
        // A whole one under another nonce's name does not open.
        let moved = format!("{}-{:020}-{}{ENDING}", hex::encode(GENESIS), 82, hex::encode(alice.id().0));
        fs::rename(&all[0].path, store.folder.join(moved)).unwrap();
        assert_eq!(store.find(&GENESIS, 82, None).unwrap().open(&alice).unwrap_err().code.as_str(), "invalid");
    }
}
