//! `phala contract new`: a folder with a contract to start from, and the SDK beside it.
//!
//! Template and SDK are inside this program, so that the folder builds anywhere, without network and without our repository.

use crate::{
    error::{io, CliError},
    home,
    output::Output,
};
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

macro_rules! files {
    ($($to:literal from $from:literal),* $(,)?) => {
        &[$(($to, include_str!(concat!("../../../../../contracts/", $from)))),*]
    };
}

/// What is written, and its text; `{{name}}` stands for the contract's name.
const FILES: &[(&str, &str)] = files![
    "Cargo.toml" from "template/Cargo.toml.in",
    ".cargo/config.toml" from "template/.cargo/config.toml.in",
    ".gitignore" from "template/gitignore.in",
    "src/lib.rs" from "template/src/lib.rs.in",
    "src/tests.rs" from "template/src/tests.rs.in",
    "phala-sdk/Cargo.toml" from "sdk/Cargo.toml",
    "phala-sdk/src/blake2b.rs" from "sdk/src/blake2b.rs",
    "phala-sdk/src/codec.rs" from "sdk/src/codec.rs",
    "phala-sdk/src/contract.rs" from "sdk/src/contract.rs",
    "phala-sdk/src/env.rs" from "sdk/src/env.rs",
    "phala-sdk/src/guest.rs" from "sdk/src/guest.rs",
    "phala-sdk/src/identifier.rs" from "sdk/src/identifier.rs",
    "phala-sdk/src/lib.rs" from "sdk/src/lib.rs",
    "phala-sdk/src/metadata.rs" from "sdk/src/metadata.rs",
    "phala-sdk/src/storage.rs" from "sdk/src/storage.rs",
    "phala-sdk/src/testing.rs" from "sdk/src/testing.rs",
    "phala-sdk/src/types.rs" from "sdk/src/types.rs",
];

/// Names that cargo refuses, or that would hide the SDK's crate.
const TAKEN: [&str; 6] = ["test", "core", "std", "alloc", "phala-sdk", "build"];

/// Runs `phala contract new`.
pub fn run(name: &str, output: Output) -> Result<(), CliError> {
    let folder = home::absolute(Path::new(name))?;
    write(&folder, name)?;
    output.data(&json!({"folder": folder, "name": name}), || {
        let phala = home::called();
        format!(
            "made {name}/: the contract is src/lib.rs\n\nGo on:\n  cd {name}\n  cargo test\n  {phala} contract build\n  \
             {phala} contract deploy target/{}.wasm --from alice",
            name.replace('-', "_")
        )
    });
    Ok(())
}

/// Writes the contract `name` into `folder`, which must not exist.
fn write(folder: &Path, name: &str) -> Result<(), CliError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !starts || name.len() > 64 || !name.bytes().all(plain) || TAKEN.contains(&name) {
        return Err(CliError::invalid(format!("`{name}` is no name for a contract"))
            .with_hint("use lower-case letters, digits, - and _, a letter first"));
    }
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(
                CliError::invalid(format!("{} exists already", folder.display())).with_hint("choose another name")
            )
        }
        Err(error) => return Err(io("make", folder)(error)),
    }
    for (to, text) in FILES {
        let path: PathBuf = folder.join(to);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io("make", parent))?;
        }
        fs::write(&path, text.replace("{{name}}", name)).map_err(io("write", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::commands::contract::{build, toolchain::Toolchain};
    use phala_client::Metadata;

    #[test]
    fn every_file_of_the_sdk_is_inside() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/sdk/src");
        let mut there: Vec<String> = fs::read_dir(sources)
            .unwrap()
            .map(|file| format!("phala-sdk/src/{}", file.unwrap().file_name().to_str().unwrap()))
            .collect();
        there.sort();
        let inside: Vec<&str> = FILES.iter().map(|(to, _)| *to).filter(|to| to.starts_with("phala-sdk/src/")).collect();
        assert_eq!(inside, there);
    }

    #[test]
    fn refuses_names_that_are_paths_and_folders_that_exist() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "../x", "Notes", "1st", "a b", "core", "phala-sdk"] {
            assert!(write(&folder.path().join("new"), name).is_err(), "{name}");
        }
        assert!(!folder.path().join("new").exists());
        assert!(write(folder.path(), "notes").unwrap_err().message.contains("exists"));
    }

    #[tokio::test]
    async fn a_new_contract_builds_without_network_and_describes_itself() {
        let folder = tempfile::tempdir().unwrap();
        let contract = folder.path().join("my-notes");
        write(&contract, "my-notes").unwrap();
        assert!(fs::read_to_string(contract.join("Cargo.toml")).unwrap().contains("name = \"my-notes\""));
        // Machines without the target are told so by `phala contract build`; there is nothing to build with.
        let Ok(toolchain) = Toolchain::find().await else { return };
        let built = build::build(&contract, &toolchain).await.unwrap();
        assert_eq!(built.path, contract.join("target/my_notes.wasm"));
        let metadata = Metadata::from_wasm(&fs::read(&built.path).unwrap()).unwrap();
        assert_eq!(metadata.messages.len(), 2);
    }
}
