//! A witness as SSZ, from a file of JSON: `state` and `codes` go through part by part, headers are kept, since there are few.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom, Write};

use alloy_primitives::{B256, hex, keccak256};
use alloy_rlp::{Decodable, Header};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{GuestInputError, offset, short};

/// What a guest takes of each.
const MOST_NODE_BYTES: usize = 1 << 10;
const MOST_CODE_BYTES: usize = 1 << 16;
const MOST_HEADER_BYTES: usize = 1 << 10;
const MOST_HEADERS: usize = 256;
const READ_BYTES: usize = 1 << 20;
/// Of an offset.
const OFFSET_BYTES: u64 = 4;

pub(super) struct Witness<'a> {
    file: &'a File,
    /// Bytes of each part, in order.
    state: Vec<u32>,
    codes: Vec<u32>,
    /// From the oldest to the parent.
    headers: Vec<Vec<u8>>,
}

impl<'a> Witness<'a> {
    /// Reads it through, and checks that its headers are a chain that ends at the block's parent.
    pub(super) fn measure(file: &'a File, parent: B256) -> Result<Self, GuestInputError> {
        let (mut state, mut codes, mut headers) = (Vec::new(), Vec::new(), Vec::new());
        read(file, &mut |list, part| {
            // No part of either is longer than 65,536 bytes.
            let bytes = u32::try_from(part.len()).unwrap_or(u32::MAX);
            match list {
                List::State => state.push(bytes),
                List::Codes => codes.push(bytes),
                List::Headers => headers.push(part.to_vec()),
            }
            Ok(())
        })?;
        Ok(Self { file, state, codes, headers: chain_to(parent, headers)? })
    }

    pub(super) fn bytes(&self) -> u64 {
        let lists = list_bytes(lengths(&self.state)) + list_bytes(lengths(&self.codes));
        3 * OFFSET_BYTES + lists + list_bytes(self.header_lengths())
    }

    fn header_lengths(&self) -> impl ExactSizeIterator<Item = u64> {
        self.headers.iter().map(|header| header.len() as u64)
    }

    pub(super) fn write(&self, output: &mut impl Write) -> Result<(), GuestInputError> {
        let state_at = 3 * OFFSET_BYTES;
        let codes_at = state_at + list_bytes(lengths(&self.state));
        let headers_at = codes_at + list_bytes(lengths(&self.codes));
        for at in [state_at, codes_at, headers_at] {
            output.write_all(&offset(at)?)?;
        }
        for (wanted, lengths) in [(List::State, &self.state), (List::Codes, &self.codes)] {
            write_offsets(self::lengths(lengths), output)?;
            let mut left = lengths.iter();
            read(self.file, &mut |list, part| {
                if list != wanted {
                    return Ok(());
                }
                match left.next() {
                    Some(&bytes) if bytes as usize == part.len() => output.write_all(part),
                    _ => Err(io::Error::other("its file has changed")),
                }
            })?;
        }
        write_offsets(self.header_lengths(), output)?;
        self.headers.iter().try_for_each(|header| output.write_all(header))?;
        Ok(())
    }
}

fn lengths(lengths: &[u32]) -> impl ExactSizeIterator<Item = u64> {
    lengths.iter().copied().map(u64::from)
}

/// Of a list of parts of different lengths: where each begins, then all of them.
fn list_bytes(lengths: impl ExactSizeIterator<Item = u64>) -> u64 {
    OFFSET_BYTES * lengths.len() as u64 + lengths.sum::<u64>()
}

fn write_offsets(
    lengths: impl ExactSizeIterator<Item = u64>,
    output: &mut impl Write,
) -> Result<(), GuestInputError> {
    let mut at = OFFSET_BYTES * lengths.len() as u64;
    for bytes in lengths {
        output.write_all(&offset(at)?)?;
        at += bytes;
    }
    Ok(())
}

