//! Where the command keeps what it keeps, and where the programs it starts are.
//!
//! `$PHALA_HOME` (`~/.phala`): `accounts/` encrypted keys, `sessions/` open sessions, `pending/` commands whose reply was not seen yet,
//! `collateral/` what a relayer fetched, `dev/` the development network, `last` the folder of the network that was started last. Caches lie
//! elsewhere ([`cache`]). Programs are looked for beside this one, as it was called and as it lies on the disk.
//!
//! Guarantees: a file is replaced whole and durably; what is private is its owner's alone from its first byte on; what lies under a
//! name that somebody else may have planted - a link, a file of theirs - is neither followed nor written to nor read as private.

use crate::error::{io, CliError};
use phala_client::ErrorCode;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// How often another name is tried for what is not whole yet.
const NAMES: u32 = 8;

/// `$PHALA_HOME`, or `~/.phala`.
pub fn folder() -> Result<PathBuf, CliError> {
    if let Some(home) = std::env::var_os("PHALA_HOME").filter(|home| !home.is_empty()) {
        return absolute(Path::new(&home));
    }
    std::env::home_dir()
        .map(|home| home.join(".phala"))
        .ok_or_else(|| CliError::environment("there is no home folder").with_hint("set PHALA_HOME"))
}

/// Where what can be made again is kept: `$XDG_CACHE_HOME/phala`, or `~/.cache/phala`; none where there is no home.
pub fn cache() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    Some(named.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("phala"))
}

/// The path with the present folder before it, links and dots left alone.
pub fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(io("find", path))
}

/// The network that was started last.
pub fn last_network() -> Result<Option<PathBuf>, CliError> {
    let file = folder()?.join("last");
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(PathBuf::from(text.trim()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", &file)(error)),
    }
}

/// Makes `folder` the network that was started last.
pub fn remember(network: &Path) -> Result<(), CliError> {
    let home = folder()?;
    fs::create_dir_all(&home).map_err(io("make", &home))?;
    write_whole(&home.join("last"), network.display().to_string().as_bytes())
}

/// Writes a file so that a reader sees all of it or what was there before, also after a power cut.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    replace(path, bytes, 0o666)
}

/// The same, for what nobody but its owner may read.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    replace(path, bytes, 0o600)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CliError> {
    let (mut file, partial) = aside(path, mode)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", &partial));
    let written = written.and_then(|()| fs::rename(&partial, path).map_err(io("write", path)));
    if written.is_err() {
        let _ = fs::remove_file(&partial);
        return written;
    }
    // Only the folder knows the new name: without it a power cut brings the old content back.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync", folder))
}

/// Whether [`write_private`] can write at `path` what a user names, found out by what that does: a file beside it, in its folder. Leaves
/// nothing there that was not there before.
pub fn check_writable(path: &Path) -> Result<(), CliError> {
    check_regular(path)?;
    let (_, partial) = aside(path, 0o600)?;
    fs::remove_file(&partial).map_err(io("remove", &partial))
}

/// Refuses a path at which there is something else than a regular file: a device, a pipe, a link or a folder is not written to but
/// replaced, which nobody wants who names it.
pub fn check_regular(path: &Path) -> Result<(), CliError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(CliError::invalid(format!("{} is there, and is no regular file", path.display()))
            .with_hint("name a file, or one that is not there yet")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// A new file beside `path`. Its name cannot be guessed, and is not used if it is there: whoever may write to the folder could have
/// put a link in its place, and have us write through it.
fn aside(path: &Path, mode: u32) -> Result<(File, PathBuf), CliError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}", suffix()?));
        let partial = PathBuf::from(partial);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial) {
            Ok(file) => return Ok((file, partial)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && attempt < NAMES => {}
            Err(error) => return Err(io("write", &partial)(error)),
        }
    }
}

fn suffix() -> Result<String, CliError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| CliError::environment(format!("the system has no entropy: {error}")))?;
    Ok(hex::encode(bytes))
}

/// Makes a folder that is its owner's alone, and those above it, unless it is there; one that others may enter is closed to them.
/// A link in its place, or a folder of somebody else's, or one that others could have written to, is an error.
pub fn private_folder(folder: &Path) -> Result<(), CliError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io("make", folder))?;
    let found = fs::symlink_metadata(folder).map_err(io("read", folder))?;
    if !found.is_dir() || !is_ours(&found) || found.mode() & 0o022 != 0 {
        return Err(not_private(folder));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io("close", folder))?;
    }
    Ok(())
}

/// The content of a private file, up to `limit` bytes and one more if it is longer; nothing if there is none. A link, or a file that is
/// somebody else's or that others may read or write, is an error.
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CliError> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(no_follow.bits()).map_err(|_| not_private(path))?;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(_) if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) => return Err(not_private(path)),
        Err(error) => return Err(io("open", path)(error)),
    };
    // Of the file that is open, and not of whatever has its name by now.
    let found = file.metadata().map_err(io("read", path))?;
    if !found.is_file() || !is_ours(&found) || found.mode() & 0o077 != 0 {
        return Err(not_private(path));
    }
    // At once as large as it becomes: a vector that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(usize::try_from(found.len().min(limit)).unwrap_or_default().saturating_add(1));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io("read", path))?;
    Ok(Some(bytes))
}

fn is_ours(found: &fs::Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw()
}

