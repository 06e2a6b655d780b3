//! `phala attest collateral`: fetches what Intel signs about its platforms, and brings it to the chain.
//!
//! The chain judges it again; here it is judged first, so that nothing is paid for what would be refused. Whoever wrote the file
//! controls it, and can at most be refused: collateral is signed.

use crate::{
    accounts,
    args::{CollateralCommand, CollateralFetchArgs, Global},
    error::CliError,
    evidence::{date, now, read_collateral},
    home, network,
    output::{assurance, assurance_line, Output},
};
use codec::Encode;
use phala_attest::{verify_collateral, Collateral, DevelopmentGenesis, TrustAnchor, Vendor, VerifiedCollateral};
use phala_client::{
    chain::{map_key, ChainCall},
    ClientError, ErrorCode, Until,
};
use phala_protocol::{attestation::Assurance, ids::to_hex, Hash};
use phala_relayer::provisioning::{PckAuthority, Service, ServiceError, Wanted};
use serde_json::json;
use std::path::Path;

/// Runs `phala attest collateral`.
pub async fn run(global: &Global, command: CollateralCommand, output: Output) -> Result<(), CliError> {
    match command {
        CollateralCommand::Fetch(args) => fetch(&args, output).await,
        CollateralCommand::Import { file, from } => import(global, &file, &from, output).await,
    }
}

async fn fetch(args: &CollateralFetchArgs, output: Output) -> Result<(), CliError> {
    let service = Service::new(&args.pccs, args.ca_certificate.as_deref()).map_err(unusable)?;
    let collateral = service.collateral(&wanted(args)?).await?;
    let verified = verify(&collateral, None, now())?;
    home::write_whole(&args.out, &collateral.encode())?;
    let json = json!({
        "file": args.out,
        "fmspc": to_hex(&verified.fmspc()),
        "issued": verified.issued(),
        "tcb_evaluation_number": verified.tcb_evaluation_number(),
        "valid_until": verified.valid_until(),
    });
    output.data(&json, || {
        format!(
            "wrote {}: model {}, issued {}, valid until {}",
            args.out.display(),
            to_hex(&verified.fmspc()),
            date(verified.issued()),
            date(verified.valid_until())
        )
    });
    Ok(())
}

/// The machine's fault, where it has no authority that could vouch for a service; else that of the command line.
fn unusable(error: ServiceError) -> CliError {
    match error {
        ServiceError::NoAuthority => CliError::environment(error.to_string())
            .with_hint("install the package ca-certificates, or name one with --ca-certificate FILE"),
        ServiceError::Client(error) => error.into(),
    }
}

/// What the arguments ask a service for.
fn wanted(args: &CollateralFetchArgs) -> Result<Wanted, CliError> {
    let mut fmspc = [0; 6];
    hex::decode_to_slice(&args.fmspc, &mut fmspc)
        .map_err(|error| CliError::invalid(format!("the model is not 12 hexadecimal digits: {error}")))?;
    let vendor = if args.tee == "sgx" { Vendor::IntelSgx } else { Vendor::IntelTdx };
    let authority = if args.ca == "processor" { PckAuthority::Processor } else { PckAuthority::Platform };
    Ok(Wanted { vendor, fmspc, authority })
}

