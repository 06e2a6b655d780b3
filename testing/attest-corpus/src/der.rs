//! The DER of certificates and revocation lists as a tree that may be altered anywhere, and PEM around it.
//!
//! Written for what the development root's tools make, apart from the verifier's decoder: one-byte tags, definite lengths. What it
//! writes is as canonical as what was put into it, and nothing is checked, so that the verifier meets every mistake.

use base64::{engine::general_purpose::STANDARD, Engine};

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const NULL: u8 = 0x05;
pub const OBJECT: u8 = 0x06;
pub const ENUMERATED: u8 = 0x0a;
pub const UTC_TIME: u8 = 0x17;
pub const SEQUENCE: u8 = 0x30;
/// The bit of a tag that says whether elements follow.
const CONSTRUCTED: u8 = 0x20;

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    tag: u8,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Bytes(Vec<u8>),
    Elements(Vec<Element>),
}

impl Element {
    /// An element of these bytes.
    pub fn new(tag: u8, bytes: &[u8]) -> Self {
        Self { tag, content: Content::Bytes(bytes.to_vec()) }
    }

    /// An element of these elements.
    pub fn of(tag: u8, elements: Vec<Element>) -> Self {
        Self { tag, content: Content::Elements(elements) }
    }

    /// The element that `bytes` are, all of them.
    pub fn decode(bytes: &[u8]) -> Self {
        let (element, rest) = Self::split(bytes);
        assert!(rest.is_empty(), "bytes behind the element");
        element
    }

    fn split(bytes: &[u8]) -> (Self, &[u8]) {
        let (tag, first, rest) = (bytes[0], usize::from(bytes[1]), &bytes[2..]);
        let (length, rest) = if first < 0x80 {
            (first, rest)
        } else {
            let (digits, rest) = rest.split_at(first - 0x80);
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        };
        let (mut inside, rest) = rest.split_at(length);
        if tag & CONSTRUCTED == 0 {
            return (Self::new(tag, inside), rest);
        }
        let mut elements = Vec::new();
        while !inside.is_empty() {
            let (element, after) = Self::split(inside);
            elements.push(element);
            inside = after;
        }
        (Self::of(tag, elements), rest)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let inside = match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Elements(elements) => elements.iter().flat_map(Self::encode).collect(),
        };
        let length = inside.len();
        let mut bytes = vec![self.tag];
        match length {
            0..=0x7f => bytes.push(length as u8),
            0x80..=0xff => bytes.extend([0x81, length as u8]),
            _ => bytes.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        assert!(length <= 0xffff, "longer than two bytes say");
        bytes.extend(inside);
        bytes
    }

    /// The elements in it.
    pub fn elements(&mut self) -> &mut Vec<Element> {
        match &mut self.content {
            Content::Elements(elements) => elements,
            Content::Bytes(_) => panic!("tag {:#x} holds no elements", self.tag),
        }
    }

    /// The bytes in it.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        match &mut self.content {
            Content::Bytes(bytes) => bytes,
            Content::Elements(_) => panic!("tag {:#x} holds elements", self.tag),
        }
    }
}

/// An X.509 extension.
pub fn extension(id: &[u8], critical: bool, value: &[u8]) -> Element {
    let mut parts = vec![Element::new(OBJECT, id)];
    if critical {
        parts.push(Element::new(BOOLEAN, &[0xff]));
    }
    parts.push(Element::new(OCTET_STRING, value));
    Element::of(SEQUENCE, parts)
}

/// The DER of each certificate in a PEM chain that the development root's tools wrote.
pub fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    let text = std::str::from_utf8(pem).unwrap();
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|block| {
            let (body, _) = block.split_once("-----END CERTIFICATE-----").unwrap();
            STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).unwrap()
        })
        .collect()
}

/// A PEM chain of these certificates.
pub fn pem(chain: &[Vec<u8>]) -> Vec<u8> {
    let mut text = String::new();
    for der in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).unwrap());
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}
