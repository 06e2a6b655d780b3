//! Contract arguments as people type them: JSON, with account names and plain text allowed bare.
//!
//! Each word of the command line is one argument; one word that is a JSON array can stand for all of them. What a word means is
//! decided by the argument's type, so that `123` is a number for one method and text for another, and no number is rounded on its way.

use crate::error::CliError;
use phala_client::abi::{Method, Type};
use serde_json::Value;

/// The method's arguments from the words of the command line.
pub fn read(method: &Method, words: &[String]) -> Result<Vec<Value>, CliError> {
    if let [only] = words {
        if let Ok(Value::Array(values)) = serde_json::from_str(only) {
            let takes_a_list = matches!(&method.arguments[..], [(_, Type::Vec(_) | Type::Array(..) | Type::Tuple(_))]);
            if !takes_a_list || values.len() == 1 && values.iter().all(Value::is_array) {
                return Ok(values);
            }
        }
    }
    let kinds = method.arguments.iter().map(|(_, kind)| Some(kind)).chain(std::iter::repeat(None));
    words.iter().zip(kinds).map(|(word, kind)| value(kind, word)).collect()
}

fn value(kind: Option<&Type>, word: &str) -> Result<Value, CliError> {
    let json = serde_json::from_str::<Value>(word);
    let text = || match &json {
        Ok(Value::String(text)) => text.clone(),
        _ => word.to_owned(),
    };
    Ok(match kind {
        // Digits stay text: a JSON reader would round what is over 2^64.
        Some(Type::Integer { .. } | Type::String | Type::Bytes | Type::Account | Type::Contract) => {
            Value::String(text())
        }
        Some(Type::Option(_)) if word == "null" => Value::Null,
        Some(Type::Option(item)) => value(Some(item), word)?,
        Some(Type::Bool | Type::Enum(_)) | None => json.unwrap_or_else(|_| Value::String(word.to_owned())),
        Some(kind) => json.map_err(|error| {
            CliError::invalid(format!("`{word}` is not JSON: {error}")).with_hint(format!("expected {kind}"))
        })?,
    })
}

/// An amount in 10^-12 PHA from `123`, `1.5PHA` or `1.5 PHA`.
pub fn amount(text: &str) -> Result<u128, CliError> {
    let wrong = || {
        CliError::invalid(format!("`{text}` is not an amount"))
            .with_hint("write 10^-12 PHA as a whole number, or PHA such as 1.5PHA")
    };
    let Some(number) = text.strip_suffix("PHA") else { return text.parse().map_err(|_| wrong()) };
    let (whole, part) = match number.trim_end().split_once('.') {
        Some((_, "")) => return Err(wrong()),
        Some((whole, part)) => (whole, part),
        None => (number.trim_end(), ""),
    };
    if part.len() > 12 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u128 = whole.parse().map_err(|_| wrong())?;
    let part: u128 = format!("{part:0<12}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1_000_000_000_000).and_then(|whole| whole.checked_add(part)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use phala_client::abi::Kind;
    use serde_json::json;

    fn method(arguments: Vec<Type>) -> Method {
        Method {
            name: "m".to_owned(),
            kind: Kind::Call,
            arguments: arguments.into_iter().map(|kind| ("a".to_owned(), kind)).collect(),
            returns: Type::Unit,
            error: None,
        }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    const U128: Type = Type::Integer { bits: 128, signed: false };

    #[test]
    fn names_and_large_numbers_are_written_bare() {
        let transfer = method(vec![Type::Account, U128]);
        let largest = u128::MAX.to_string();
        for line in [
            words(&["bob", &largest]),
            words(&["\"bob\"", &format!("\"{largest}\"")]),
            words(&[&format!("[\"bob\", \"{largest}\"]")]),
        ] {
            assert_eq!(read(&transfer, &line).unwrap(), [json!("bob"), json!(largest)]);
        }
    }

    #[test]
    fn a_word_means_what_its_type_says() {
        let line = words(&["123"]);
        assert_eq!(read(&method(vec![Type::String]), &line).unwrap(), [json!("123")]);
        assert_eq!(read(&method(vec![Type::Bool]), &words(&["true"])).unwrap(), [json!(true)]);
        let list = method(vec![Type::Vec(Box::new(U128))]);
        assert_eq!(read(&list, &words(&["[\"1\", 2]"])).unwrap(), [json!(["1", 2])]);
        assert_eq!(read(&list, &words(&["[[1]]"])).unwrap(), [json!([1])]);
        assert_eq!(
            read(&method(vec![Type::Option(Box::new(Type::String))]), &words(&["null"])).unwrap(),
            [Value::Null]
        );
        assert!(read(&list, &words(&["not json"])).is_err());
    }

    #[test]
    fn amounts_are_exact() {
        assert_eq!(amount("17").unwrap(), 17);
        assert_eq!(amount("1.5PHA").unwrap(), 1_500_000_000_000);
        assert_eq!(amount("2 PHA").unwrap(), 2_000_000_000_000);
        assert_eq!(amount("0.000000000001PHA").unwrap(), 1);
        for wrong in ["", "PHA", "1.PHA", "-1", "1.0000000000001PHA", "1e3", "1.5", "1.+5PHA"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
    }
}
