//! Hands a block's proofs in to beacon nodes, as EIP-8025 has it: in envelopes that name the beacon block which carries the
//! block, signed by a validator.
//!
//! The nodes are asked at once, with half of the time for finding the beacon block and half for taking the proofs; behind the
//! first good answer the others have a moment only, so that one that hangs holds up no block. A proof is handed in once one
//! node has it, since nodes pass proofs on; a block is done once all its proofs are. What is said again after a crash has the
//! same bytes: nodes know it, and say yes.
//!
//! Where two beacon blocks are at one slot nothing is handed in: a proof would count for one of two, and say which.

mod envelope;
mod keystore;
mod node;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use proofyard_core::error::with_causes;
use proofyard_core::pipeline::{Beacon, BeaconNodes, BlockWord};
use proofyard_core::sinks::Trouble;
use proofyard_sinks::{BlockMessage, Message, ProverProof};

pub use self::envelope::MAX_PROOF_BYTES;
use self::envelope::{Envelope, Root, SignedEnvelope, domain, hexed, signing_root};
use self::keystore::Key;
use self::node::{Network, Node, Taken, Validator};
use crate::{Failure, Surroundings, variable};

/// `MAX_EXECUTION_PROOFS_PER_PAYLOAD`, and what one call takes.
const PROOFS_A_CALL: usize = 4;
/// As many as a pipeline may name.
const MAX_NODES: usize = 8;
/// So long at most other nodes are waited for once one has said all that is needed.
const MOMENT: Duration = Duration::from_secs(1);

pub(crate) fn tell(
    target: &Beacon,
    message: &Message,
    surroundings: &impl Surroundings,
) -> Result<(), Failure> {
    let Message::Block(block) = message else {
        return Err(Failure::Refused(
            "proofs of blocks are handed in, and this is an entry of a log".to_owned(),
        ));
    };
    if !matches!(block.word, BlockWord::Accepted | BlockWord::Committed) {
        return Ok(());
    }
    let Proofs { proofs, unfit } = Proofs::of(target, block)?;
    let outcome = match proofs.is_empty() {
        true => Ok(()),
        false => hand_in(target, block, proofs, surroundings),
    };
    match (outcome, unfit.is_empty()) {
        (Ok(()), true) => Ok(()),
        (Ok(()), false) => Err(Failure::Refused(unfit.join("; "))),
        (Err(Failure::Refused(reason)), _) => {
            Err(Failure::Refused([vec![reason], unfit].concat().join("; ")))
        }
        (Err(later), _) => Err(later),
    }
}

/// A proof and its type.
struct TypedProof {
    prover: String,
    proof_type: u8,
    data: Vec<u8>,
}

/// What of a block is handed in.
#[derive(Default)]
struct Proofs {
    proofs: Vec<TypedProof>,
    /// Why others never are.
    unfit: Vec<String>,
}

impl Proofs {
    fn of(target: &Beacon, block: &BlockMessage) -> Result<Self, Failure> {
        let mut found = Self::default();
        for proof in &block.proofs {
            let Some(proof_type) = target.proof_types.get(&proof.prover).copied() else { continue };
            let (prover, data) = (proof.prover.clone(), read(proof)?);
            match data.len() as u64 {
                0 => found.unfit.push(format!("the proof of {prover} is empty")),
                bytes if bytes > MAX_PROOF_BYTES => found.unfit.push(format!(
                    "the proof of {prover} has {} bytes, and nodes take {MAX_PROOF_BYTES} at most",
                    proof.bytes
                )),
                _ => found.proofs.push(TypedProof { prover, proof_type, data }),
            }
        }
        Ok(found)
    }
}

fn read(proof: &ProverProof) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read =
        File::open(&proof.file).and_then(|file| file.take(MAX_PROOF_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::later(format!("{} cannot be read: {error}", proof.file.display())))?;
    Ok(bytes)
}

/// What a node knows of a block's slot.
struct Seen {
    network: Network,
    slot: u64,
    /// All beacon blocks there.
    roots: BTreeSet<Root>,
    carrier: Option<Carrier>,
    /// Asked for where there is no carrier.
    head_slot: Option<u64>,
}

