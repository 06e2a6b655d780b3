//! A cluster's inbox as a node gives it: its items, or why they are not known.
//!
//! Guarantees: no items are none that the node says are none; a node that is not reached, an error of it and an answer that is neither are told
//! apart from that, with its words. While it looks for old items it is asked again, a bounded number of times. The node controls its
//! answers. Does not: check that items are the chain's, or ask for more than one answer holds.

use crate::{canary::from_hex, raw_http::rpc};
use phala_protocol::{inbox::Item, limits::MAX_INBOX_ITEMS_PER_ANSWER};
use serde_json::{json, Value};
use std::{error::Error, fmt, io, thread, time::Duration};

/// The node's error while it looks for old items: it goes on from there when it is asked again.
const LATER: i64 = 7008;
/// Questions after which it is not asked again.
const MOST_ASKED: usize = 100;
/// Pause between two of them.
const PAUSE: Duration = Duration::from_millis(100);
/// Letters of an answer that are shown.
const SHOWN: usize = 200;

/// Why items are not known.
#[derive(Debug)]
pub enum Unanswered {
    /// The node was not reached, or hung up.
    Unreachable(io::Error),
    /// It gave an error: a cluster that has no inbox is one, too.
    Refused {
        /// The JSON-RPC error's code.
        code: i64,
        /// What it says.
        message: String,
    },
    /// It still looked for old items when it was asked for the last time.
    Busy {
        /// How often it was asked.
        asked: usize,
        /// What it said last.
        message: String,
    },
    /// What it said is neither items nor an error; how it begins.
    Malformed(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "the node was not reached: {error}"),
            Self::Refused { code, message } => write!(f, "the node gave error {code}: {message}"),
            Self::Busy { asked, message } => {
                write!(f, "asked {asked} times, the node still looked for them: {message}")
            }
            Self::Malformed(answer) => write!(f, "the node's answer is neither items nor an error: {answer}"),
        }
    }
}

impl Error for Unanswered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(error) => Some(error),
            _ => None,
        }
    }
}

/// The items of a cluster's inbox from sequence `from` on, as many as one answer of the node at `HOST:PORT` holds; none only where it says
/// that there are none.
///
/// # Errors
/// Whatever else it says. While it looks for old items it is asked again for some seconds.
pub fn items(node: &str, cluster: u32, from: u64) -> Result<Vec<Item>, Unanswered> {
    let question = || rpc(node, "phala_inboxItems", json!([cluster, from, MAX_INBOX_ITEMS_PER_ANSWER]));
    ask(question, PAUSE)
}

/// Asks until there is another answer than "later", as often as is bearable.
fn ask(question: impl Fn() -> io::Result<Value>, pause: Duration) -> Result<Vec<Item>, Unanswered> {
    let mut asked = 0;
    loop {
        let answer = question().map_err(Unanswered::Unreachable)?;
        asked += 1;
        match items_of(&answer) {
            Err(Unanswered::Refused { code: LATER, message }) => {
                if asked >= MOST_ASKED {
                    return Err(Unanswered::Busy { asked, message });
                }
                thread::sleep(pause);
            }
            items => return items,
        }
    }
}

