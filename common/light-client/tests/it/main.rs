//! The light client against a chain that Parity's crates made, against Parity's verdicts, and against a hostile host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod anchor;
mod finality;
mod golden;
mod hostile_bytes;
mod oracle;
mod refusals;
mod storage;

use codec::Encode;
use phala_light_client::{
    testing::{Justification, TestChain},
    verify_anchor, Advance, FinalityError, FinalityFragment, FinalityProof, JustificationError, LightClient,
};

/// What a TEE would draw; no verdict depends on it.
const ENTROPY: [u8; 32] = [42; 32];

fn client(chain: &TestChain) -> LightClient {
    verify_anchor(&chain.genesis_hash(), &chain.anchor()).unwrap()
}

fn advance(client: &mut LightClient, proof: &FinalityProof) -> Result<Advance, FinalityError> {
    client.advance(&proof.encode(), &ENTROPY)
}

/// A proof of one fragment: the header of block `number` with the given justification.
fn single(chain: &TestChain, number: u32, justification: &Justification) -> FinalityProof {
    let fragment = FinalityFragment { header: chain.header(number).encode(), justification: justification.encode() };
    FinalityProof { fragments: vec![fragment], complete: true }
}

/// Asserts that the proof is refused and leaves no trace.
fn refused(client: &mut LightClient, proof: &FinalityProof) -> FinalityError {
    let before = client.clone();
    let error = advance(client, proof).expect_err("must be refused");
    assert_eq!(*client, before, "a refused proof changed the client");
    error
}

/// Asserts that the justification of block `number` is refused, and why.
fn refused_justification(chain: &TestChain, number: u32, justification: &Justification) -> JustificationError {
    match refused(&mut client(chain), &single(chain, number, justification)) {
        FinalityError::Justification { reason, .. } => reason,
        other => panic!("refused for another reason: {other}"),
    }
}