/// The beacon block that carries the block.
#[derive(Clone)]
struct Carrier {
    root: Root,
    /// The fork's name.
    version: String,
}

fn hand_in(
    target: &Beacon,
    block: &BlockMessage,
    proofs: Vec<TypedProof>,
    surroundings: &impl Surroundings,
) -> Result<(), Failure> {
    let timestamp_s = block.timestamp_s.ok_or_else(|| Failure::later("the block's time is not told"))?;
    let urls = urls(target, surroundings)?;
    let half = Duration::from_millis(target.time_limit_ms / 2);
    let look = nodes(&urls, half);
    let hash = block.hash.clone();
    let seen =
        of_each(&look, move |node| see(node, hash.as_str(), timestamp_s), |seen| seen.carrier.is_some());
    let place = agreed(&seen)?;
    let password = surroundings.variable(&target.password_from);
    let password = password
        .ok_or_else(|| Failure::later(format!("the environment here has no {}", target.password_from)))?;
    let key = Key::open(Path::new(&target.keystore), &password);
    let key = key
        .map_err(|fault| Failure::later(format!("keystore {}: {}", target.keystore, with_causes(&fault))))?;
    let give = nodes(&urls, half);
    let validator_index = validator(target, &key, &place.nodes(&give, &seen))?;
    let fork = place.network.fork_at(place.slot);
    let fork = fork.ok_or_else(|| Failure::later("the nodes know no fork for the block's slot"))?;
    let domain = domain(fork, place.network.genesis_validators_root);
    let provers: Vec<String> = proofs.iter().map(|proof| proof.prover.clone()).collect();
    let signed = proofs.into_iter().map(|TypedProof { proof_type, data, .. }| {
        let message = Envelope { proof_data: data, proof_type, beacon_block_root: place.carrier.root };
        let signature = key.sign(&signing_root(&message, domain));
        SignedEnvelope { message, validator_index, signature }
    });
    let signed: Arc<[SignedEnvelope]> = signed.collect();
    let version = place.carrier.version.clone();
    let call = move |node: &Node| {
        let calls = signed.chunks(PROOFS_A_CALL).map(|call| node.hand_in(call, &version));
        let taken = calls.collect::<Result<Vec<Taken>, Failure>>()?.concat();
        let takes_all = taken.iter().all(Result::is_ok);
        let head_slot = if takes_all { None } else { node.head_slot().ok() };
        Ok(Said { taken, head_slot })
    };
    let said = of_each(&give, call, |said| said.taken.iter().all(Result::is_ok));
    judged(&provers, said, &place)
}

/// What a node said of the proofs.
struct Said {
    taken: Taken,
    /// Asked for where it does not take all.
    head_slot: Option<u64>,
}

fn urls(target: &Beacon, surroundings: &impl Surroundings) -> Result<Vec<String>, Failure> {
    let (name, urls) = match &target.nodes {
        BeaconNodes::Are(urls) => ("beacon", urls.clone()),
        BeaconNodes::From(name) => {
            let text = variable(name, surroundings)?;
            let urls = text.split(|letter: char| letter.is_whitespace() || letter == ',');
            (name.as_str(), urls.filter(|url| !url.is_empty()).map(str::to_owned).collect())
        }
    };
    match urls.len() {
        0 => return Err(Failure::later(format!("{name} holds no URL"))),
        count if count > MAX_NODES => {
            return Err(Failure::later(format!(
                "{name} holds {count} URLs, and {MAX_NODES} nodes are the most"
            )));
        }
        _ => {}
    }
    // Any part of a URL may be a key, so it is shown by its place.
    for (place, url) in (1..).zip(&urls) {
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(Failure::later(format!(
                "{name}: URL {place} does not start with http:// or https://"
            )));
        }
        if url.contains(['?', '#']) {
            let reason = "has a query (?) or a fragment (#), behind which no path can stand";
            return Err(Failure::later(format!("{name}: URL {place} {reason}")));
        }
    }
    Ok(urls)
}

fn nodes(urls: &[String], time: Duration) -> Vec<Node> {
    let until = Instant::now() + time;
    urls.iter().map(|url| Node { url: url.clone(), until }).collect()
}