/// The items of an answer, all of which have to be items.
fn items_of(answer: &Value) -> Result<Vec<Item>, Unanswered> {
    let malformed = || Unanswered::Malformed(answer.to_string().chars().take(SHOWN).collect());
    let error = &answer["error"];
    if let Some(code) = error["code"].as_i64() {
        return Err(Unanswered::Refused { code, message: error["message"].as_str().unwrap_or_default().to_owned() });
    }
    let items = answer["result"]["items"].as_array().filter(|_| error.is_null()).ok_or_else(malformed)?;
    let items = items.iter().map(|item| Item::decode_bounded(&from_hex(item.as_str()?)?).ok());
    items.collect::<Option<_>>().ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw_http::{read_request, write_answer, Answer};
    use codec::Encode;
    use phala_protocol::{
        gas::GasClass,
        inbox::{ItemHeader, ItemKind, ItemOrigin},
        AccountId,
    };
    use std::{cell::Cell, net::TcpListener};

    fn item() -> Item {
        let header = ItemHeader {
            kind: ItemKind::Envelope(GasClass::Small),
            origin: ItemOrigin::Account(AccountId([1; 32])),
            sequence: 0,
            block: 1,
            time_ms: 1,
            fee: 1,
        };
        Item { previous: [0; 32], header, message: vec![7; 40] }
    }

    fn holding(items: &[Item]) -> Value {
        let items: Vec<String> = items.iter().map(|item| format!("0x{}", hex::encode(item.encode()))).collect();
        json!({"jsonrpc": "2.0", "id": 1, "result": {"block": 1, "count": items.len(), "items": items}})
    }

    fn refusing(code: i64) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "these are the node's words"}})
    }

    #[test]
    fn no_items_are_told_from_an_error_and_from_an_answer_that_is_neither() {
        assert!(items_of(&holding(&[])).unwrap().is_empty());
        assert_eq!(items_of(&holding(&[item(), item()])).unwrap(), [item(), item()]);
        for code in [-32602, 7003, 7005, 7006, 7007, LATER] {
            let refused = items_of(&refusing(code)).unwrap_err();
            assert!(matches!(refused, Unanswered::Refused { code: said, .. } if said == code), "{refused}");
            let text = refused.to_string();
            assert!(text.contains(&code.to_string()) && text.contains("these are the node's words"), "{text}");
        }
        let mut cut = holding(&[item()]);
        cut["result"]["items"][0] = json!("0x0102");
        for answer in [
            Value::Null,
            json!({}),
            json!({"result": null}),
            json!({"result": {"items": null}}),
            json!({"result": {"items": [7]}}),
            json!({"result": {"items": ["00"]}}),
            json!({"result": {"items": []}, "error": "no object"}),
            json!({"error": {"message": "without a code"}}),
            cut,
        ] {
            let refused = items_of(&answer).unwrap_err();
            assert!(
                matches!(&refused, Unanswered::Malformed(said) if answer.to_string().starts_with(said)),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_node_that_looks_for_items_is_asked_again_a_bounded_number_of_times() {
        let asked = Cell::new(0);
        // Gives this error so many times, and then an item.
        let after = |refusals: usize, code: i64| {
            asked.set(0);
            let question = || {
                asked.set(asked.get() + 1);
                Ok(if asked.get() > refusals { holding(&[item()]) } else { refusing(code) })
            };
            ask(question, Duration::ZERO)
        };
        assert_eq!((after(3, LATER).unwrap(), asked.get()), (vec![item()], 4));
        assert_eq!((after(MOST_ASKED - 1, LATER).unwrap(), asked.get()), (vec![item()], MOST_ASKED));
        let busy = after(usize::MAX, LATER).unwrap_err();
        assert!(matches!(busy, Unanswered::Busy { asked: MOST_ASKED, .. }), "{busy}");
        assert_eq!(asked.get(), MOST_ASKED);
        assert!(busy.to_string().contains("these are the node's words"));
        let refused = after(3, 7006).unwrap_err();
        assert!(matches!(refused, Unanswered::Refused { code: 7006, .. }), "{refused}");
        assert_eq!(asked.get(), 1, "another error stands");
        let lost = ask(|| Err(io::Error::from(io::ErrorKind::ConnectionRefused)), Duration::ZERO).unwrap_err();
        assert!(matches!(lost, Unanswered::Unreachable(_)), "{lost}");
    }

    #[test]
    fn an_error_that_a_node_gives_over_http_is_no_empty_inbox() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let node = listener.local_addr().unwrap().to_string();
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream).unwrap().unwrap();
            let body = refusing(7003).to_string().into_bytes();
            write_answer(&mut stream, &Answer { status: 200, body }).unwrap();
            request.body
        });
        let refused = items(&node, 3, 5).unwrap_err();
        assert!(matches!(refused, Unanswered::Refused { code: 7003, .. }), "{refused}");
        let question: Value = serde_json::from_slice(&answering.join().unwrap()).unwrap();
        assert_eq!((&question["method"], &question["params"]), (&json!("phala_inboxItems"), &json!([3, 5, 256])));
    }
}