async fn import(global: &Global, file: &Path, from: &str, output: Output) -> Result<(), CliError> {
    let collateral = read_collateral(file)?;
    let connected = network::connect(global).await?;
    let chain = connected.network.chain();
    // Of a bare node it is not known whether its chain is marked; the chain itself knows.
    let may_be_development = connected.file.as_ref().is_none_or(|file| file.insecure);
    let verified = verify(&collateral, may_be_development.then_some(chain.genesis()), now())?;
    let found = match verified.root().assurance() {
        phala_attest::Assurance::Hardware => Assurance::Hardware,
        phala_attest::Assurance::Simulated => Assurance::Simulated,
    };
    let there: Option<VerifiedCollateral> =
        chain.storage(&map_key("Attestation", "Collaterals", &verified.model().encode()), None).await?;
    let block = if there.is_some_and(|there| there.parts_issued() == verified.parts_issued()) {
        None
    } else {
        let account = accounts::signer(global, &connected.network, from).await?;
        let call = ChainCall::submit_collateral(collateral.encode());
        Some(chain.submit(&account, &call, Until::Finalised).await.map_err(ClientError::from)?.block)
    };
    let json = json!({
        "assurance": assurance(found),
        "block": block,
        "fmspc": to_hex(&verified.fmspc()),
        "issued": verified.issued(),
        "tcb_evaluation_number": verified.tcb_evaluation_number(),
        "valid_until": verified.valid_until(),
    });
    output.data(&json, || {
        let done = match block {
            Some(block) => format!("renewed in block {block}"),
            None => "nothing to do: the chain has the same, or newer".to_owned(),
        };
        format!(
            "{done}: model {}, issued {}, valid until {}\n{}",
            to_hex(&verified.fmspc()),
            date(verified.issued()),
            date(verified.valid_until()),
            assurance_line(found)
        )
    });
    Ok(())
}

/// Judges collateral as the chain will. `development` is the genesis of a chain that may be marked as a development one.
fn verify(collateral: &Collateral, development: Option<&Hash>, now: u64) -> Result<VerifiedCollateral, CliError> {
    let intel = match verify_collateral(collateral, &TrustAnchor::Intel, now) {
        Ok(verified) => return Ok(verified),
        Err(refusal) => CliError::new(ErrorCode::Unattested, format!("the collateral does not hold: {refusal}"))
            .with_hint("`phala attest verify` shows every check; fetch it again if it has expired"),
    };
    let token = development.and_then(|genesis| DevelopmentGenesis::for_genesis(*genesis, &[*genesis]));
    let anchor = token.map(TrustAnchor::InsecureDevelopment);
    anchor.and_then(|anchor| verify_collateral(collateral, &anchor, now).ok()).ok_or(intel)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::evidence;
    use phala_insecure_tee::InsecureMachine;

    const COLLATERAL: &[u8] = include_bytes!("../../../../../testing/vectors/attest/tdx_v4.collateral.json");
    /// A day after it was issued.
    const THEN: u64 = 1_750_414_563;

    #[test]
    fn a_service_is_asked_for_what_the_arguments_name() {
        let args = |tee: &str, ca: &str| CollateralFetchArgs {
            pccs: String::new(),
            ca_certificate: None,
            fmspc: "B0C06F000000".to_owned(),
            ca: ca.to_owned(),
            tee: tee.to_owned(),
            out: "unused".into(),
        };
        let fmspc = [0xb0, 0xc0, 0x6f, 0, 0, 0];
        for (tee, vendor) in [("tdx", Vendor::IntelTdx), ("sgx", Vendor::IntelSgx)] {
            for (ca, authority) in [("platform", PckAuthority::Platform), ("processor", PckAuthority::Processor)] {
                assert_eq!(wanted(&args(tee, ca)).unwrap(), Wanted { vendor, fmspc, authority });
            }
        }
    }

    #[test]
    fn only_what_the_chain_would_take_is_submitted() {
        let genuine = evidence::collateral(COLLATERAL).unwrap();
        assert_eq!(verify(&genuine, None, THEN).unwrap().fmspc(), [0xb0, 0xc0, 0x6f, 0, 0, 0]);
        let expired = verify(&genuine, None, THEN + 60 * 86_400).unwrap_err();
        assert_eq!((expired.code.as_str(), expired.exit_code()), ("unattested", 7));
        assert!(expired.message.contains("expired"), "{}", expired.message);
        // INSECURE: simulated collateral counts on a chain that is marked, and nowhere else.
        let simulated = InsecureMachine::new("machine", b"program", THEN).unwrap().collateral().clone();
        assert!(verify(&simulated, Some(&[1; 32]), THEN).is_ok());
        assert!(verify(&simulated, None, THEN).is_err());
    }
}
