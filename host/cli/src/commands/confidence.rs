//! What a machine's evidence is worth to a network: the confidence level, what it protects against, what it weighs, and what refuses it.
//!
//! The level is `phala_attest::confidence_of`, as the chain computes it, by the network's governed rules where a network is named - each
//! proved in its newest finalised state - and else by those that a new network begins with, which is said. Nothing here admits anybody:
//! the chain decides, with its own clock, collateral and allow-list. Whoever made the evidence controls it; it is verified before.

use crate::{args::Global, error::CliError, network};
use phala_attest::{
    confidence_of, AdvisoryPolicy, Assurance, Bans, ConfidenceLevel, Origin, PolicyTerms, VerifiedCollateral,
    VerifiedReport,
};
use phala_client::Network;
use phala_protocol::{ids::BlockNumber, storage};
use serde_json::{json, Value};

/// What no level says anything about; an operator must not read one as a defence.
const PHYSICAL: &str = "no level says anything about somebody with physical access to the machine";

/// By what a machine is judged.
#[derive(Clone, Debug)]
pub struct Rules {
    terms: PolicyTerms,
    advisories: AdvisoryPolicy,
    bans: Bans,
    /// The highest evaluation number that is taken; none takes nothing.
    cap: Option<u32>,
    /// The finalised block that they are of; none for those that a new network begins with.
    block: Option<BlockNumber>,
}

impl Rules {
    /// Those that a network begins with: only what is up to date, no advisory tolerated or forbidden, nobody shut out. Its governance sets
    /// the highest evaluation number, and so nothing is over it here.
    pub fn defaults() -> Self {
        Self {
            terms: PolicyTerms::STRICT,
            advisories: AdvisoryPolicy::default(),
            bans: Bans::default(),
            cap: Some(u32::MAX),
            block: None,
        }
    }

    /// Those of the network that the command line or `PHALA_NETWORK` names. A network that is only the last one of `phala dev` is not
    /// meant: who checks a machine need not have one.
    pub async fn of(global: &Global) -> Result<Self, CliError> {
        if global.network.is_none() {
            return Ok(Self::defaults());
        }
        Self::read(&network::connect(global).await?.network).await
    }

    /// Those that are proved in the newest finalised state of a network.
    async fn read(network: &Network) -> Result<Self, CliError> {
        let keys = [storage::TERMS, storage::ADVISORIES, storage::BANS, storage::EVALUATION_CAP, storage::DEVELOPMENT];
        let keys = keys.map(|key| key.to_vec());
        let proved = network.read(&keys).await?;
        let [terms, advisories, bans, cap, development] = &keys;
        // As the chain asks it when it registers: no root is trusted for it.
        let development = proved.get(development)?.unwrap_or(false);
        Ok(Self {
            terms: proved.get(terms)?.unwrap_or(PolicyTerms::STRICT),
            advisories: proved.get(advisories)?.unwrap_or_default(),
            bans: proved.get(bans)?.unwrap_or_default(),
            cap: cap_of(proved.get(cap)?, development),
            block: Some(proved.height()),
        })
    }

    fn source(&self) -> String {
        match self.block {
            Some(block) => format!("the network's rules in block {block}"),
            None => "the rules that a network begins with; --network names one, whose rules may differ".to_owned(),
        }
    }
}

/// The highest evaluation number that the chain takes, by its state: where none is set, any on a development network and none elsewhere.
fn cap_of(set: Option<u32>, development: bool) -> Option<u32> {
    set.or_else(|| development.then_some(u32::MAX))
}

/// What evidence is worth by some rules.
#[derive(Clone, Debug)]
pub struct Confidence {
    level: Option<ConfidenceLevel>,
    refused: Option<String>,
    rules: String,
    /// INSECURE: no level is worth anything.
    simulated: bool,
}

impl Confidence {
    /// Of a verified report and the collateral that it was verified by.
    pub fn of(report: &VerifiedReport, collateral: &VerifiedCollateral, rules: &Rules) -> Self {
        let level = confidence_of(report, &rules.advisories);
        let barred =
            rules.block.is_some_and(|block| rules.bans.applying(&Origin::of(report, collateral), block).is_some());
        let refused = match &level {
            Err(refusal) => Some(refusal.to_string()),
            Ok(_) if barred => Some("its vendor, model, generation or measurement is revoked or suspended".to_owned()),
            Ok(_) if !rules.terms.accepted.contains(report.tcb_status()) => {
                Some(format!("the status {} is not accepted", report.tcb_status().name()))
            }
            Ok(_) if collateral.tcb_evaluation_number() < rules.terms.minimum_tcb_evaluation_number => Some(format!(
                "the collateral's evaluation number {} is under the floor of {}: fetch newer",
                collateral.tcb_evaluation_number(),
                rules.terms.minimum_tcb_evaluation_number
            )),
            Ok(_) => over_cap(collateral.latest_evaluation_number(), rules.cap),
        };
        let simulated = matches!(report.assurance(), Assurance::Simulated);
        Self { level: level.ok(), refused, rules: rules.source(), simulated }
    }

