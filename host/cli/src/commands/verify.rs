//! `phala verify`: judges a receipt offline, and says which link does not hold.

use crate::{
    args::{Global, VerifyArgs},
    error::{io, CliError, Code},
    network::{self, Selected},
    output::{assurance, assurance_line, line, Output},
};
use phala_client::{
    receipt::MAX_RECEIPT_BYTES,
    verify::{verify_now, Verdict, LINKS},
    ClientError, ErrorCode, Receipt,
};
use phala_protocol::{attestation::Assurance, Hash};
use serde_json::json;

/// Runs `phala verify`.
pub fn run(global: &Global, args: &VerifyArgs, output: Output) -> Result<(), CliError> {
    let path = &args.receipt;
    let length = std::fs::metadata(path).map_err(io("read", path))?.len();
    if length > MAX_RECEIPT_BYTES as u64 {
        return Err(CliError::invalid(format!("{} is no receipt: it has {length} bytes", path.display()))
            .with_hint("a receipt is the file that `phala contract call --receipt FILE` writes"));
    }
    let bytes = std::fs::read(path).map_err(io("read", path))?;
    let receipt = Receipt::from_json(&bytes).map_err(ClientError::from)?;
    let verdict = verify_now(&receipt, &pinned(global, args.genesis.as_deref(), "the receipt")?)?;
    judge(&verdict, Allowed { simulated: args.allow_simulated, unknown_bans: args.allow_unknown_bans }, output)
}

/// The genesis that the user trusts: named, or that of the network's file. Never the word of `what` is verified.
pub fn pinned(global: &Global, named: Option<&str>, what: &str) -> Result<Hash, CliError> {
    if let Some(text) = named {
        return network::hash(text).ok_or_else(|| {
            CliError::invalid(format!("`{text}` is no genesis hash: 0x and 64 digits"))
                .with_hint("network.json has it; take it from somebody whom you trust to know the chain")
        });
    }
    match network::select(global) {
        Ok(Selected::File(file)) => Ok(file.pin()?.genesis),
        Ok(Selected::Url(_)) => Err(CliError::invalid(format!("which chain has {what} to be of?"))
            .with_hint("name its genesis hash with --genesis: a node's word does not verify anything")),
        Err(error) if error.code == Code::Client(ErrorCode::NotFound) => {
            Err(error.with_hint("name the chain's genesis hash with --genesis, or a network's folder with --network"))
        }
        Err(error) => Err(error),
    }
}

/// What the user takes a receipt with.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    /// INSECURE: evidence that proves nothing.
    simulated: bool,
    /// Workers of whom the receipt does not say whether they were shut out.
    unknown_bans: bool,
}

fn judge(verdict: &Verdict, allowed: Allowed, output: Output) -> Result<(), CliError> {
    let details = json!({
        "holds": verdict.holds(),
        "simulated": verdict.simulated,
        // What a receipt that does not hold rests on is not known.
        "assurance": verdict.holds().then(|| assurance(vouched(verdict))),
        // Whether a worker that signed was revoked or suspended: a receipt may leave that open.
        "bans": verdict.holds().then_some(if verdict.bans_unknown { "unknown" } else { "none" }),
        "links": verdict.links,
    });
    let error = match verdict.failed() {
        Some(failed) => {
            let code = verdict.code().unwrap_or(ErrorCode::Unverified);
            let message = format!("the link `{}` does not hold: {}", failed.name, failed.detail);
            Some(
                CliError::new(code, message)
                    .with_hint("the receipt proves nothing: ask whoever gave it to you for another"),
            )
        }
        None if !verdict.holds() => Some(CliError::new(ErrorCode::Internal, "not all links were checked")),
        None if verdict.simulated && !allowed.simulated => Some(
            CliError::new(Code::Simulated, "every link holds, on INSECURE simulated evidence: nothing is proved")
                .with_hint("--allow-simulated accepts it, on development networks"),
        ),
        None if verdict.bans_unknown && !allowed.unknown_bans => Some(
            CliError::new(
                Code::BansUnknown,
                "every link holds, and the receipt leaves out whether a worker that signed was revoked or suspended",
            )
            .with_hint("whoever made it left that out: ask for a whole one; --allow-unknown-bans accepts it as it is"),
        ),
        None => None,
    };
    if !output.is_json() {
        line(&report(verdict));
    }
    match error {
        Some(mut error) => {
            if let serde_json::Value::Object(details) = details {
                error.details = details;
            }
            Err(error)
        }
        None => {
            if output.is_json() {
                output.data(&details, String::new);
            }
            Ok(())
        }
    }
}