/// What each node says, asked all at once. Who is not waited for goes on being asked until this program ends.
fn of_each<T: Send + 'static>(
    nodes: &[Node],
    ask: impl Fn(&Node) -> Result<T, Failure> + Send + Sync + 'static,
    is_all: impl Fn(&T) -> bool,
) -> Vec<Result<T, Failure>> {
    let (ask, (tell, hear)) = (Arc::new(ask), mpsc::channel());
    for (at, node) in nodes.iter().enumerate() {
        let (ask, tell, node) = (Arc::clone(&ask), tell.clone(), node.clone());
        // Who hears no more has heard enough.
        thread::spawn(move || _ = tell.send((at, ask(&node))));
    }
    drop(tell);
    let silent = |node: &Node| Err(Failure::later(format!("{}: no answer yet", node.host())));
    let mut answers: Vec<Result<T, Failure>> = nodes.iter().map(silent).collect();
    // A call ends by itself when its time is over, and then says why.
    let mut until = nodes.iter().map(|node| node.until + MOMENT).max().unwrap_or_else(Instant::now);
    loop {
        match hear.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((at, answer)) => {
                if answer.as_ref().is_ok_and(&is_all) {
                    // A part of the time only, so that what is asked next has some.
                    let now = Instant::now();
                    until = until.min(now + MOMENT.min(until.saturating_duration_since(now) / 4));
                }
                answers[at] = answer;
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return answers,
        }
    }
}

/// Looks for the beacon block of a block.
fn see(node: &Node, hash: &str, timestamp_s: u64) -> Result<Seen, Failure> {
    let network = node.network()?;
    let no_slot = || Failure::Refused(format!("{}: no slot of its chain has the block's time", node.host()));
    let slot = network.slot_of(timestamp_s).ok_or_else(no_slot)?;
    let roots: BTreeSet<Root> = node.headers_at(slot)?.iter().map(|header| header.root).collect();
    let mut carrier = None;
    if let (Some(root), 1) = (roots.first(), roots.len()) {
        let carried = node.carried_by(root)?;
        let is_it = carried.hash.is_some_and(|carried| carried.eq_ignore_ascii_case(hash));
        carrier = is_it.then_some(Carrier { root: *root, version: carried.version });
    }
    let head_slot = match carrier {
        Some(_) => None,
        None => Some(node.head_slot()?),
    };
    Ok(Seen { network, slot, roots, carrier, head_slot })
}

/// Where a block is on the beacon chain.
struct Place<'s> {
    network: &'s Network,
    slot: u64,
    carrier: &'s Carrier,
}

impl Place<'_> {
    /// The nodes that know it.
    fn nodes(&self, asked: &[Node], seen: &[Result<Seen, Failure>]) -> Vec<Node> {
        let knows = |seen: &Result<Seen, Failure>| matches!(seen, Ok(Seen { carrier: Some(_), .. }));
        let known = asked.iter().zip(seen).filter(|(_, seen)| knows(seen));
        known.map(|(node, _)| node.clone()).collect()
    }
}

/// What the nodes that answered say together.
fn agreed(seen: &[Result<Seen, Failure>]) -> Result<Place<'_>, Failure> {
    let answers: Vec<&Seen> = seen.iter().flatten().collect();
    let Some(first) = answers.first() else {
        return Err(together(seen.iter().filter_map(|seen| seen.as_ref().err())));
    };
    let Seen { network, slot, .. } = first;
    if !answers.iter().all(|other| network.agrees_with(&other.network, *slot)) {
        return Err(Failure::later("the nodes are of different chains, or of different forks at this slot"));
    }
    let roots: BTreeSet<&Root> = answers.iter().flat_map(|seen| &seen.roots).collect();
    if roots.len() > 1 {
        let roots: Vec<String> = roots.into_iter().map(|root| hexed(root)).collect();
        let list = roots.join(", ");
        let reason = format!("slot {slot} has several beacon blocks, so nothing is handed in: {list}");
        return Err(Failure::Refused(reason));
    }
    if let Some(carrier) = answers.iter().find_map(|seen| seen.carrier.as_ref()) {
        return Ok(Place { network, slot: *slot, carrier });
    }
    let reason = format!("no beacon block at slot {slot} carries the block");
    let heads: Vec<Option<u64>> = seen.iter().map(|seen| seen.as_ref().ok()?.head_slot).collect();
    Err(match network.is_final(*slot, &heads) {
        true => Failure::Refused(format!("{reason}, and the nodes are an epoch past it")),
        false => Failure::later(reason),
    })
}

