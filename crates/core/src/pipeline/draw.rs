//! A pipeline drawn in plain text: what flows into which stage, section by section of what is proved as one.

use super::{
    AwsTarget, BeaconNodes, Confirm, CutRule, EndpointUrl, EngineSource, Late, NodeSource, Output, Pipeline,
    Pool, Protocol, Prover, Sink, SinkTarget, Source, Stage, Strategy, Verify,
};

/// For a person to read; its form may change.
pub fn draw(pipeline: &Pipeline) -> String {
    let mut lines = vec![headline(pipeline)];
    if let Some(node) = &pipeline.node {
        lines.extend([String::new(), "blocks of the node at".to_string()]);
        lines.extend(aligned(&node_rows(node)));
    }
    if let Some(engine) = &pipeline.engine {
        lines.extend([String::new(), "blocks of the consensus client that calls".to_string()]);
        lines.extend(aligned(&[engine_row(engine)]));
    }
    let rows: Vec<Vec<String>> = (0..pipeline.stages.len()).map(|index| stage_row(index, pipeline)).collect();
    let rows = aligned(&rows);
    for (title, members) in sections(pipeline) {
        lines.extend([String::new(), title]);
        lines.extend(members.iter().map(|index| rows[*index].clone()));
    }
    let pools = pipeline.pools.iter().map(|(name, pool)| pool_row(name, pool, pipeline));
    let provers = pipeline.provers.iter().map(|(name, prover)| prover_row(name, prover));
    let sinks = pipeline.sinks.iter().map(|(name, sink)| {
        let what = if sink.is_level() { "each block" } else { &pipeline.stages[sink.stage].name };
        vec![
            name.clone(),
            format!(
                "{what} --> {}{}{}",
                target_text(&sink.target),
                confirm_text(sink.confirm),
                every_text(sink)
            ),
        ]
    });
    for (title, rows) in
        [("pools", pools.collect::<Vec<_>>()), ("provers", provers.collect()), ("sinks", sinks.collect())]
    {
        if !rows.is_empty() {
            lines.extend([String::new(), title.to_string()]);
            lines.extend(aligned(&rows));
        }
    }
    lines.join("\n") + "\n"
}

/// Who is told. A URL may hold a key: only its host is shown.
fn target_text(target: &SinkTarget) -> String {
    let url_text = |url: &EndpointUrl| match url {
        EndpointUrl::Is(url) => {
            let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
        }
        EndpointUrl::From(name) => format!("what {name} holds"),
    };
    match target {
        SinkTarget::File { path } => path.clone(),
        SinkTarget::Command { command, .. } => format!("runs {}", command.join(" ")),
        SinkTarget::Webhook(webhook) => url_text(&webhook.url),
        SinkTarget::Ethproofs(ethproofs) => {
            format!("{} as cluster {}", url_text(&ethproofs.url), ethproofs.cluster_id)
        }
        SinkTarget::Contract(contract) => {
            let name = contract.function.split('(').next().unwrap_or_default();
            format!("calls {name} of {} on chain {}", contract.address, contract.chain_id)
        }
        SinkTarget::Aws(AwsTarget::Sqs(url)) => {
            format!("queue {}", url.rsplit('/').next().unwrap_or_default())
        }
        SinkTarget::Aws(AwsTarget::Sns(topic)) => {
            format!("topic {}", topic.rsplit(':').next().unwrap_or_default())
        }
        SinkTarget::Aws(AwsTarget::Eventbridge(bus)) => {
            format!("bus {}", bus.rsplit('/').next().unwrap_or_default())
        }
        SinkTarget::Beacon(beacon) => match &beacon.nodes {
            BeaconNodes::From(name) => url_text(&EndpointUrl::From(name.clone())),
            BeaconNodes::Are(urls) => {
                let urls: Vec<String> =
                    urls.iter().map(|url| url_text(&EndpointUrl::Is(url.clone()))).collect();
                urls.join(", ")
            }
        },
    }
}

fn confirm_text(confirm: Confirm) -> &'static str {
    match confirm {
        Confirm::Latest => "",
        Confirm::Safe => ", once safe",
        Confirm::Finalized => ", once finalized",
    }
}

fn every_text(sink: &Sink) -> String {
    sink.every_ms.map_or(String::new(), |every_ms| format!(", the newest every {}", duration(every_ms)))
}

fn headline(pipeline: &Pipeline) -> String {
    let chain = &pipeline.chain;
    let late = match chain.late {
        Late::Wait => "late blocks wait".to_string(),
        Late::Miss { deadline_ms } => format!("blocks are missed after {}", duration(deadline_ms)),
    };
    let lane = if chain.lane == 0 { String::new() } else { format!(", lane {}", chain.lane) };
    let tick = duration(chain.tick_ms);
    format!(
        "{}: from height {}, window {}, {late}{lane}, tick {tick}",
        chain.name, chain.start_height, chain.window
    )
}

fn node_rows(node: &NodeSource) -> Vec<Vec<String>> {
    let polled = format!("asked each {}", duration(node.poll_ms));
    let rpc = node.rpc.iter().map(|url| vec![url.clone(), polled.clone()]);
    let rpc_from = node.rpc_from.iter().map(|name| vec![format!("what {name} holds"), polled.clone()]);
    let told = || "tells of new blocks".to_string();
    let ws = node.ws.iter().map(|url| vec![url.clone(), told()]);
    let ws_from = node.ws_from.iter().map(|name| vec![format!("what {name} holds"), told()]);
    rpc.chain(rpc_from).chain(ws).chain(ws_from).collect()
}

fn engine_row(engine: &EngineSource) -> Vec<String> {
    let with = if engine.witness.is_some() { "payloads with their witnesses" } else { "payloads" };
    vec![engine.listen.to_string(), format!("--> {}", engine.execution), with.to_string()]
}