    /// The level, if there is one.
    #[cfg(test)]
    pub fn level(&self) -> Option<u8> {
        self.level.map(ConfidenceLevel::number)
    }

    /// Why these rules admit no such machine, if so.
    #[cfg(test)]
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    fn protects(&self, level: ConfidenceLevel) -> &'static str {
        if self.simulated {
            "against nothing: INSECURE, the TEE is simulated"
        } else {
            protects(level)
        }
    }

    /// For scripts.
    pub fn to_json(&self) -> Value {
        json!({
            "level": self.level.map(ConfidenceLevel::number),
            "protects": self.level.map(|level| self.protects(level)),
            "weight_ppm": self.level.map(ConfidenceLevel::weight_ppm),
            "weight_is_paid": false,
            "refused": self.refused,
            "rules": self.rules,
        })
    }

    /// The same for people.
    pub fn to_text(&self) -> String {
        let mut lines = match self.level {
            Some(level) => vec![
                format!("confidence   level {} of 5, 1 being the best, by {}", level.number(), self.rules),
                format!("protects     {}; {PHYSICAL}", self.protects(level)),
                format!(
                    "rewards      weight {}: what work on this machine counts beside work at level 1; nothing is paid by it yet",
                    decimal(level.weight_ppm())
                ),
            ],
            None => vec![format!("confidence   none, by {}", self.rules)],
        };
        if let Some(why) = &self.refused {
            lines.push(format!("admission    refused by these rules: {why}"));
        }
        lines.join("\n")
    }
}

/// Why a network with this cap takes no documents of the evaluation number `latest`, the higher of the two: it submits none of them, and
/// registers nobody who was judged by them.
fn over_cap(latest: u32, cap: Option<u32>) -> Option<String> {
    match cap {
        None => Some("governance has not set the highest evaluation number yet: until then nobody is registered".to_owned()),
        Some(cap) if latest > cap => Some(format!(
            "the collateral's evaluation number {latest} is over the cap of {cap}: take the present standard collateral, or wait for \
             governance to let it in"
        )),
        Some(_) => None,
    }
}

/// What a level protects against, in one line. The guide's table says the same.
pub const fn protects(level: ConfidenceLevel) -> &'static str {
    match level {
        ConfidenceLevel::One => "against software on the machine, by every attack that Intel has published",
        ConfidenceLevel::Two => "as 1, because the measured program closes what the advisories name",
        ConfidenceLevel::Three => "as 1, but for a setting of the firmware that governance found not to matter here",
        ConfidenceLevel::Four => {
            "as 1, but not against what an advisory names that nobody has reviewed for this program"
        }
        ConfidenceLevel::Five => "not against published attacks: security updates are missing, keys may be out already",
    }
}