fn not_private(path: &Path) -> CliError {
    let message = format!("{} is a link, or others than its owner may use it, or it is not yours", path.display());
    CliError::new(ErrorCode::Refused, message).with_hint(
        "see who put it there; then move it away, or give it to yourself with mode 0700 (a folder) or 0600 (a file)",
    )
}

/// Folders in which programs that belong to this one may lie.
pub fn program_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    // As it was called: `./bin/phala` is a link, and what belongs to it lies beside the link.
    let called = std::env::args_os().next().map(PathBuf::from);
    match called {
        Some(called) if called.components().count() > 1 => {
            folders.extend(absolute(&called).ok().and_then(|path| path.parent().map(Path::to_path_buf)));
        }
        Some(called) => folders.extend(
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .find(|folder| folder.join(&called).is_file()),
        ),
        None => {}
    }
    folders.extend(std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf)));
    folders
}

/// A program that belongs to this one.
pub fn program(name: &str) -> Result<PathBuf, CliError> {
    program_folders().into_iter().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        CliError::environment(format!("`{name}` is not beside this program"))
            .with_hint("./scripts/build makes it and links it into ./bin")
    })
}

/// How to call this program again from any folder, for text that people paste.
pub fn called() -> String {
    pasted(&std::env::args_os().next().map_or_else(|| "phala".into(), PathBuf::from))
}

/// A bare name is found by `PATH` anywhere; a path that starts where we are is not.
fn pasted(called: &Path) -> String {
    let is_path = called.as_os_str().as_encoded_bytes().contains(&b'/');
    let whole = if is_path { absolute(called).ok() } else { None };
    whole.as_deref().unwrap_or(called).display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn looking_whether_a_file_can_be_written_finds_out_what_writing_it_would() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.json");
        let listed = |folder: &Path| fs::read_dir(folder).unwrap().count();
        check_writable(&path).unwrap();
        assert_eq!(listed(folder.path()), 0);
        fs::write(&path, "an older receipt").unwrap();
        check_writable(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "an older receipt");
        assert_eq!(check_writable(&folder.path().join("missing/receipt.json")).unwrap_err().code.as_str(), "not_found");

        // What is no regular file stays what it is.
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for special in [folder.path(), link.as_path(), socket.as_path(), Path::new("/dev/null")] {
            for check in [check_writable, check_regular] {
                let refused = check(special).unwrap_err();
                assert_eq!((refused.code.as_str(), refused.exit_code()), ("invalid", 2), "{}", special.display());
            }
        }
        assert_eq!(listed(folder.path()), 3, "the receipt, the link and the socket");

        // A file that can be appended to, in a folder in which it cannot be replaced. To root every folder is writable.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let checked = check_writable(&path);
        assert_eq!(checked.is_ok(), write_private(&path, b"a newer receipt").is_ok());
        assert!(checked.is_ok() == rustix::process::geteuid().is_root(), "{checked:?}");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        write_whole(&file, b"one").unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // Neither does what fails.
        let taken = folder.path().join("folder");
        fs::create_dir(&taken).unwrap();
        write_whole(&taken, b"three").unwrap_err();
        write_whole(&folder.path().join("missing/file"), b"three").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_private_is_its_owners_alone_and_no_planted_name_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (secret, victim) = (folder.path().join("secret"), folder.path().join("victim"));
        fs::write(&victim, b"untouched").unwrap();
        // The names of earlier versions, and the file's own.
        for name in [format!("secret.{}", std::process::id()), "secret.new".to_owned(), "secret".to_owned()] {
            symlink(&victim, folder.path().join(name)).unwrap();
        }
        assert_eq!(read_private(&secret, 100).unwrap_err().code.as_str(), "refused", "a link is not read");
        write_private(&secret, b"secret").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert_eq!((mode(&secret), read_private(&secret, 100).unwrap().unwrap()), (0o600, b"secret".to_vec()));
        assert_eq!(
            read_private(&secret, 2).unwrap().unwrap(),
            b"sec",
            "one more than the limit tells that it is longer"
        );
        assert_eq!(read_private(&folder.path().join("none"), 100).unwrap(), None);
        // One that others may read does not become private by being replaced in part, and is not read as such.
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_private(&secret, 100).unwrap_err().code.as_str(), "refused");
        write_private(&secret, b"again").unwrap();
        assert_eq!(mode(&secret), 0o600);
    }

    #[test]
    fn a_private_folder_is_closed_to_others_or_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        private_folder(&folder).unwrap();
        assert_eq!((mode(&folder), mode(&parent.path().join("a"))), (0o700, 0o700));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        private_folder(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        assert_eq!(private_folder(&folder).unwrap_err().code.as_str(), "refused", "others could have written to it");
        let link = parent.path().join("link");
        symlink(parent.path().join("a"), &link).unwrap();
        assert_eq!(private_folder(&link).unwrap_err().code.as_str(), "refused");
    }

    #[test]
    fn printed_commands_work_from_any_folder() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(pasted(Path::new("phala")), "phala");
        assert_eq!(pasted(Path::new("./bin/phala")), here.join("bin/phala").display().to_string());
        assert_eq!(pasted(Path::new("./phala")), here.join("phala").display().to_string());
        assert_eq!(pasted(Path::new("/opt/bin/phala")), "/opt/bin/phala");
    }

    #[test]
    fn a_program_that_is_missing_says_how_to_get_it() {
        let error = program("no-such-program").unwrap_err();
        assert_eq!((error.code.as_str(), error.exit_code()), ("environment", 9));
        assert!(error.hint.unwrap().contains("scripts/build"));
    }
}
