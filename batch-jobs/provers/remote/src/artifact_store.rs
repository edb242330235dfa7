//! Artifacts in the Redis of a proving cluster, as its own clients keep them: each under its id, compressed by zstd, or in pieces in a
//! hash where it is large.
//!
//! With several nodes, an artifact is on the one that a hash of its id says.

use std::io::Read;
use std::time::Duration;

use redis::{Client, Cmd, Connection, RedisError};
use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::http::{CONNECT, LONG, Line, NoAnswer, SHORT};
use crate::service::ServiceError;
use crate::settings::Arguments;

/// Of a hash with an artifact's pieces: how many there are. It is there only once all of them are.
const PIECES: &str = "__n";

/// What Redis takes as one value, as it comes (`proto-max-bulk-len`).
const MOST_BYTES: usize = 512 << 20;

pub(crate) struct ArtifactStore {
    nodes: Vec<Client>,
}

/// How long an artifact is kept.
#[derive(Clone, Copy)]
pub(crate) enum Keep {
    ForEver,
    Seconds(u64),
}

impl ArtifactStore {
    /// Addresses are separated by commas. None where they are not there, or are wrong, which is a mistake then.
    pub fn read(arguments: &mut Arguments<'_>) -> Option<ArtifactStore> {
        let secret = arguments.secret("redis_from");
        let addresses = match (arguments.text("redis"), secret) {
            (Some(addresses), None) => {
                if addresses.contains('@') {
                    arguments.mistake(
                        "`redis` has a password in it, which does not belong in the pipeline: name the variable that holds \
                         the addresses, `redis_from`",
                    );
                    return None;
                }
                addresses
            }
            (None, Some(addresses)) => addresses,
            (Some(_), Some(_)) => {
                arguments.mistake("`redis` and `redis_from` say the same: leave one out");
                return None;
            }
            (None, None) => {
                arguments.mistake(
                    "`redis` is missing: where the cluster's artifacts are, \"redis://redis.example:6379\"",
                );
                return None;
            }
        };
        let nodes: Vec<Option<Client>> = addresses.split(',').map(|address| node(address.trim())).collect();
        if nodes.iter().any(Option::is_none) {
            // The addresses may hold a password.
            arguments.mistake("`redis`, or what `redis_from` names, must be addresses that begin with redis://, separated by commas");
        }
        nodes.into_iter().collect::<Option<Vec<_>>>().map(|nodes| ArtifactStore { nodes })
    }

    /// Whether all nodes answer.
    pub fn ask_all(&self, line: &mut Line<'_>) -> Result<(), ServiceError> {
        for node in &self.nodes {
            on(node, line, SHORT, |connection| redis::cmd("PING").query::<String>(connection))?;
        }
        Ok(())
    }

    pub fn has(&self, line: &mut Line<'_>, id: &str) -> Result<bool, ServiceError> {
        // The pieces of an older cluster have no number; those of a proof whose job is done are all there.
        let either = two("EXISTS", id, pieces_of(id));
        on(self.node_of(id), line, SHORT, move |connection| Ok(either.query::<u64>(connection)? > 0))
    }

    /// Puts an artifact there, in the place of one of this id.
    pub fn put(&self, line: &mut Line<'_>, id: &str, content: &[u8], keep: Keep) -> Result<(), ServiceError> {
        let compressed = compress_to_vec(content, CompressionLevel::Fastest);
        if compressed.len() > MOST_BYTES {
            return Err(ServiceError::permanent(format!(
                "{id} has {} bytes compressed, and Redis takes {MOST_BYTES}",
                compressed.len()
            )));
        }
        let mut set = redis::cmd("SET");
        set.arg(id).arg(compressed);
        if let Keep::Seconds(seconds) = keep {
            set.arg("EX").arg(seconds);
        }
        // Pieces would be read in its place.
        let unlink = one("UNLINK", &pieces_of(id));
        on(self.node_of(id), line, LONG, move |connection| {
            set.query::<()>(connection)?;
            unlink.query::<()>(connection)
        })
    }

    /// None where it is not there, or not any more.
    pub fn get(
        &self,
        line: &mut Line<'_>,
        id: &str,
        most_bytes: u64,
    ) -> Result<Option<Vec<u8>>, ServiceError> {
        let (key, pieces, most) = (id.to_owned(), pieces_of(id), most_bytes);
        let read = on(self.node_of(id), line, LONG, move |connection| {
            let told = two("HGET", &pieces, PIECES).query::<Option<u64>>(connection)?;
            let count = match told {
                Some(count) => count,
                None => one("HLEN", &pieces).query::<u64>(connection)?,
            };
            if count == 0 {
                return one("GET", &key).query::<Option<Vec<u8>>>(connection);
            }
            let mut whole = Vec::new();
            for index in 0..count {
                let piece = two("HGET", &pieces, index.to_string()).query::<Option<Vec<u8>>>(connection)?;
                let Some(piece) = piece else { return Ok(None) };
                whole.extend(piece);
                // What is compressed is rarely longer than what it is of.
                if whole.len() as u64 > most.saturating_add(1 << 20) {
                    break;
                }
            }
            Ok(Some(whole))
        })?;
        let Some(compressed) = read else { return Ok(None) };
        let broken = |error: &dyn std::fmt::Display| {
            ServiceError::CutOff(format!("what the cluster's Redis has as {id} is not whole: {error}"))
        };
        let decoder = StreamingDecoder::new(compressed.as_slice()).map_err(|error| broken(&error))?;
        let mut content = Vec::new();
        decoder
            .take(most_bytes.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|error| broken(&error))?;
        if content.len() as u64 > most_bytes {
            return Err(ServiceError::permanent(format!(
                "{id} has more than the {most_bytes} bytes that are allowed"
            )));
        }
        Ok(Some(content))
    }

    fn node_of(&self, id: &str) -> &Client {
        let hash =
            id.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(16_777_619).wrapping_add(byte.into()));
        &self.nodes[(hash % self.nodes.len() as u64) as usize]
    }
}

fn node(address: &str) -> Option<Client> {
    address.strip_prefix("redis://").filter(|rest| !rest.is_empty())?;
    Client::open(address).ok()
}

fn pieces_of(id: &str) -> String {
    format!("{id}:chunks")
}

fn one(name: &str, argument: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(argument);
    command
}

fn two(name: &str, first: impl AsRef<str>, second: impl AsRef<str>) -> Cmd {
    let mut command = one(name, first.as_ref());
    command.arg(second.as_ref());
    command
}

/// Asks a node, on a connection of its own, for as long as the work is wanted.
fn on<T: Send + 'static>(
    node: &Client,
    line: &mut Line<'_>,
    limit: Duration,
    ask: impl FnOnce(&mut Connection) -> Result<T, RedisError> + Send + 'static,
) -> Result<T, ServiceError> {
    let name = node.get_connection_info().addr.to_string();
    let limit = line.limit(limit, &name)?;
    let node = node.clone();
    let call = move || {
        let failed = |error: RedisError| NoAnswer::NotSent(format!("the cluster's Redis at {name}: {error}"));
        let mut connection = node.get_connection_with_timeout(CONNECT.min(limit)).map_err(failed)?;
        connection.set_read_timeout(Some(limit)).map_err(failed)?;
        connection.set_write_timeout(Some(limit)).map_err(failed)?;
        ask(&mut connection).map_err(failed)
    };
    Ok(line.wait(call, || {})?)
}