/// Millionths as a decimal number.
fn decimal(ppm: u32) -> String {
    let digits = format!("{:06}", ppm % 1_000_000);
    let digits = digits.trim_end_matches('0');
    format!("{}.{}", ppm / 1_000_000, if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::evidence::{collateral, evidence};
    use codec::Encode;
    use jsonrpsee::{server::Server, types::ErrorObjectOwned, RpcModule};
    use phala_attest::{
        verify_collateral, verify_evidence, AcceptedStatuses, Ban, Policy, Subject, TrustAnchor, Vendor,
    };

    use phala_client::network::Pin;
    use phala_light_client::testing::TestChain;
    use phala_protocol::ids::to_hex;
    use std::net::Ipv4Addr;

    const QUOTE: &[u8] = include_bytes!("../../../../testing/vectors/attest/tdx_v4.bin");
    const COLLATERAL: &[u8] = include_bytes!("../../../../testing/vectors/attest/tdx_v4.collateral.json");
    const LATER: &[u8] = include_bytes!("../../../../testing/vectors/attest/tdx_v4.later-collateral.json");
    /// A day after the first of them was issued.
    const THEN: u64 = 1_750_414_563;
    /// 2026-10-09, a day after the second.
    const AFTER: u64 = 1_791_504_000;

    const LENIENT: PolicyTerms =
        PolicyTerms { accepted: AcceptedStatuses::ALL_BUT_REVOKED, minimum_tcb_evaluation_number: 0 };

    fn genuine(signed: &[u8], at: u64) -> (VerifiedReport, VerifiedCollateral) {
        let anchor = TrustAnchor::Intel;
        let verified = verify_collateral(&collateral(signed).unwrap(), &anchor, at).unwrap();
        let policy = Policy { anchor, terms: LENIENT };
        (verify_evidence(&evidence(QUOTE).unwrap(), &verified, &policy, at).unwrap(), verified)
    }

    #[test]
    fn a_level_says_what_it_protects_against_what_it_weighs_and_by_whose_rules() {
        let (report, collateral) = genuine(COLLATERAL, THEN);
        let best = Confidence::of(&report, &collateral, &Rules::defaults());
        assert_eq!((best.level(), best.refused()), (Some(1), None));
        let text = best.to_text();
        for part in ["level 1 of 5", "rules that a network begins with", "weight 1.0", "nothing is paid", PHYSICAL] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let network = Rules { block: Some(77), ..Rules::defaults() };
        assert!(Confidence::of(&report, &collateral, &network).to_text().contains("the network's rules in block 77"));

        let (report, collateral) = genuine(LATER, AFTER);
        let worst = Confidence::of(&report, &collateral, &Rules::defaults());
        assert_eq!(worst.level(), Some(5));
        assert!(worst.refused().unwrap().contains("OutOfDate"));
        let json = worst.to_json();
        assert_eq!((&json["weight_ppm"], &json["level"]), (&json!(700_000), &json!(5)));
        assert!(worst.to_text().contains("weight 0.7"));
    }

    #[test]
    fn the_networks_own_rules_decide() {
        let (report, collateral) = genuine(LATER, AFTER);
        let judged = |change: &dyn Fn(&mut Rules)| {
            let mut rules = Rules { terms: LENIENT, block: Some(100), ..Rules::defaults() };
            change(&mut rules);
            let found = Confidence::of(&report, &collateral, &rules);
            (found.level(), found.refused().map(str::to_owned))
        };
        assert_eq!(judged(&|_| ()), (Some(5), None));
        let (level, refused) = judged(&|rules| {
            rules.advisories.forbidden = report.advisories()[..1].to_vec().try_into().unwrap();
        });
        assert!(level.is_none() && refused.unwrap().contains(&report.advisories()[0].id()));
        let (level, refused) = judged(&|rules| rules.terms.minimum_tcb_evaluation_number = u32::MAX);
        assert!(level == Some(5) && refused.unwrap().contains("fetch newer"));
        let latest = collateral.latest_evaluation_number();
        assert!(latest > 0 && latest >= collateral.tcb_evaluation_number());
        let (level, refused) = judged(&|rules| rules.cap = Some(latest - 1));
        assert!(level == Some(5) && refused.unwrap().contains(&format!("over the cap of {}", latest - 1)));
        assert_eq!(judged(&|rules| rules.cap = Some(latest)), (Some(5), None));
        let (level, refused) = judged(&|rules| rules.cap = cap_of(None, false));
        assert!(level == Some(5) && refused.unwrap().contains("governance has not set"));
        assert_eq!(judged(&|rules| rules.cap = cap_of(None, true)), (Some(5), None), "a development network takes any");
        assert_eq!((cap_of(Some(7), true), cap_of(Some(7), false)), (Some(7), Some(7)));
        let ban = |from| Ban { subject: Subject::Vendor(Vendor::IntelTdx), from, until: None };
        let (level, refused) = judged(&|rules| rules.bans.put(ban(100), 0).unwrap());
        assert!(level == Some(5) && refused.unwrap().contains("revoked or suspended"));
        assert_eq!(judged(&|rules| rules.bans.put(ban(101), 0).unwrap()), (Some(5), None), "not yet in force");
    }

    /// A chain whose newest block, the first, has these values in its state.
    fn chain(state: &[(storage::Prefix, Vec<u8>)]) -> TestChain {
        let mut chain = TestChain::new(7, 4, []);
        chain.build_block(state.iter().map(|(key, value)| (key.to_vec(), Some(value.clone()))));
        chain
    }

    /// The rules that are read from a node which finalises one chain, and shows proofs of the state of another.
    async fn read(mut finalised: TestChain, shown: &TestChain) -> Result<Rules, CliError> {
        let keys = [storage::TERMS, storage::ADVISORIES, storage::BANS, storage::EVALUATION_CAP, storage::DEVELOPMENT];
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let nodes: Vec<String> = shown.read_proof(1, &keys).iter().map(|node| to_hex(node)).collect();
        let pin = Pin { genesis: finalised.genesis_hash(), anchor: finalised.anchor() };
        let (genesis, proof) = (to_hex(&pin.genesis), to_hex(&finalised.proof(0, 1).encode()));
        let server = Server::builder().build((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        let mut module = RpcModule::new(());
        let said = |value: &Value| Ok::<_, ErrorObjectOwned>(value.clone());
        let (genesis, proof, nodes) = (json!(genesis), json!(proof), json!({"at": genesis, "proof": nodes}));
        module.register_method("chain_getBlockHash", move |_, _, _| said(&genesis)).unwrap();
        module.register_method("phala_finalityProof", move |_, _, _| said(&proof)).unwrap();
        module.register_method("state_getReadProof", move |_, _, _| said(&nodes)).unwrap();
        let _running = server.start(module);
        Rules::read(&Network::connect(&url, pin).await?).await
    }

    #[tokio::test]
    async fn the_rules_are_those_that_a_node_proves_and_no_others() {
        let (report, collateral) = genuine(LATER, AFTER);
        let latest = collateral.latest_evaluation_number();
        let forbidden = report.advisories()[..1].to_vec().try_into().unwrap();
        let advisories = AdvisoryPolicy { forbidden, ..AdvisoryPolicy::default() };
        let mut bans = Bans::default();
        bans.put(Ban { subject: Subject::Vendor(Vendor::IntelTdx), from: 1, until: None }, 0).unwrap();
        // In the form in which the chain's pallets keep them.
        let governed = [
            (storage::TERMS, LENIENT.encode()),
            (storage::ADVISORIES, advisories.encode()),
            (storage::BANS, bans.encode()),
            (storage::EVALUATION_CAP, (latest - 1).encode()),
        ];
        let rules = read(chain(&governed), &chain(&governed)).await.unwrap();
        assert_eq!((rules.terms, &rules.advisories, &rules.bans), (LENIENT, &advisories, &bans));
        assert_eq!((rules.cap, rules.block), (Some(latest - 1), Some(1)));
        let found = Confidence::of(&report, &collateral, &rules);
        assert!(found.level().is_none() && found.refused().unwrap().contains(&report.advisories()[0].id()));
        assert!(found.to_text().contains("the network's rules in block 1"));
        // Each of the others decides too.
        for (left_out, why) in [(1..2, "revoked or suspended"), (1..3, "over the cap")] {
            let mut fewer = governed.to_vec();
            fewer.drain(left_out);
            let rules = read(chain(&fewer), &chain(&fewer)).await.unwrap();
            assert!(Confidence::of(&report, &collateral, &rules).refused().unwrap().contains(why), "{why}");
        }
        // Of a chain whose governance has said nothing: what the runtime begins with.
        let rules = read(chain(&[]), &chain(&[])).await.unwrap();
        assert_eq!((rules.terms, rules.cap), (PolicyTerms::STRICT, None));
        let marked = [(storage::DEVELOPMENT, true.encode())];
        assert_eq!(read(chain(&marked), &chain(&marked)).await.unwrap().cap, Some(u32::MAX));
        // A node that shows milder rules than the chain has finalised is not believed.
        let milder = [(storage::TERMS, LENIENT.encode())];
        let error = read(chain(&governed), &chain(&milder)).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.exit_code()), ("unverified", 7), "{}", error.message);
    }

    #[test]
    fn the_guide_says_of_each_level_what_the_command_does() {
        let guide = include_str!("../../../../docs/guides/attestation.md");
        for level in ConfidenceLevel::ALL {
            let start = format!("| {} |", level.number());
            let row = guide.lines().find(|line| line.starts_with(&start)).unwrap();
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            assert!(cells.contains(&protects(level)), "level {}: {row}", level.number());
            assert!(cells.contains(&decimal(level.weight_ppm()).as_str()), "level {}: {row}", level.number());
        }
        assert_eq!([1_000_000, 800_000, 1_250_000, 5].map(decimal), ["1.0", "0.8", "1.25", "0.000005"]);
    }
}
