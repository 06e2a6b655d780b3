//! `phala logs`: what the processes of a development network wrote.

use crate::{
    args::{Global, LogsArgs},
    dev::process::last_lines,
    error::{io, CliError},
    network,
    output::{line, Output},
};
use phala_client::ErrorCode;
use serde_json::json;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

/// Runs `phala logs`.
pub async fn run(global: &Global, args: &LogsArgs, output: Output) -> Result<(), CliError> {
    let folder = network::folder(global)?.join("logs");
    let logs = find(&folder, &args.role)?;
    let one = logs.len() == 1;
    for (name, path) in &logs {
        if !one && !output.is_json() {
            line(&format!("== {name}"));
        }
        for text in last_lines(path, args.lines).map_err(io("read", path))?.lines() {
            // The heading above says whose it is.
            line(&shown(name, text, true, output));
        }
    }
    if args.follow {
        follow(&logs, one, output).await?;
    }
    Ok(())
}

/// A line of a process's log, with the process's name before it unless it is the only one.
fn shown(process: &str, text: &str, one: bool, output: Output) -> String {
    match (output.is_json(), one) {
        (true, _) => json!({"process": process, "line": text}).to_string(),
        (false, true) => text.to_owned(),
        (false, false) => format!("{process} | {text}"),
    }
}

/// The logs of a role, or of one process by its whole name.
fn find(folder: &Path, role: &str) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut all: Vec<(String, PathBuf)> = std::fs::read_dir(folder)
        .map_err(io("read", folder))?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".log")?.to_owned();
            Some((name, path))
        })
        .collect();
    all.sort();
    let names: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    if let Some(index) = names.iter().position(|name| name == role) {
        all = vec![all.swap_remove(index)];
    } else {
        all.retain(|(name, _)| name.strip_prefix(role).is_some_and(|rest| rest.starts_with('-')));
    }
    if all.is_empty() {
        return Err(CliError::new(ErrorCode::NotFound, format!("there is no log of `{role}`"))
            .with_hint(format!("there are: {}", names.join(", "))));
    }
    Ok(all)
}

/// Prints what is added, until the process is ended.
async fn follow(logs: &[(String, PathBuf)], one: bool, output: Output) -> Result<(), CliError> {
    let length = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
    let mut read: Vec<u64> = logs.iter().map(|(_, path)| length(path)).collect();
    loop {
        for ((name, path), read) in logs.iter().zip(&mut read) {
            let now = length(path);
            if now == *read {
                continue;
            }
            // Shorter than before: it started anew.
            let from = if now < *read { 0 } else { *read };
            let mut file = File::open(path).map_err(io("open", path))?;
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(from))
                .and_then(|_| file.take(now - from).read_to_end(&mut bytes))
                .map_err(io("read", path))?;
            // What is not a whole line yet is read again with its end.
            bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
            *read = from + bytes.len() as u64;
            for text in String::from_utf8_lossy(&bytes).lines() {
                line(&shown(name, text, one, output));
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_line_is_an_object_of_its_own_under_json() {
        let text = "said \"so\"";
        for one in [true, false] {
            let object = shown("node-0", text, one, Output::new(true));
            assert_eq!(object.lines().count(), 1);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&object).unwrap(),
                json!({"process": "node-0", "line": text})
            );
        }
        assert_eq!(shown("node-0", text, true, Output::new(false)), text);
        assert_eq!(shown("node-0", text, false, Output::new(false)), format!("node-0 | {text}"));
    }

    #[test]
    fn a_role_has_all_of_its_processes_and_a_name_only_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["node-0", "worker-0", "worker-1", "relayer", "tee-worker-0"] {
            std::fs::write(folder.path().join(format!("{name}.log")), name).unwrap();
        }
        let names = |role| {
            let found = find(folder.path(), role).unwrap();
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("worker"), ["worker-0", "worker-1"]);
        assert_eq!(names("worker-1"), ["worker-1"]);
        assert_eq!(names("relayer"), ["relayer"]);
        assert_eq!(names("tee"), ["tee-worker-0"]);
        let error = find(folder.path(), "work").unwrap_err();
        assert_eq!(error.code.as_str(), "not_found");
        assert!(error.hint.unwrap().contains("worker-0"));
    }
}
