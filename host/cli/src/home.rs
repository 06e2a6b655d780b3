//! Where the command keeps what it keeps, and where the programs it starts are.
//!
//! `$PHALA_HOME` (`~/.phala`): `accounts/` encrypted keys, `sessions/` open sessions, `dev/` the development network, `last` the folder
//! of the network that was started last. Caches lie elsewhere ([`cache`]). Programs are looked for beside this one, as it was called and
//! as it lies on the disk.

use crate::error::{io, CliError};
use std::{
    fs,
    path::{Path, PathBuf},
};

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

/// Writes a file so that a reader sees all of it or what was there before.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}", std::process::id()));
    let partial = PathBuf::from(partial);
    fs::write(&partial, bytes).map_err(io("write", &partial))?;
    fs::rename(&partial, path).map_err(io("write", path))
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

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        write_whole(&file, b"one").unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
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
