//! The accounts of this machine: encrypted key files under `$PHALA_HOME/accounts`, and the INSECURE development accounts.
//!
//! Guarantees: a key reaches the disk only encrypted, in a file that its owner alone reads; a development key signs only on a chain
//! whose newest finalised state is proved to carry the mark of a development chain, from the pinned genesis on (of a bare `ws://`
//! address, from the genesis that its node names). Whoever owns the folder controls what is in it.

use crate::{
    args::Global,
    error::{io, CliError},
    home,
};
use phala_client::{
    account::{ss58, KeyFile, KeyFileError},
    Account, ErrorCode, Network,
};
use phala_protocol::{storage, AccountId};
use std::{
    fs::{self, OpenOptions},
    io::{IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// Bytes of a key file: polkadot.js writes less than one KiB.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// What to do about a key file that is none.
const EXPORT: &str = "export the account from polkadot.js again, as JSON, and import that with `phala account import`";

/// The folder of encrypted key files.
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The user's.
    pub fn open() -> Result<Self, CliError> {
        Ok(Self { folder: home::folder()?.join("accounts") })
    }

    #[cfg(test)]
    fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The names in it, sorted.
    pub fn names(&self) -> Result<Vec<String>, CliError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("read", &self.folder)(error)),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
            .collect();
        names.sort();
        Ok(names)
    }

    /// The key file called `name`, if there is one.
    pub fn find(&self, name: &str) -> Result<Option<KeyFile>, CliError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let path = self.path(name);
        if !path.exists() {
            return Ok(None);
        }
        read_key_file(&path).map(Some)
    }

    /// Keeps a key file. Nothing is ever replaced.
    pub fn add(&self, name: &str, file: &KeyFile) -> Result<PathBuf, CliError> {
        check_name(name)?;
        fs::create_dir_all(&self.folder).map_err(io("make", &self.folder))?;
        let path = self.path(name);
        let json = serde_json::to_string_pretty(file)
            .map_err(|error| CliError::new(ErrorCode::Internal, format!("cannot write the key file: {error}")))?;
        let mut out = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(out) => out,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(CliError::invalid(format!("there is an account `{name}` already"))
                    .with_hint("`phala account list` shows them; choose another name"))
            }
            Err(error) => return Err(io("make", &path)(error)),
        };
        out.write_all(json.as_bytes()).and_then(|()| out.sync_all()).map_err(io("write", &path))?;
        Ok(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

/// Reads a key file of polkadot.js.
pub fn read_key_file(path: &std::path::Path) -> Result<KeyFile, CliError> {
    let length = fs::metadata(path).map_err(io("read", path))?.len();
    if length > MAX_KEY_FILE_BYTES {
        return Err(
            CliError::invalid(format!("{} is no key file: it has {length} bytes", path.display())).with_hint(EXPORT)
        );
    }
    let json = fs::read(path).map_err(io("read", path))?;
    serde_json::from_slice(&json)
        .map_err(|error| format!("{} is no key file of polkadot.js: {error}", path.display()))
        .map_err(|message| CliError::invalid(message).with_hint(EXPORT))
}

/// Names become file names.
fn check_name(name: &str) -> Result<(), CliError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(
            CliError::invalid(format!("`{name}` is no name for an account")).with_hint("use letters, digits, - and _")
        );
    }
    Ok(())
}

/// The password of key files: of `--password-file`, `PHALA_PASSWORD`, or whoever sits at the terminal; `twice` for a new one.
pub fn password(global: &Global, twice: bool) -> Result<String, CliError> {
    if let Some(path) = &global.password_file {
        let text = fs::read_to_string(path).map_err(io("read", path))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if let Ok(password) = std::env::var("PHALA_PASSWORD") {
        return Ok(password);
    }
    let unasked = || {
        CliError::invalid("a password is needed, and there is no terminal to ask at")
            .with_hint("give --password-file FILE or PHALA_PASSWORD")
    };
    if !std::io::stdin().is_terminal() {
        return Err(unasked());
    }
    let password = rpassword::prompt_password("Password: ").map_err(|_| unasked())?;
    if twice && rpassword::prompt_password("Again: ").map_err(|_| unasked())? != password {
        return Err(
            CliError::invalid("the two passwords differ").with_hint("nothing was kept: type the same one twice")
        );
    }
    Ok(password)
}

/// An account's id by what a user calls it: a name in the store or of a development account, or an address.
pub fn find(text: &str) -> Result<AccountId, CliError> {
    if let Some(file) = Store::open()?.find(text)? {
        return file.account().map_err(|error| phala_client::ClientError::from(error).into());
    }
    Ok(phala_client::account::parse_account(text)?)
}

/// Like [`find`], for names inside of contract arguments.
pub fn by_name(text: &str) -> Option<AccountId> {
    find(text).ok()
}

/// How an address is shown.
pub fn address(account: &AccountId) -> String {
    ss58::format_account(account)
}

/// The account that signs on `network`: one of the store, or a development account on a development chain.
pub async fn signer(global: &Global, network: &Network, name: &str) -> Result<Account, CliError> {
    if let Some(file) = Store::open()?.find(name)? {
        let password = password(global, false)?;
        let opened = tokio::task::spawn_blocking(move || Account::from_key_file(&file, &password))
            .await
            .map_err(|error| CliError::new(ErrorCode::Internal, error.to_string()))?;
        return opened.map_err(|error| {
            let hinted = CliError::from(phala_client::ClientError::from(error));
            match error {
                KeyFileError::Password => hinted.with_hint(
                    "it is taken from --password-file, else from PHALA_PASSWORD, else asked for; nobody can find out a lost one",
                ),
                _ => hinted.with_hint(EXPORT),
            }
        });
    }
    let account = Account::development(name).map_err(|error| {
        CliError::from(error).with_hint("`phala account list` shows which there are; an address cannot sign")
    })?;
    // Its key is published: on any other chain it would sign away what somebody sent there by mistake.
    let key = storage::DEVELOPMENT.to_vec();
    let marked: Option<bool> = network.read(std::slice::from_ref(&key)).await?.get(&key)?;
    if marked != Some(true) {
        return Err(CliError::new(
            ErrorCode::Unauthorised,
            format!("`{name}` is a development account, and this is no development chain"),
        )
        .with_hint("make an account of your own: `phala account new NAME`"));
    }
    Ok(account)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_kept_encrypted_for_their_owner_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("accounts"));
        assert!(store.names().unwrap().is_empty());
        let account = Account::generate("mine").unwrap();
        let file = account.to_key_file("password").unwrap();
        let path = store.add("mine", &file).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store.names().unwrap(), ["mine"]);
        let found = store.find("mine").unwrap().unwrap();
        assert_eq!(Account::from_key_file(&found, "password").unwrap().id(), account.id());
        assert_eq!(store.add("mine", &file).unwrap_err().exit_code(), 2);
        assert!(store.find("other").unwrap().is_none());
    }

    #[test]
    fn refuses_names_that_are_paths() {
        let store = Store::at("/nonexistent".into());
        for name in ["", "..", "a/b", "a b", "/etc/passwd"] {
            assert!(check_name(name).is_err(), "{name}");
            assert!(store.find(name).unwrap().is_none());
        }
    }
}
