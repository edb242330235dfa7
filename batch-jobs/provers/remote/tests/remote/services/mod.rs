//! The services, written from their public definitions, without any proving.

pub mod bonsai;
pub mod ere;
pub mod openvm_edge;
pub mod sp1_cluster;
pub mod zisk;

/// A protobuf field of bytes.
pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(content.len() as u64), content].concat()
}

/// A protobuf field that is a number.
pub fn number(number: u8, value: u64) -> Vec<u8> {
    [&[number << 3][..], &varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f | 0x80) as u8);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// The content of the first field of this number, and the value of a number in its place.
pub fn content(mut message: &[u8], number: u8) -> Option<Vec<u8>> {
    let take_varint = |message: &mut &[u8]| {
        let length = message.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let value =
            message[..length].iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
        *message = &message[length..];
        value
    };
    while !message.is_empty() {
        let tag = take_varint(&mut message);
        let value = take_varint(&mut message);
        let is_it = tag >> 3 == u64::from(number);
        match tag & 7 {
            0 if is_it => return Some(value.to_be_bytes().to_vec()),
            2 => {
                let (content, rest) = message.split_at(value as usize);
                if is_it {
                    return Some(content.to_vec());
                }
                message = rest;
            }
            _ => {}
        }
    }
    None
}