impl Network {
    /// Whether what nodes with these heads say of a slot is final; `None` is one that did not answer. A node knows all of a slot an
    /// epoch later. Where some do not answer, the others are given another epoch, and then decide: one that is down or takes no
    /// proofs at all must not keep blocks open for ever.
    fn is_final(&self, slot: u64, heads: &[Option<u64>]) -> bool {
        let epochs = if heads.contains(&None) { 2 } else { 1 };
        let end = slot.saturating_add(self.slots_per_epoch.saturating_mul(epochs));
        let mut known = heads.iter().flatten().peekable();
        known.peek().is_some() && known.all(|head_slot| *head_slot >= end)
    }
}

/// The index under which the key's validator signs; it is active.
fn validator(target: &Beacon, key: &Key, nodes: &[Node]) -> Result<u64, Failure> {
    let key_text = hexed(&key.public);
    let id = target.validator_index.map_or(key_text.clone(), |index| index.to_string());
    let ask = move |node: &Node| {
        let unknown = || Failure::later(format!("{}: it knows no validator {id}", node.host()));
        node.validator(&id)?.ok_or_else(unknown)
    };
    let public = key.public;
    let signs = move |validator: &Validator| validator.has_key(&public) && validator.is_active();
    let answers = of_each(nodes, ask, signs);
    let known = || answers.iter().flatten();
    // A node that is behind may not know yet that it is active.
    let Some(validator) = known().find(|validator| signs(validator)).or(known().next()) else {
        return Err(together(answers.iter().filter_map(|answer| answer.as_ref().err())));
    };
    let Validator { index, status, .. } = validator;
    if !validator.has_key(&key.public) {
        return Err(Failure::later(format!(
            "validator {index} has another key than the keystore, {key_text}"
        )));
    }
    if !validator.is_active() {
        return Err(Failure::later(format!("validator {index} is not active: {status}")));
    }
    Ok(*index)
}

/// What became of the proofs, by what each node said of each.
fn judged(provers: &[String], said: Vec<Result<Said, Failure>>, place: &Place<'_>) -> Result<(), Failure> {
    let lists: Vec<&Taken> = said.iter().flatten().map(|said| &said.taken).collect();
    let mut refused = Vec::new();
    for (at, prover) in provers.iter().enumerate() {
        let words = lists.iter().filter_map(|list| list.get(at));
        if !words.clone().any(Result::is_ok) {
            refused
                .extend(words.filter_map(|word| word.as_ref().err()).map(|why| format!("{prover}: {why}")));
        }
    }
    let failures: Vec<&Failure> = said.iter().filter_map(|said| said.as_ref().err()).collect();
    // What no node took, all that answered have refused: their heads count.
    let heads: Vec<Option<u64>> = said.iter().map(|said| said.as_ref().ok()?.head_slot).collect();
    match (lists.is_empty(), refused.is_empty()) {
        (false, true) => Ok(()),
        // Right behind a block a node may not have all that it needs to look at the proof.
        (false, false) if place.network.is_final(place.slot, &heads) => {
            Err(Failure::Refused(refused.join("; ")))
        }
        _ => {
            let refused = refused.into_iter().map(Failure::later).collect::<Vec<_>>();
            Err(together(refused.iter().chain(failures)))
        }
    }
}

/// Several failures as one: it is tried again, unless all say that it never will be taken.
fn together<'f>(failures: impl Iterator<Item = &'f Failure> + Clone) -> Failure {
    let reasons: Vec<&str> = failures.clone().map(Failure::reason).collect();
    let reason = reasons.join("; ");
    if failures.clone().all(|failure| matches!(failure, Failure::Refused(_))) {
        return Failure::Refused(reason);
    }
    let waits = failures.filter_map(|failure| match failure {
        Failure::Later(trouble) => trouble.wait_ms,
        Failure::Refused(_) => None,
    });
    Failure::Later(Trouble::asking(reason, waits.max()))
}
