//! `phala gatekeeper suspend`: has the operator's own TEE sign this seat's part of a suspension.
//!
//! The TEE reads from its own finalised head how often the subject was suspended, and signs nothing but a suspension. What it answers is verified before
//! it is shown: that it is of this network, says what was asked for, and is signed by the gatekeeper that it names.

use crate::{
    args::{Global, SuspendArgs},
    error::{CliError, Code},
    home,
    network::{self, Connected},
    output::{note, Output},
    suspension::{self, Part, PartFile},
};
use codec::{DecodeAll, Encode};
use phala_attest::Subject;
use phala_client::{worker::WorkerEndpoint, ClientError, Deadline, ErrorCode};
use phala_crypto::signature::ed25519;
use phala_protocol::{
    brake::{SuspensionRequest, MAX_SIGNED_SUSPENSION_BYTES},
    ids::BlockNumber,
    Hash,
};
use std::time::Duration;

/// How long the TEE's relayer may take to bring what is not proved yet: a few blocks.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(1);
/// Where a gatekeeper listens for its operator unless it was told otherwise.
const USUAL: &str = "http://127.0.0.1:8001";

/// Runs `phala gatekeeper suspend`.
pub async fn run(global: &Global, args: &SuspendArgs, output: Output) -> Result<(), CliError> {
    let path = args.out.as_deref().map(home::absolute).transpose()?;
    if let Some(path) = &path {
        home::check_writable(path)?;
    }
    let connected = network::connect(global).await?;
    let head = connected.network.sync().await?.number();
    let request = SuspensionRequest { subject: args.subject, expires: last_block(args, head)? };
    let url = address(args.tee.as_deref(), &connected)?;
    let answer = ask(&WorkerEndpoint::new(&url)?, &request).await?;
    let part = verify(&answer, &request, connected.network.genesis())?;
    let file = PartFile::of(&part);
    let json = serde_json::to_value(&file)
        .map_err(|error| CliError::new(ErrorCode::Internal, format!("cannot write the part: {error}")))?;
    if let Some(path) = &path {
        home::write_whole(path, format!("{json:#}\n").as_bytes())?;
    }
    output.data(&json, || {
        let written =
            path.as_ref().map_or_else(|| format!("{json:#}"), |path| format!("written to {}", path.display()));
        format!(
            "seat {} of the root of era {} signed to suspend {} (taken until block {})\n{written}",
            part.seat,
            part.era,
            suspension::text(&part.subject),
            part.expires
        )
    });
    note(&format!(
        "every other seat has to say the same: phala gatekeeper suspend {} --until {}; then `phala brake pull FILE...`",
        suspension::text(&part.subject),
        part.expires
    ));
    Ok(())
}

fn last_block(args: &SuspendArgs, head: BlockNumber) -> Result<BlockNumber, CliError> {
    match (args.until, args.for_blocks) {
        (Some(until), None) => Ok(until),
        (None, Some(blocks)) => Ok(head.saturating_add(blocks)),
        _ => Err(CliError::new(Code::Usage, "either --until or --for says how long the signature may be used")),
    }
}

/// The TEE's operator address: what was named, else the network file's only gatekeeper, else where one usually listens.
fn address(named: Option<&str>, connected: &Connected) -> Result<String, CliError> {
    let gatekeepers = connected.file.as_ref().map(|file| file.gatekeepers.as_slice()).unwrap_or_default();
    match (named, gatekeepers) {
        (Some(name), all) => {
            let known = all.iter().find(|machine| machine.name == name);
            Ok(known.map_or_else(|| name.to_owned(), |machine| machine.operator.clone()))
        }
        (None, [only]) if !only.operator.is_empty() => Ok(only.operator.clone()),
        (None, [] | [_]) => Ok(USUAL.to_owned()),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|machine| machine.name.as_str()).collect();
            Err(CliError::new(
                Code::Usage,
                format!("the network has {} gatekeepers: whose TEE is to sign?", names.len()),
            )
            .with_hint(format!("name yours with --tee: {}, or an operator address", names.join(", "))))
        }
    }
}