fn vouched(verdict: &Verdict) -> Assurance {
    if verdict.simulated {
        Assurance::Simulated
    } else {
        Assurance::Hardware
    }
}

/// One line for each link, in order; those after one that fails were not looked at.
fn report(verdict: &Verdict) -> String {
    let mut lines: Vec<String> = verdict
        .links
        .iter()
        .map(|link| format!("{:<6}  {:<24}  {}", if link.ok { "ok" } else { "FAILED" }, link.name, link.detail))
        .collect();
    lines.extend(LINKS.iter().skip(verdict.links.len()).map(|name| format!("-       {name:<24}  not checked")));
    if verdict.holds() && verdict.bans_unknown {
        lines.push(
            "bans: unknown (whether a worker that signed was revoked or suspended is not in the receipt)".to_owned(),
        );
    }
    if verdict.holds() || verdict.simulated {
        lines.push(assurance_line(vouched(verdict)).to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_client::verify::Link;

    fn verdict(failing: Option<usize>, simulated: bool) -> Verdict {
        let count = failing.map_or(LINKS.len(), |index| index + 1);
        let links = LINKS.iter().enumerate().take(count).map(|(index, name)| Link {
            name,
            ok: failing != Some(index),
            detail: format!("detail {index}"),
        });
        Verdict { links: links.collect(), simulated, bans_unknown: false }
    }

    const NOTHING: Allowed = Allowed { simulated: false, unknown_bans: false };
    const SIMULATED: Allowed = Allowed { simulated: true, ..NOTHING };

    #[test]
    fn only_every_link_on_hardware_with_bans_known_exits_with_zero() {
        let output = Output::new(false);
        assert!(judge(&verdict(None, false), NOTHING, output).is_ok());
        assert!(judge(&verdict(None, true), SIMULATED, output).is_ok());
        let simulated = judge(&verdict(None, true), NOTHING, output).unwrap_err();
        assert_eq!((simulated.code, simulated.exit_code()), (Code::Simulated, 8));
        assert_eq!(simulated.details["holds"], true);
        assert_eq!(simulated.details["assurance"], "simulated");
        assert_eq!(simulated.details["bans"], "none");
        let failed = judge(&verdict(Some(4), true), SIMULATED, output).unwrap_err();
        assert_eq!((failed.code.as_str(), failed.exit_code()), ("unattested", 7));
        assert!(failed.message.contains("evidence and root"));
        assert_eq!(judge(&verdict(Some(9), false), SIMULATED, output).unwrap_err().code.as_str(), "unverified");
        let open = |simulated| Verdict { bans_unknown: true, ..verdict(None, simulated) };
        for (simulated, allowed) in [(false, NOTHING), (true, SIMULATED)] {
            let unknown = judge(&open(simulated), allowed, output).unwrap_err();
            assert_eq!((unknown.code, unknown.exit_code()), (Code::BansUnknown, 10));
            assert_eq!(unknown.details["bans"], "unknown");
            assert!(unknown.hint.unwrap().contains("--allow-unknown-bans"));
            let allowed = Allowed { unknown_bans: true, ..allowed };
            assert!(judge(&open(simulated), allowed, output).is_ok());
            // Of what does not hold nothing is forgiven by it.
            assert_eq!(judge(&verdict(Some(4), simulated), allowed, output).unwrap_err().exit_code(), 7);
        }
        let allowed = Allowed { unknown_bans: true, ..NOTHING };
        assert_eq!(judge(&open(true), allowed, output).unwrap_err().code, Code::Simulated);
        let cut = Verdict { links: Vec::new(), simulated: false, bans_unknown: false };
        assert_eq!(judge(&cut, SIMULATED, output).unwrap_err().exit_code(), 1);
    }

    #[test]
    fn the_report_names_all_links_in_order_and_the_one_that_fails() {
        let text = report(&verdict(Some(2), true));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), LINKS.len() + 1);
        for (line, name) in lines.iter().zip(LINKS) {
            assert!(line.contains(name));
        }
        assert!(lines[1].starts_with("ok") && lines[2].starts_with("FAILED") && lines[3].contains("not checked"));
        assert!(lines[10].starts_with("assurance: simulated (INSECURE"));
        let hardware = report(&verdict(None, false));
        assert_eq!(hardware.lines().last(), Some("assurance: hardware"));
        assert!(!hardware.contains("bans:"));
        let open = Verdict { bans_unknown: true, ..verdict(None, true) };
        assert!(report(&open).contains("bans: unknown"));
        assert_eq!(judge(&open, NOTHING, Output::new(true)).unwrap_err().details["bans"], "unknown");
        assert!(!report(&verdict(Some(2), false)).contains("assurance"), "of what does not hold, nothing is known");
    }
}
