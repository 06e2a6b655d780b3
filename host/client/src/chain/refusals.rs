//! What each refusal of the chain's pallets means to its user: a code of the closed list, and what to do.
//!
//! Guarantees: every error of the pallets of this network has words of its own; a test reads their sources. None tells to give up a store or
//! a data folder: a cluster's state and a root's shares come back from nowhere else. Errors of the framework's pallets share one hint, since
//! their names are all that is known of them here.

use crate::ErrorCode;

/// For what only its name tells.
const BY_NAME: &str =
    "the name says which rule of the chain refuses it: repeating it does not help before that has changed; `phala status` shows the chain";

/// Code and hint of a pallet's refusal.
pub(super) fn judge(pallet: &str, error: &str) -> (ErrorCode, &'static str) {
    use ErrorCode::*;
    match (pallet, error) {
        ("Inbox", "NotOpen") => (
            Busy,
            "the cluster's first epoch has not opened yet: wait for its workers, or choose another cluster",
        ),
        ("Inbox", "Closed") | ("Contracts", "ClusterClosed") => {
            (Refused, "governance has closed the cluster for good: nothing sent to it is answered; use another one")
        }
        ("Contracts", "StillOpening") => {
            (Refused, "the cluster's replicas work, or stopped less than an hour ago: nothing is lost that it could be closed for")
        }
        ("Inbox", "WrongEpoch") => (Stale, "the epoch has changed; send the command again"),
        ("Inbox", "Busy") => (
            Busy,
            "the cluster has too much work waiting; try again later. Until its last block anybody may push this one again",
        ),
        ("Inbox", "FeeOverMax") => (
            OverLimit,
            "the price has risen: allow a higher fee, or try again later. Until its last block anybody may push this one again",
        ),
        ("Inbox", "TooLong") => (OverLimit, "the message is longer than an inbox item may be"),
        ("Contracts", "NoSuchCluster") => (NotFound, "`phala status` lists the clusters"),
        ("Contracts", "NoSuchCode") => (NotFound, "upload the code first"),
        ("Contracts", "CodeExists") => (Refused, "the code is stored already; instantiate it"),
        ("Contracts", "NotWasm") => (Invalid, "the file is no WebAssembly; build it with `phala contract build`"),
        ("Contracts", "NotAWorker") | ("Attestation" | "Gatekeepers", "NotAGatekeeper") => {
            (Unattested, "register it with evidence first")
        }
        ("Gatekeepers", "NotTheOperator") => {
            (Unauthorised, "the gatekeeper's evidence names another operator: only that one's validator can have it")
        }
        ("Gatekeepers", "AlreadySeated") => {
            (Refused, "the gatekeeper is the validator's already: `phala gatekeeper status` shows it")
        }
        ("Gatekeepers", "NotSeated") => {
            (NotFound, "bind it to its validator first: `phala gatekeeper register-seat`")
        }
        ("Gatekeepers", "NotAnElector") => {
            (Unauthorised, "validators elect whose gatekeepers have seats of the root that answers: `phala gatekeeper status`")
        }
        ("Attestation", "BadCommittee") => {
            (Invalid, "a committee has three to seven members, one at least on a development network, none of them twice")
        }
        ("Gatekeepers", "Convicted") => (Refused, "it takes no seat any more: set up another gatekeeper beside it, and keep this one's data folder: it may hold shares of the root that answers"),
        ("Gatekeepers", "UnderWay" | "HandOverPending") => {
            (
                Busy,
                "`phala gatekeeper status` shows the ceremony under way, or the root that waits; `identities` one of identities",
            )
        }
        ("Gatekeepers", "TooFewSeats") => {
            (Refused, "it takes four seats, each of a validator of its own; on a development network `phala dev --gatekeepers 4`")
        }
        ("Gatekeepers", "IdentitiesUnderWay") => {
            (Busy, "identities are made or handed over: `phala gatekeeper identities` shows how far that is")
        }
        ("Gatekeepers", "IdentitiesHeld") => {
            (Refused, "the seats of the root that answers hold the identities already: `phala gatekeeper identities`")
        }
        ("Gatekeepers", "NoRoot") => {
            (NotFound, "identities are held by the seats of a root: `phala gatekeeper start` makes one")
        }
        ("Gatekeepers", "NothingToCancel") => {
            (NotFound, "there is none under way: `phala gatekeeper status` and `identities` show what is")
        }
        ("Contracts", "TooEarly" | "StillClosing") => (Busy, "the open epoch must be finished first"),
        ("Contracts", "NoBeacon") => {
            (NotFound, "the beacon has no value yet; `phala beacon latest` shows it when there is one")
        }
        ("Contracts", "TooFewEligible") => {
            (Refused, "only active workers that serve no cluster and registered before the value's period opened are drawn")
        }
        ("Contracts", "TiedDrawing") => (Busy, "draw again from the beacon's next value"),
        ("Contracts", "MoreToLookAt") => (OverLimit, "allow more registrations and clusters to be looked at"),
        ("Attestation", "NoCollateral") => (Unattested, "submit the platform's collateral first"),
        ("Attestation", "CollateralExpired" | "CollateralBelowFloor") => {
            (Stale, "fetch the platform's collateral again and submit it")
        }
        ("Attestation", "CertificateExpired") => {
            (Stale, "fetch the processor's certificate from its vendor again, then attest again")
        }
        ("Attestation", "EvaluationTooEarly") => {
            (Unattested, "governance has not let this evaluation in yet: submit the present standard collateral")
        }
        ("Attestation", "NotOnTheCommittee") => {
            (Unauthorised, "the account is not on the committee, or its term is over")
        }
        ("Attestation", "AlreadyBarred") => (Refused, "it is suspended or revoked already: `phala brake status`"),
        ("Attestation", "SignaturesExpired") => {
            (Expired, "the block that the seats named has passed: have them sign again")
        }
        ("Attestation", "SignedTooFarAhead") => (OverLimit, "have the seats name a block within a day"),
        ("Attestation", "TooFewGatekeepers") => {
            (Refused, "as many seats as can withhold a key have to sign: `phala brake pull` says whose are missing")
        }
        ("Attestation", "BrakeRests" | "Overruled") => {
            (Refused, "the brake has to rest before it can suspend this; governance can revoke it")
        }
        ("Attestation", "PlatformOutdated" | "AdvisoryForbidden") => {
            (Unattested, "update the platform's firmware and microcode, then attest again")
        }
        ("Attestation", "CollateralRefused") => {
            (Unattested, "fetch the platform's whole collateral from its vendor again and submit it")
        }
        ("Attestation", "UntrustedRoot") => (
            Unattested,
            "the chain takes the vendors' roots that its runtime has and that were not ended; simulated machines register on development networks alone",
        ),
        ("Attestation", "EvidenceMalformed") => {
            (Unattested, "have the TEE attest again, by the program of a release that this chain knows")
        }
        ("Attestation", "EvidenceRefused") => {
            (Unattested, "have the machine itself attest again: `phala worker check` says what it lacks, `phala attest` what its evidence does")
        }
        ("Attestation", "WrongReportData") => {
            (Unattested, "have the TEE attest again: evidence holds for one chain, role, operator and block, and for the keys of one TEE")
        }
        ("Attestation", "PlatformRevoked") => (Unattested, "its vendor has revoked the platform: use another machine"),
        ("Attestation", "RoleNotAllowed") => {
            (Unattested, "the measurement is listed for another role: run the program that is listed for this one")
        }
        ("Attestation", "Barred" | "HardwareRevoked") => {
            (Unattested, "it is suspended or revoked; only governance can lift that")
        }
        ("Attestation", "HardwareCoolingDown") => {
            (Busy, "the machine's former identity lapsed a short while ago; try again later")
        }
        ("Attestation", "NoEvaluationCap") => (Unattested, "governance must set the highest evaluation first"),
        ("Attestation", "NotRecent") => (Stale, "make new evidence over a recent block"),
        ("Attestation", "MeasurementNotAllowed") => (Unattested, "governance must list the measurement first"),
        ("Attestation", "NotTheOperator") => {
            (Unauthorised, "send it from the account that the evidence names, or have the TEE attest for this one")
        }
        ("Attestation", "HardwareInUse") => {
            (Unauthorised, "the machine has another operator's identity, which has to lapse first")
        }
        ("Attestation", "IdentityInUse") => {
            (Unauthorised, "the identity is another operator's: keep the data folder, and start the TEE on another one, so that it makes an identity of its own")
        }
        ("Sudo", "RequireSudo") => (Unauthorised, "only the sudo key of a development network may do this"),
        ("Balances", "InsufficientBalance" | "LiquidityRestrictions" | "Expendability") => {
            (InsufficientFunds, "`phala account balance` shows what the account has")
        }
        ("Attestation", "CollateralNotNewer") => (Refused, "the chain has collateral that is as new already: there is nothing to submit"),
        ("Attestation", "FloorOverCap") => (Refused, "set the floor of evaluations no higher than their cap"),
        ("Attestation", "NotListed") => (Refused, "check what was named: there is no such entry"),
        ("Attestation", "SourceMissing") => (Refused, "name the source from which the measurement can be built again"),
        ("Attestation", "MeasurementTooSoon") => (Refused, "name a later first block: a measurement is public for a delay before it counts"),
        ("Attestation", "SunsetPassed") => (Refused, "list the measurement again, with a sunset after its first block"),
        ("Attestation", "BadAdvisories") => (Refused, "name each advisory by its id, and none as tolerated and forbidden at once"),
        ("Attestation", "WindowOutOfRange") => (Refused, "choose each of the times within its range"),
        ("Attestation", "TooManyBans") => (Refused, "lift something that is shut out first: `phala brake status` lists it"),
        ("Attestation", "SeatsOutOfOrder") => (Refused, "name the seats in ascending order, each once"),
        ("Attestation", "RootsOnlyEnd") => (Refused, "a vendor's root can be ended, or ended sooner; nothing brings one back or puts its end off"),
        ("Attestation", "DevelopmentRoot") => (Refused, "name a vendor's root: the genesis alone decides about the development root"),
        ("Attestation", "UnknownRoot") => (Refused, "check the fingerprint: roots are those of the runtime, and none can be added"),
        ("Attestation", "BadRoot") => (Refused, "a root has at least four seats, one on a development network, and a threshold of more than two thirds of them"),
        ("Attestation", "WrongEra") => (Refused, "name the era after that of the recorded root: `phala status` shows it"),
        ("Attestation", "RootAnswers") => (Refused, "the next root comes out of a ceremony: `phala gatekeeper start`"),
        ("Attestation", "HandOverUnderWay") => (Refused, "wait until the clusters have gone over: `phala gatekeeper status`"),
        ("Contracts", "NotAReplica") => (Refused, "only replicas of the cluster vote: `phala status` lists them"),
        ("Contracts", "BadSignature") => (Refused, "it is not signed by the worker that it names: have that worker's relayer submit it again"),
        ("Contracts", "BadKey") => (Refused, "it is no X-Wing public key: run a worker of a release that this chain knows"),
        ("Contracts", "WrongEpoch") => (Refused, "the cluster opens another epoch next: the worker follows the chain and announces again"),
        ("Contracts", "NoSuchBoundary") => (Refused, "there is nothing to do: the result is final and forgotten, or of another chain"),
        ("Contracts", "WrongBoundary") => (Refused, "the worker followed another chain: check its node and its genesis"),
        ("Contracts", "AlreadyVoted") => (Refused, "there is nothing to do: the chain has this vote"),
        ("Contracts", "WrongCommitment") => (Refused, "the worker's state is not the one that the others decided on: keep its store, which nothing can make anew; governance has to assign another replica; report it"),
        ("Contracts", "NothingToRekey") => (Refused, "there is nothing to do: the cluster's state is bound to its open epoch"),
        ("Contracts", "Overflow") => (Refused, "a counter of the chain is exhausted: report it"),
        ("Contracts", "EpochTooShort") => (Refused, "choose more blocks: replicas need some to hand over"),
        ("Contracts", "BadReplicaCount") => (Refused, "name between one and fifteen replicas"),
        ("Contracts", "StillServing") => (Refused, "the replica is neither lost nor lapsed beyond the grace nor shut out: governance can assign others"),
        ("Contracts", "MajorityWouldFall") => (Refused, "governance has to assign a new set of replicas: without this one fewer votes would decide"),
        ("Contracts", "WrongEra") => (Refused, "the next epoch's keys are of another root: the worker asks that one and announces again"),
        ("Contracts", "OthersAway") => (Refused, "wait until the other replicas attest again"),
        ("Gatekeepers", "TooManySeats") => (Refused, "name a hundred seats at most"),
        ("Gatekeepers", "RepeatedSeat") => (Refused, "name each seat once"),
        ("Gatekeepers", "VendorQuota") => (Refused, "take fewer machines of one vendor, whose seats would reach the threshold"),
        ("Gatekeepers", "NoCeremony") => (Refused, "none is under way: `phala gatekeeper start` begins one"),
        ("Gatekeepers", "WrongEra") => (Refused, "the gatekeeper follows another chain, or an old head: check its node"),
        ("Gatekeepers", "WrongAttempt") => (Refused, "there is nothing to do: the attempt that it belongs to is over"),
        ("Gatekeepers", "NoSuchSeat") => (Refused, "check the seat's number: `phala gatekeeper status` lists them"),
        ("Gatekeepers", "TakesNoPart") => (Refused, "there is nothing to do: the seat has no part in this phase"),
        ("Gatekeepers", "WrongPhase") => (Refused, "there is nothing to do: it belongs to a phase that is over, or not yet open"),
        ("Gatekeepers", "BadSignature") => (Refused, "it is not signed by the seat on this chain: have the seat's own relayer submit it again"),
        ("Gatekeepers", "AlreadyStated") => (Refused, "there is nothing to do: what the seat said first stands"),
        ("Gatekeepers", "NoSuchDealer") => (Refused, "name another seat that deals in this attempt"),
        ("Gatekeepers", "NoSuchComplaint") => (Refused, "there is nothing to answer in public: no such complaint is disputed"),
        ("Gatekeepers", "NoSuchDelivery") => (Refused, "check which complaint is meant: the dealer delivered nothing else on it"),
        ("Gatekeepers", "WrongAttachment") => (Refused, "send what the statement says beside it, and nothing where it says none"),
        ("Gatekeepers", "TooLate") => (Refused, "there is nothing to do: the phase's last call has begun"),
        ("Gatekeepers", "BadShare") => (Refused, "it is no share: run a gatekeeper of a release that this chain knows"),
        ("Gatekeepers", "NotEquivocation") => (Refused, "bring two statements of one seat that contradict each other"),
        ("Gatekeepers", "PolicyOutOfRange") => (Refused, "choose each value of the policy within its range"),
        ("Gatekeepers", "HandOverBegan") => (Refused, "wait until the clusters have gone over: `phala gatekeeper status`"),
        ("Gatekeepers", "TooManyAnswers") => (Refused, "there is nothing to do: with one more answer what the dealer deals would be public"),
        ("Gatekeepers", "NotAgreed") => (Refused, "wait until the holders have confirmed one record: `phala gatekeeper identities`"),
        ("Gatekeepers", "OtherRecord") => (Refused, "show the record that the holders confirmed: `phala gatekeeper identities`"),
        ("Beacon", "NotAwaited") => (Refused, "there is nothing to do: the era's beacon key is there, or its root is gone"),
        ("Beacon", "WrongRecord") => (Refused, "show the record that the seats confirmed: a gatekeeper's relayer submits it"),
        ("Beacon", "BadRecord") => (Refused, "the seats confirmed what is no key, all of them together: governance has to make another root"),
        ("Beacon", "NotDue") => (Refused, "there is nothing to do: the value is there, or its time is over"),
        ("Beacon", "NoSuchHolder") => (Refused, "check which seat it is of: `phala gatekeeper status` lists them"),
        ("Beacon", "AlreadyTaken") => (Refused, "there is nothing to do: the holder's partial is there"),
        ("Beacon", "BadPartial") => (Refused, "have the holder's own relayer submit it again: it was changed on its way, or made wrong"),
        ("Heartbeats", "NoRound") => (Refused, "there is nothing to do: the beacon has asked no worker for a heartbeat yet"),
        ("Heartbeats", "OtherChain") => (Refused, "the worker follows another chain: check its node"),
        ("Heartbeats", "OtherRound" | "TooLate") => (Refused, "there is nothing to do: the round's time is over, and the next one asks again"),
        ("Heartbeats", "NotAWorker") => (Unattested, "register the worker with evidence first"),
        ("Heartbeats", "AlreadyAnswered") => (Refused, "there is nothing to do: the worker's heartbeat is there"),
        ("Heartbeats", "NotSampled") => (Refused, "there is nothing to do: the beacon does not ask this worker"),
        ("Heartbeats", "UnknownBlock") => (Refused, "have the worker's own relayer submit it again: it names no block of the round on this chain"),
        ("Heartbeats", "BadSignature") => (Refused, "have the worker's own relayer submit it again: it was changed on its way"),
        ("Heartbeats", "PolicyOutOfRange") => (Refused, "choose each value of the policy within its range"),
        ("Egress", "Empty") => (Refused, "bring at least one item"),
        ("Egress", "AlreadyTaken") => (Refused, "there is nothing to do: the chain has these items"),
        ("Egress", "NotNext") => (Refused, "bring the items before it first: `phala contract egress` shows what was taken"),
        ("Egress", "NotFinal") => (Refused, "wait until the boundary's result is final"),
        ("Egress", "BadProof") => (Refused, "have a worker of the cluster prove the item again"),
        ("Egress", "TooEarly") => (Refused, "wait until replicas have had their time to show that they signed otherwise, and bring it again"),
        ("Egress", "Disputed") => (Refused, "a replica signed otherwise: nothing leaves the cluster until governance has settled that"),
        ("Egress", "LimitReached") => (Refused, "the cluster has paid out what it may in this period: bring it again in the next"),
        ("Egress", "NotDisputed") => (Refused, "there is nothing to settle"),
        ("Egress", "Overflow") => (Refused, "a counter of the chain is exhausted: report it"),
        ("Egress", "NotLeft") => (Refused, "check the sequence: `phala contract egress` shows which messages have left and are still known"),
        ("Egress", "AlreadySigned") => (Refused, "there is nothing to do: the message has a signature of this scheme"),
        ("Egress", "NoIdentities") => (Refused, "the seats of the root have to make identities first: `phala gatekeeper start-identities`"),
        ("Egress", "BadSignature") => (Refused, "have the gatekeepers sign again: it is no signature of the contract under this message"),
        ("Inbox", "WrongCluster") => (Refused, "push the envelope to the cluster that it is sealed for"),
        ("Inbox", "Malformed") => (Refused, "seal it again, with a client of a release that this chain knows"),
        ("Inbox", "NotAnExtrinsic") => (Refused, "push envelopes by a transaction: scheduled calls carry none"),
        ("Inbox", "Empty") => (Refused, "push at least one envelope"),
        ("Inbox", "Overflow") => (Refused, "a counter of the chain is exhausted: report it"),
        _ => (Refused, BY_NAME),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeMap;

    /// The variants of `Error` in a pallet's source.
    fn errors_of(source: &str) -> Vec<&str> {
        let (_, list) = source.split_once("pub enum Error<T> {").unwrap();
        let (list, _) = list.split_once("\n    }").unwrap();
        let lines = list.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with('#'));
        lines.filter_map(|line| line.strip_suffix(',')).collect()
    }

    /// Whether it tells to give up what a machine keeps.
    fn destroys(hint: &str) -> bool {
        let verbs = ["remove", "delete", "erase", "wipe", "empty", "discard", "start afresh"];
        verbs.iter().any(|verb| hint.contains(verb))
    }

    #[test]
    fn every_error_of_every_pallet_says_what_to_do() {
        let pallets = [
            ("Attestation", include_str!("../../../../chain/pallets/attestation/src/lib.rs")),
            ("Beacon", include_str!("../../../../chain/pallets/beacon/src/lib.rs")),
            ("Contracts", include_str!("../../../../chain/pallets/contracts/src/lib.rs")),
            ("Egress", include_str!("../../../../chain/pallets/egress/src/lib.rs")),
            ("Gatekeepers", include_str!("../../../../chain/pallets/gatekeepers/src/lib.rs")),
            ("Heartbeats", include_str!("../../../../chain/pallets/heartbeats/src/lib.rs")),
            ("Inbox", include_str!("../../../../chain/pallets/inbox/src/lib.rs")),
        ];
        // None of the chain's pallets is left out.
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chain/pallets");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), pallets.len());
        let mut known = BTreeMap::new();
        for (pallet, source) in pallets {
            let errors = errors_of(source);
            assert!(errors.len() > 5, "{pallet}: {errors:?}");
            for error in errors {
                let (_, hint) = judge(pallet, error);
                assert!(!hint.is_empty() && hint != BY_NAME, "{pallet}.{error} does not say what to do");
                known.insert((pallet, error), hint);
            }
        }
        assert!(known.len() > 100, "{}", known.len());
        // What is lost with a store or a data folder nothing brings back.
        for (error, hint) in &known {
            assert!(!destroys(hint), "{error:?}: {hint}");
            let names_it = hint.contains("its store") || hint.contains("data folder");
            assert!(!names_it || hint.contains("keep"), "{error:?}: {hint}");
        }
        assert!(destroys("remove its store and start it again"));
        let (_, behind) = judge("Contracts", "WrongCommitment");
        assert!(behind.contains("keep its store") && behind.contains("governance has to assign another replica"));
        assert_eq!(judge("Balances", "VestingBalance"), (ErrorCode::Refused, BY_NAME));
    }
}