/// Nodes give headers in either direction; a guest takes them from the oldest on.
fn chain_to(parent: B256, headers: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, GuestInputError> {
    let mut known = Vec::with_capacity(headers.len());
    for rlp in headers {
        let (before, number) = parent_and_number(&rlp)
            .map_err(|error| wrong(format!("one of its headers is no RLP of a header: {error}")))?;
        known.push((number, before, keccak256(&rlp), rlp));
    }
    known.sort_by_key(|(number, ..)| *number);
    match known.last() {
        None => return Err(wrong("it has no headers".to_owned())),
        Some((.., hash, _)) if *hash != parent => {
            return Err(wrong(format!(
                "the newest of its headers is not the block's parent {}",
                short(&parent)
            )));
        }
        Some(_) => {}
    }
    for pair in known.windows(2) {
        if let [(_, _, hash, _), (number, before, ..)] = pair
            && before != hash
        {
            return Err(wrong(format!(
                "its headers are no chain: the one before {number} is not its parent"
            )));
        }
    }
    Ok(known.into_iter().map(|(.., rlp)| rlp).collect())
}

/// The first of a header's fields, and the ninth.
fn parent_and_number(rlp: &[u8]) -> alloy_rlp::Result<(B256, u64)> {
    let mut fields = Header::decode_bytes(&mut &*rlp, true)?;
    let parent = B256::decode(&mut fields)?;
    for _ in 0..7 {
        Header::decode_bytes(&mut fields, false)?;
    }
    Ok((parent, u64::decode(&mut fields)?))
}

fn wrong(why: String) -> GuestInputError {
    GuestInputError::Witness(why)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    State,
    Codes,
    Headers,
}

impl List {
    const ALL: [Self; 3] = [Self::State, Self::Codes, Self::Headers];

    fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Codes => "codes",
            Self::Headers => "headers",
        }
    }

    fn most_bytes(self) -> usize {
        match self {
            Self::State => MOST_NODE_BYTES,
            Self::Codes => MOST_CODE_BYTES,
            Self::Headers => MOST_HEADER_BYTES,
        }
    }
}

type Sink<'a> = dyn FnMut(List, &[u8]) -> io::Result<()> + 'a;

/// Reads a witness from its beginning, and hands on each part, decoded.
fn read(mut file: &File, sink: &mut Sink<'_>) -> Result<(), GuestInputError> {
    file.seek(SeekFrom::Start(0))?;
    let mut failed = None;
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(READ_BYTES, file));
    let reading = Reading { sink, part: Vec::new(), failed: &mut failed };
    let done = reading.deserialize(&mut json).and_then(|()| json.end());
    match (failed, done) {
        (Some(error), _) => Err(error.into()),
        (None, Err(error)) if error.is_io() => Err(io::Error::from(error).into()),
        (None, Err(error)) => Err(wrong(error.to_string())),
        (None, Ok(())) => Ok(()),
    }
}

struct Reading<'a, 'b> {
    sink: &'a mut Sink<'b>,
    /// The part that is being handed on.
    part: Vec<u8>,
    /// Why the sink took no more.
    failed: &'a mut Option<io::Error>,
}

impl<'de> DeserializeSeed<'de> for Reading<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with state, codes and headers")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Some(list) = List::ALL.into_iter().find(|list| list.name() == name) else {
                // Such as the keys of accounts, which a guest needs none of.
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen.contains(&list) {
                return Err(A::Error::custom(format!("it has `{name}` twice")));
            }
            seen.push(list);
            map.next_value_seed(Parts { reading: &mut self, list })?;
        }
        match List::ALL.into_iter().find(|list| !seen.contains(list)) {
            Some(missing) => Err(A::Error::custom(format!("it has no `{}`", missing.name()))),
            None => Ok(()),
        }
    }
}

struct Parts<'r, 'a, 'b> {
    reading: &'r mut Reading<'a, 'b>,
    list: List,
}

impl<'de> DeserializeSeed<'de> for Parts<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parts<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` as a list", self.list.name())
    }

    /// As some write an empty list.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        let Self { reading, list } = self;
        let mut count = 0_usize;
        while parts.next_element_seed(Part { reading: &mut *reading, list })?.is_some() {
            count += 1;
            if list == List::Headers && count > MOST_HEADERS {
                return Err(A::Error::custom(format!("it has more than {MOST_HEADERS} headers")));
            }
        }
        Ok(())
    }
}

struct Part<'r, 'a, 'b> {
    reading: &'r mut Reading<'a, 'b>,
    list: List,
}

impl<'de> DeserializeSeed<'de> for Part<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Part<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a part of `{}` as a text of hex", self.list.name())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let Self { reading, list } = self;
        let name = list.name();
        let digits = text.strip_prefix("0x").filter(|digits| digits.len().is_multiple_of(2));
        let digits = digits.ok_or_else(|| E::custom(format!("a part of `{name}` is no text of hex")))?;
        let (bytes, most) = (digits.len() / 2, list.most_bytes());
        if bytes > most {
            return Err(E::custom(format!("a part of `{name}` has {bytes} bytes, and a guest takes {most}")));
        }
        reading.part.resize(bytes, 0);
        hex::decode_to_slice(digits, &mut reading.part)
            .map_err(|_| E::custom(format!("a part of `{name}` is no text of hex")))?;
        (reading.sink)(list, &reading.part).map_err(|error| {
            *reading.failed = Some(error);
            E::custom("it is not taken")
        })
    }
}