/// Stages by what they work on, in the order in which that comes to be.
fn sections(pipeline: &Pipeline) -> Vec<(String, Vec<usize>)> {
    let mut sections: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, stage) in pipeline.stages.iter().enumerate() {
        let title = section_of(stage, pipeline);
        match sections.iter_mut().find(|(other, _)| *other == title) {
            Some((_, members)) => members.push(index),
            None => sections.push((title, vec![index])),
        }
    }
    sections
}

fn section_of(stage: &Stage, pipeline: &Pipeline) -> String {
    let cut = stage.cut_by.map(|by| &pipeline.stages[by]);
    match cut.map(|by| (&by.name, &by.strategy)) {
        Some((name, Strategy::Sequential(rule))) => {
            let blocks = if stage.after_commit { "committed blocks" } else { "blocks" };
            format!("each cut of {name}: {}", cut_text(rule, blocks))
        }
        _ if stage.after_commit => "each block, once it is committed".to_string(),
        _ => "each block".to_string(),
    }
}

fn cut_text(rule: &CutRule, blocks: &str) -> String {
    let mut parts = vec![format!("up to {} {blocks}", rule.size)];
    parts.extend(rule.budget.as_ref().map(|budget| format!("{} up to {}", budget.field, budget.max)));
    parts.extend(rule.max_wait_ms.map(|wait| format!("waits at most {}", duration(wait))));
    parts.extend(rule.cut_on.as_ref().map(|field| format!("one value of {field}")));
    parts.join(", ")
}

/// From what, to which stage, how, by whom, where, and what is special about it.
fn stage_row(index: usize, pipeline: &Pipeline) -> Vec<String> {
    let stage = &pipeline.stages[index];
    let name = |source: &Source| match source {
        Source::Block => "block",
        Source::Stage(source) => &pipeline.stages[*source].name,
    };
    let sources: Vec<&str> = stage.from.iter().map(name).collect();
    let mut notes = Vec::new();
    if index == pipeline.commit {
        let what = if stage.cut_by.is_some() { "its blocks" } else { "the block" };
        notes.push(format!("* commits {what}"));
    } else if let Some(by) = stage.cut_by
        && pipeline.commit_cut() != Some(by)
        && pipeline.final_stage_of_cut(by) == index
    {
        notes.push("* to its out log".to_string());
    }
    if let Strategy::Match { quorum: Some(quorum), .. } = &stage.strategy
        && quorum.cancel_rest
    {
        notes.push("(cancels the rest)".to_string());
    }
    if stage.output == Output::Data {
        notes.push("(data)".to_string());
    }
    vec![
        sources.join(" + "),
        format!("--> {}", stage.name),
        strategy_text(stage),
        provers_text(stage),
        if stage.pool.is_empty() { String::new() } else { format!("in {}", stage.pool) },
        notes.join(" "),
    ]
}

fn strategy_text(stage: &Stage) -> String {
    match &stage.strategy {
        Strategy::Split if stage.from == [Source::Block] => "split by its segments".to_string(),
        Strategy::Split => "split by its list".to_string(),
        Strategy::Sequential(CutRule { arity: Some(arity), .. }) => {
            format!("sequential, joined {arity} by {arity}")
        }
        Strategy::Sequential(_) => "sequential".to_string(),
        Strategy::Match { on, quorum } => {
            let how = match quorum {
                Some(quorum) => format!("{} of {} agree", quorum.need, stage.from.len()),
                None => "match".to_string(),
            };
            if on.is_empty() { how } else { format!("{how} on {}", on.join(", ")) }
        }
    }
}

fn provers_text(stage: &Stage) -> String {
    let mut provers = stage.provers.iter();
    let first = provers.next().map(|(_, name)| name.clone()).unwrap_or_else(|| "(only decides)".to_string());
    provers.fold(first, |text, (height, name)| format!("{text}, from {height} {name}"))
}

fn pool_row(name: &str, pool: &Pool, pipeline: &Pipeline) -> Vec<String> {
    let of_pool = pipeline.stages.iter().filter(|stage| stage.pool == name);
    let stages: Vec<&str> = of_pool.map(|stage| stage.name.as_str()).collect();
    let gpus = match pool.gpus_per_slot {
        0 => "no GPU".to_string(),
        1 => "1 GPU each".to_string(),
        gpus => format!("{gpus} GPUs each"),
    };
    let slots = if pool.slots == 1 { "slot" } else { "slots" };
    let lease = format!("lease {}", duration(pool.lease_ms));
    let runs = if stages.is_empty() { "unused".to_string() } else { format!("runs {}", stages.join(", ")) };
    vec![name.to_string(), format!("{} {slots}", pool.slots), gpus, lease, runs]
}

fn prover_row(name: &str, prover: &Prover) -> Vec<String> {
    let protocol = match prover.protocol {
        Protocol::Stream => "stream",
        Protocol::Files => "files",
        Protocol::FilesBare => "files, bare payload",
        Protocol::FilesHeight => "files, heights for blocks",
        Protocol::FilesList => "files, always a list",
    };
    let verify = match &prover.verify {
        Verify::Same => "verified by the same command".to_string(),
        Verify::Command(command) => format!("verified by {}", command.join(" ")),
        Verify::None => "believed without a verifier".to_string(),
    };
    vec![name.to_string(), protocol.to_string(), verify, prover.command.join(" ")]
}

/// Rows with their columns under each other, indented.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("  {}", cells.join("  ")).trim_end().to_string()
    };
    rows.iter().map(line).collect()
}

fn duration(ms: u64) -> String {
    match ms {
        _ if ms >= 120_000 && ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        _ => format!("{ms} ms"),
    }
}
