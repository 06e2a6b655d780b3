//! Questions for the worker, sealed and signed before anything is counted; their answers, opened and checked after.

use super::{
    feed::{Feed, Holder},
    http::request,
    load::Taken,
};
use crate::chain::CLUSTER;
use anyhow::{bail, ensure, Context, Result};
use codec::{Decode, DecodeAll, Encode};
use phala_crypto::{
    aead::SivKey,
    envelope::{pad, unpad},
    hpke::{self, Exporter},
    signature::ed25519,
    xwing::EncapsulationKey,
};
use phala_light_client::testing::TestRandom;
use phala_protocol::{
    domain,
    envelope::SizeClass,
    ids::BlockNumber,
    limits::MAX_QUERY_LIFETIME_BLOCKS,
    query::{
        answer_payload, signing_payload, Answer, AnswerContent, Query, QueryHeader, QueryKey, QueryRequest,
        SealedAnswer, SealedQuery, SignedQuery, VERSION,
    },
    Hash,
};
use std::net::SocketAddr;

/// What opens an answer and tells whether it is right.
struct Asked {
    exporter: Exporter,
    payload: Hash,
    balance: u128,
}

pub struct Questions {
    requests: Vec<Vec<u8>>,
    asked: Vec<Asked>,
    genesis: Hash,
    key: QueryKey,
    height: BlockNumber,
    worker: (SocketAddr, u32),
}

impl Questions {
    /// Makes `count` questions about the balances of the feed's holders, to the worker that it feeds. Two sets with different seeds have no
    /// question in common.
    pub fn new(feed: &Feed, count: usize, seed: u64) -> Result<Self> {
        let info = feed.worker.says("/v1/info")?;
        let key = info["clusters"][0]["query_key"].as_str().context("the worker has no query key")?;
        let key = QueryKey::decode_all(&mut hex(key)?.as_slice())?;
        let genesis = feed.network.chain.genesis();
        ed25519::verify(&key.worker.0, &key.signing_payload(&genesis), &key.signature)?;
        let height = u32::try_from(info["height"].as_u64().context("the worker says no height")?)?;
        let worker = (feed.worker.public, feed.worker.process());
        let mut made = Self { requests: Vec::new(), asked: Vec::new(), genesis, key, height, worker };
        let mut random = TestRandom::new(0x9e_0000 + seed);
        for number in 0..count {
            let holder = &feed.holders[number % feed.holders.len()];
            let request = QueryRequest::Contract { contract: feed.token, payload: ("balance", ()).encode() };
            made.add(holder, request, &mut random)?;
        }
        Ok(made)
    }

    fn add(&mut self, holder: &Holder, asked: QueryRequest, random: &mut TestRandom) -> Result<()> {
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&random.bytes()[..16]);
        // About as long as a query may live: blocks go by while the questions wait for their turn.
        let valid_until = self.height + MAX_QUERY_LIFETIME_BLOCKS - 10;
        let query = Query { worker: self.key.worker, request: asked, nonce, valid_until, min_height: self.height };
        let payload = signing_payload(&self.genesis, CLUSTER, &query);
        let signed = SignedQuery { account: holder.id, query, signature: holder.key.sign(&payload, &random.bytes()) };
        let plaintext = signed.encode();
        let size = SizeClass::holding(plaintext.len()).context("the question is too long")?;
        let header = QueryHeader { version: VERSION, cluster: CLUSTER, epoch: self.key.epoch, size };
        let recipient = EncapsulationKey::from_bytes(&self.key.public_key)?;
        let info = [domain::QUERY_INFO.as_bytes(), &self.genesis].concat();
        let entropy: [u8; 64] = [random.bytes(), random.bytes()].concat().try_into().unwrap();
        let (encapsulated, context) = hpke::setup_sender(&recipient, &info, &entropy);
        let (body, exporter) = context.seal(&header.encode(), pad(&plaintext, size)?.expose())?;
        let sealed = SealedQuery { header, encapsulated: encapsulated.to_vec(), body };
        self.requests.push(request("POST", "/v1/query", &sealed.to_bytes()));
        self.asked.push(Asked { exporter, payload, balance: holder.balance });
        Ok(())
    }

    pub fn requests(&self) -> &[Vec<u8>] {
        &self.requests
    }

    /// Where the worker answers, and its process.
    pub fn worker(&self) -> (SocketAddr, u32) {
        self.worker
    }

    /// Bytes of an answer, by one more question.
    pub fn answer_bytes(&mut self) -> Result<usize> {
        let index = self.requests.len() - 1;
        let answer = super::http::Connection::open(self.worker.0)?.ask(&self.requests[index])?;
        let length = answer.body.len();
        self.check_one(index, answer.status, &answer.body)?;
        self.requests.pop();
        self.asked.pop();
        Ok(length)
    }

    /// Opens every answer, and checks who signed it, that it is to its question, fresh enough, and right.
    pub fn check<'a>(&self, taken: impl Iterator<Item = &'a Taken>) -> Result<()> {
        let mut seen = vec![false; self.requests.len()];
        for taken in taken {
            ensure!(!std::mem::replace(&mut seen[taken.index], true), "question {} was asked twice", taken.index);
            self.check_one(taken.index, taken.answer.status, &taken.answer.body)
                .with_context(|| format!("the answer to question {}", taken.index))?;
        }
        Ok(())
    }

    fn check_one(&self, index: usize, status: u16, body: &[u8]) -> Result<()> {
        ensure!(status == 200, "is refused ({status}): {}", String::from_utf8_lossy(body));
        let asked = &self.asked[index];
        let sealed = SealedAnswer::decode_all(&mut &body[..])?;
        let key = SivKey::new(&asked.exporter.export::<32>(domain::QUERY_ANSWER_KEY.as_bytes()));
        let opened = unpad(&key.open(&sealed.nonce, &[], &sealed.body)?)?;
        let answer = Answer::decode_all(&mut opened.expose().as_slice())?;
        ed25519::verify(&self.key.worker.0, &answer_payload(&self.genesis, &answer), &sealed.signature)?;
        ensure!(answer.query == asked.payload, "is to another question");
        ensure!(answer.height >= self.height, "is of an older state than was asked for");
        match &answer.content {
            AnswerContent::Output(output) => {
                let balance = u128::decode(&mut output.as_slice())?;
                ensure!(balance == asked.balance, "is wrong: {balance} instead of {}", asked.balance);
            }
            other => bail!("is no balance but {other:?}"),
        }
        Ok(())
    }
}

fn hex(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}