/// Asks until the TEE has what it needs from its relayer.
async fn ask(endpoint: &WorkerEndpoint, request: &SuspensionRequest<Subject>) -> Result<Vec<u8>, ClientError> {
    let deadline = Deadline::after(PATIENCE);
    loop {
        match endpoint.sign_suspension(request.encode()).await {
            Err(error) if error.code == ErrorCode::Stale && !deadline.has_passed() => deadline.sleep(POLL).await,
            answered => return answered,
        }
    }
}

/// The part that was asked for, or an error that says what is wrong with the answer.
fn verify(answer: &[u8], request: &SuspensionRequest<Subject>, genesis: &Hash) -> Result<Part, CliError> {
    let wrong = |why: &str| {
        CliError::new(ErrorCode::Unverified, format!("what answers there does not sign what was asked for: {why}"))
            .with_hint("check that the address is your gatekeeper's, of this network and of this program's release")
    };
    if answer.len() > MAX_SIGNED_SUSPENSION_BYTES {
        return Err(wrong("it is too long"));
    }
    let part = Part::decode_all(&mut &*answer).map_err(|_| wrong("it is malformed"))?;
    if part.genesis != *genesis {
        return Err(wrong("it is of another chain"));
    }
    if (part.subject, part.expires) != (request.subject, request.expires) {
        return Err(wrong("it names another subject or another last block"));
    }
    ed25519::verify(&part.gatekeeper.0, &part.signing_payload(), &part.signature)
        .map_err(|_| wrong("the signature is not of the gatekeeper that it names"))?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_attest::Vendor;
    use phala_crypto::{signature::ed25519::IdentityKey, Secret};
    use phala_protocol::WorkerId;

    const GENESIS: Hash = [1; 32];
    const REQUEST: SuspensionRequest<Subject> =
        SuspensionRequest { subject: Subject::Vendor(Vendor::IntelTdx), expires: 90 };

    fn signed() -> Part {
        let key = IdentityKey::from_seed(&Secret::new([5; 32]));
        let mut part = Part {
            genesis: GENESIS,
            era: 1,
            seat: 2,
            gatekeeper: WorkerId(key.public()),
            subject: REQUEST.subject,
            sequence: 0,
            expires: REQUEST.expires,
            signature: [0; 64],
        };
        part.signature = key.sign(&part.signing_payload());
        part
    }

    #[test]
    fn an_answer_is_shown_only_if_it_is_what_was_asked_for_and_signed() {
        assert_eq!(verify(&signed().encode(), &REQUEST, &GENESIS).unwrap(), signed());
        let changed = |change: &dyn Fn(&mut Part)| {
            let mut part = signed();
            change(&mut part);
            let error = verify(&part.encode(), &REQUEST, &GENESIS).unwrap_err();
            assert_eq!(error.code.as_str(), "unverified");
            error.message
        };
        assert!(changed(&|part| part.genesis = [9; 32]).contains("another chain"));
        assert!(changed(&|part| part.subject = Subject::Vendor(Vendor::IntelSgx)).contains("another subject"));
        assert!(changed(&|part| part.expires = 91).contains("another last block"));
        assert!(changed(&|part| part.sequence = 1).contains("not of the gatekeeper"));
        assert!(changed(&|part| part.gatekeeper = WorkerId([9; 32])).contains("not of the gatekeeper"));
        let longer = [signed().encode(), vec![0]].concat();
        for malformed in [vec![], vec![0; 9], vec![0; 300], longer] {
            assert!(verify(&malformed, &REQUEST, &GENESIS).is_err());
        }
    }

    #[test]
    fn the_last_block_is_named_or_counted_from_the_head() {
        let args =
            |until, for_blocks| SuspendArgs { subject: REQUEST.subject, until, for_blocks, tee: None, out: None };
        assert_eq!(last_block(&args(Some(7), None), 100).unwrap(), 7);
        assert_eq!(last_block(&args(None, Some(7)), 100).unwrap(), 107);
        assert_eq!(last_block(&args(None, Some(7)), u32::MAX).unwrap(), u32::MAX);
        assert!(last_block(&args(None, None), 100).is_err());
    }
}
