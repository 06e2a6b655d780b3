//! What is kept of a measurement: `measured.json` beside this crate, and the bodies of the pallets' weights.
//!
//! A run of some functions only replaces what is kept of these, so that each state says of which commit and machine it is. Nothing is written
//! before all of it was rendered.

use crate::{
    case::{Case, Point},
    fit::Sample,
    fitted, sources, Measured,
};
use anyhow::{Context, Result};
use serde_json::{json, Value};
use std::{path::PathBuf, process::Command};

/// One state, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) pallet: String,
    pub(crate) function: String,
    pub(crate) state: String,
    pub(crate) sample: Sample,
    /// The commit that was measured, `-dirty` where files differed from it.
    commit: Option<String>,
    /// The processor.
    machine: Option<String>,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("measured.json")
}

/// What is kept.
pub(crate) fn read() -> Result<Vec<Kept>> {
    let text = std::fs::read_to_string(path()).context("measured.json")?;
    let value: Value = serde_json::from_str(&text).context("measured.json")?;
    let points = value.get("points").and_then(Value::as_array).context("measured.json has no points")?;
    points.iter().map(|point| kept(point).with_context(|| format!("measured.json: {point}"))).collect()
}

fn kept(point: &Value) -> Result<Kept> {
    let text = |name: &str| point.get(name).and_then(Value::as_str).map(str::to_owned).with_context(|| name.to_owned());
    let number = |name: &str| point.get(name).and_then(Value::as_u64).with_context(|| name.to_owned());
    let of = |name: &str| point.get(name).and_then(Value::as_str).map(str::to_owned);
    let at = point.get("at").and_then(Value::as_array).context("at")?;
    let at = at
        .iter()
        .map(|number| number.as_u64().and_then(|number| u32::try_from(number).ok()).context("at"))
        .collect::<Result<Vec<_>>>()?;
    let sample = Sample {
        at,
        nanoseconds: number("nanoseconds")?,
        proof: number("proof_bytes")?,
        reads: number("reads")?,
        writes: number("writes")?,
    };
    let (commit, machine) = (of("commit"), of("machine"));
    Ok(Kept { pallet: text("pallet")?, function: text("function")?, state: text("state")?, sample, commit, machine })
}

/// Rewrites the weights of these functions from what is kept of all their states.
pub(crate) fn refit(cases: &[Case]) -> Result<()> {
    let kept = read()?;
    let of = |case: &Case, state: &str| {
        let is_it = |kept: &&Kept| kept.pallet == case.pallet && kept.function == case.function && kept.state == state;
        kept.iter().find(is_it).map(|kept| kept.sample.clone())
    };
    let samples = |case: &Case| {
        let one = |point: &Point| Some((point.label, of(case, point.label)?));
        case.points.iter().map(one).collect::<Option<Vec<_>>>()
    };
    let measured: Vec<Measured> = cases.iter().filter_map(|case| Some((case, samples(case)?))).collect();
    put(weights(&measured)?)
}

/// Rewrites the weights of what was measured, and keeps the measurement, whose times were multiplied by `slower`.
pub(crate) fn write(measured: &[Measured], slower: f64) -> Result<()> {
    let mut files = weights(measured)?;
    let mut points: Vec<Kept> = read()?;
    let is_of = |kept: &Kept, case: &Case| kept.pallet == case.pallet && kept.function == case.function;
    points.retain(|kept| !measured.iter().any(|(case, _)| is_of(kept, case)));
    let multiplied = |machine: String| if slower > 1.0 { format!("{machine}, times x {slower:.2}") } else { machine };
    let (commit, machine) = (commit(), machine().map(multiplied));
    for (case, samples) in measured {
        points.extend(samples.iter().map(|(state, sample)| Kept {
            pallet: case.pallet.to_owned(),
            function: case.function.to_owned(),
            state: (*state).to_owned(),
            sample: sample.clone(),
            commit: commit.clone(),
            machine: machine.clone(),
        }));
    }
    files.push((path(), rendered(&points)?));
    put(files)
}

fn put(files: Vec<(PathBuf, String)>) -> Result<()> {
    for (path, text) in files {
        eprintln!("writes {}", path.display());
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    eprintln!("then: cargo fmt --all, and read what changed");
    Ok(())
}

/// The files of weights with the functions of what was measured.
fn weights(measured: &[Measured]) -> Result<Vec<(PathBuf, String)>> {
    let mut files = Vec::new();
    for pallet in sources::PALLETS {
        let path = sources::path(pallet);
        let before = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let functions = sources::functions(&before)?;
        let mut after = before.clone();
        for (case, samples) in measured.iter().filter(|(case, _)| case.pallet == pallet) {
            let declared = functions.iter().find(|function| function.name == case.function);
            let parameters = &declared.with_context(|| format!("{pallet} has no weight {}", case.function))?.parameters;
            let states: Vec<&str> = samples.iter().map(|(state, _)| *state).collect();
            let note = format!("Measured: {}.", states.join("; "));
            let rendered = fitted(samples, parameters.len())
                .with_context(|| format!("{pallet}.{}", case.function))?
                .render(parameters, &note);
            after = sources::with_body(&after, case.function, &rendered)?;
        }
        if after != before {
            files.push((path, sources::without_unused(&after)?));
        }
    }
    Ok(files)
}

fn rendered(points: &[Kept]) -> Result<String> {
    let points: Vec<Value> = points
        .iter()
        .map(|Kept { pallet, function, state, sample, commit, machine }| {
            json!({
                "pallet": pallet,
                "function": function,
                "state": state,
                "at": sample.at,
                "nanoseconds": sample.nanoseconds,
                "reads": sample.reads,
                "writes": sample.writes,
                "proof_bytes": sample.proof,
                "commit": commit,
                "machine": machine,
            })
        })
        .collect();
    let whole = json!({ "points": points });
    Ok(format!("{}\n", serde_json::to_string_pretty(&whole)?))
}

/// The commit that was measured, if git says so.
fn commit() -> Option<String> {
    // No tag is looked at: what is left is the commit itself.
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The processor, if the system says so.
fn machine() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_is_kept_with_its_own_commit_and_machine() {
        let sample = Sample { at: vec![1, 2], nanoseconds: 3, proof: 4, reads: 5, writes: 6 };
        let of = |commit: Option<&str>| Kept {
            pallet: "inbox".to_owned(),
            function: "push".to_owned(),
            state: "one small".to_owned(),
            sample: sample.clone(),
            commit: commit.map(str::to_owned),
            machine: Some("a processor".to_owned()),
        };
        let points = [of(Some("0123abc")), of(Some("4567def-dirty")), of(None)];
        let value: Value = serde_json::from_str(&rendered(&points).unwrap()).unwrap();
        let read: Vec<Kept> = value["points"].as_array().unwrap().iter().map(|point| kept(point).unwrap()).collect();
        assert_eq!(read, points);
    }
}
