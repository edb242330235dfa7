//! Good pipeline files as their authors see them: what they come to mean, what is odd about them, how they are
//! drawn.

use proofyard_core::pipeline::*;
use proofyard_core::state::{ArtifactRef, PipelineHash};

use crate::common::named;

const DEMO: &str = include_str!("pipeline/demo.toml");
const REALTIME: &str = include_str!("pipeline/realtime.toml");
const ROLLUP: &str = include_str!("pipeline/rollup.toml");
const FOLDING: &str = include_str!("pipeline/folding.toml");

/// The files of `examples/`, as they stand there.
#[test]
fn the_examples_have_no_mistakes_and_are_drawn() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let mut drawn = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let drawing = draw(&pipeline(&text));
            assert_eq!(
                drawing.contains("blocks of the node at"),
                text.contains("[source.node]"),
                "{drawing}"
            );
            drawn += 1;
        }
    }
    assert!(drawn >= 9, "{drawn}");
}

fn good(text: &str) -> Checked {
    parse(text).unwrap_or_else(|mistakes| {
        let told: Vec<String> =
            mistakes.iter().map(|mistake| mistake.display("good.toml").to_string()).collect();
        panic!("{}", told.join("\n"))
    })
}

fn pipeline(text: &str) -> Pipeline {
    let checked = good(text);
    assert_eq!(checked.warnings, vec![]);
    checked.pipeline
}

fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.iter().map(|warning| warning.display("p").to_string()).collect()
}

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.stages.iter().map(|stage| stage.name.as_str()).collect()
}

#[test]
fn what_is_left_out_has_its_default() {
    let demo = pipeline(DEMO);
    let chain = Chain {
        name: named("demo"),
        start_height: 1,
        window: 8,
        late: Late::Wait,
        lane: 0,
        tick_ms: 15_000,
        header: Header::Ethereum,
        strict: false,
    };
    assert_eq!(demo.chain, chain);
    let segment = Stage {
        name: "segment".to_string(),
        strategy: Strategy::Split,
        from: vec![Source::Block],
        provers: vec![(0, "miden-segment".to_string())],
        pool: "cpu".to_string(),
        output: Output::Proof,
        limits: TaskLimits {
            max_attempts: 3,
            max_losses: 10,
            max_crashes: 3,
            backoff_ms: 1_000,
            time_limit_ms: 600_000,
            total_ms: None,
            hedge_ms: None,
            output_bytes: 16 << 20,
            memory_bytes: None,
        },
        cut_by: None,
        after_commit: false,
        depth: 0,
    };
    assert_eq!(demo.stages[0], segment);
    let join = &demo.stages[1];
    assert_eq!(join.strategy, Strategy::Match { on: vec!["program".to_string()], quorum: None });
    assert_eq!((join.from.as_slice(), join.depth), ([Source::Stage(0)].as_slice(), 1));
    assert_eq!(demo.commit, 1);
    let command = vec!["proofyard-miden".to_string(), "join".to_string()];
    let prover = Prover {
        command,
        protocol: Protocol::Stream,
        verify: Verify::Same,
        verification_key: None,
        arguments: Default::default(),
        environment: Default::default(),
        environment_from: Vec::new(),
        files: Vec::new(),
        writes: Vec::new(),
        contract: None,
    };
    assert_eq!(demo.provers["miden-join"], prover);
    let pool = Pool {
        slots: 2,
        gpus_per_slot: 0,
        lease_ms: 30_000,
        quarantine_after: 5,
        quarantine_ms: 60_000,
        workers_advance: false,
        price_microusd_per_hour: None,
        watts: None,
    };
    assert_eq!(demo.pools["cpu"], pool);
    assert_eq!(demo.sinks["file"].stage, demo.commit);
}

#[test]
fn a_quorum_of_provers_commits_in_real_time() {
    let realtime = pipeline(REALTIME);
    assert_eq!(realtime.chain.late, Late::Miss { deadline_ms: 12_000 });
    assert_eq!((realtime.chain.tick_ms, realtime.chain.lane), (1_000, 5));
    let (index, agree) = realtime.stage("agree").unwrap();
    assert_eq!(realtime.commit, index);
    let quorum = Some(Quorum { need: 2, cancel_rest: true });
    assert_eq!(agree.strategy, Strategy::Match { on: vec!["post_state".to_string()], quorum });
    assert_eq!((agree.prover_at(0), agree.pool.as_str()), (None, ""));
    assert!(realtime.stages.iter().all(|stage| !stage.after_commit && stage.cut_by.is_none()));

    let (_, sp1) = realtime.stage("sp1").unwrap();
    assert_eq!((sp1.prover_at(21_999_999), sp1.prover_at(22_000_000)), (Some("sp1"), Some("sp1-next")));
    let verifier = Verify::Command(vec!["sp1-verifier".to_string(), "--strict".to_string()]);
    assert_eq!(realtime.provers["sp1"].verify, verifier);
    assert_eq!(realtime.provers["risc0"].protocol, Protocol::FilesBare);
    assert_eq!(realtime.provers["zisk"].environment["EMPTY"], "");
}

#[test]
fn a_rollup_proves_ranges_of_committed_blocks() {
    let rollup = pipeline(ROLLUP);
    assert_eq!(names(&rollup), ["partition", "segment", "join", "aggregate", "wrap"]);
    assert_eq!(rollup.commit, 2);
    let after: Vec<bool> = rollup.stages.iter().map(|stage| stage.after_commit).collect();
    assert_eq!(after, [false, false, false, true, true]);
    let cuts: Vec<Option<usize>> = rollup.stages.iter().map(|stage| stage.cut_by).collect();
    assert_eq!(cuts, [None, None, None, Some(3), Some(3)]);
    let depths: Vec<u32> = rollup.stages.iter().map(|stage| stage.depth).collect();
    assert_eq!(depths, [0, 1, 2, 3, 4]);
    assert_eq!(rollup.stages[2].from, [Source::Stage(1), Source::Block]);
    assert_eq!((rollup.commit_cut(), rollup.final_stage_of_cut(3)), (None, 4));
    let rule = CutRule {
        size: 32,
        budget: Some(CutBudget { field: "gasUsed".to_string(), max: 30_000_000 }),
        max_wait_ms: Some(600_000),
        cut_on: Some("batch".to_string()),
        arity: None,
    };
    assert_eq!(rollup.stages[3].strategy, Strategy::Sequential(rule));
    assert_eq!((rollup.sinks["blocks"].stage, rollup.sinks["l1"].stage), (2, 4));
}

#[test]
fn a_pipeline_of_ranges_commits_by_cuts() {
    let folding = pipeline(FOLDING);
    assert_eq!((folding.commit, folding.commit_cut()), (0, Some(0)));
    assert!(!folding.stages[0].after_commit);
    assert_eq!(folding.chain.tick_ms, 5_000);
}

#[test]
fn a_stage_in_a_cut_may_commit_and_others_work_on() {
    let worker = "prover = \"fold\"\npool = \"cpu\"\n";
    let wrap = format!("[stage.wrap]\nstrategy = \"match\"\nfrom = \"fold\"\n{worker}");
    let more = format!("[stage.more]\nstrategy = \"split\"\nfrom = \"block\"\n{worker}");
    let text = FOLDING.replace("commit = \"fold\"", "commit = \"wrap\"") + &wrap + &more;
    let folding = pipeline(&text);
    assert_eq!(names(&folding), ["fold", "wrap", "more"]);
    assert_eq!((folding.commit, folding.commit_cut()), (1, Some(0)));
    let after: Vec<bool> = folding.stages.iter().map(|stage| stage.after_commit).collect();
    assert_eq!(after, [false, false, true]);
}

#[test]
fn what_does_not_lead_to_the_commit_works_behind_it() {
    let text = REALTIME.replace("from = [\"zisk\", \"sp1\", \"risc0\"]", "from = [\"zisk\", \"sp1\"]");
    let realtime = good(&text).pipeline;
    assert_eq!(names(&realtime), ["zisk", "sp1", "risc0", "agree"]);
    let after: Vec<bool> = realtime.stages.iter().map(|stage| stage.after_commit).collect();
    assert_eq!(after, [false, false, true, false]);
}

#[test]
fn odd_things_are_warned_of_and_accepted() {
    let unused = DEMO.to_string() + "[pool.gpu]\n[prover.old]\ncommand = [\"old\"]\nverify = \"none\"\n";
    let told = [
        "p:31:7: no stage uses pool \"gpu\"\n  help: name it in a stage, or take it out",
        "p:32:9: no stage uses prover \"old\"\n  help: name it in a stage, or take it out",
    ];
    assert_eq!(warnings(&unused), told);

    let believed = DEMO.replace("\"segment\"]\n", "\"segment\"]\nverify = \"none\"\n");
    assert_eq!(good(&believed).pipeline.provers["miden-segment"].verify, Verify::None);
    let help = "leave `verify` out to have its own command verify each proof in another process";
    let told = "prover \"miden-segment\" is believed without a verifier";
    assert_eq!(warnings(&believed), [format!("p:20:9: {told}\n  help: {help}")]);

    let split_proof = ROLLUP.replace("output = \"data\"\n", "");
    let told = "\"segment\" splits what \"partition\" proves";
    let help = "if \"partition\" writes a list and no proof, it needs output = \"data\"";
    assert_eq!(warnings(&split_proof), [format!("p:22:8: {told}\n  help: {help}")]);

    let side_by_side =
        REALTIME.replace("from = [\"zisk\", \"sp1\", \"risc0\"]", "from = [\"zisk\", \"sp1\"]");
    let told = "each of \"risc0\", \"agree\" could commit a block; the last one does";
    assert_eq!(warnings(&side_by_side), [format!("p:2:2: {told}\n  help: say which: commit = \"agree\"")]);

    let any = REALTIME.replace("need = 2", "need = 1");
    let told = "`need` is 1 of 3: two values could each have enough";
    let help = "2 or more, or the value that is proved first wins";
    assert_eq!(warnings(&any), [format!("p:38:8: {told}\n  help: {help}")]);

    let beacon = "[sink.b]\nbeacon = [\"http://key@x:5052/y\", \"http://z\"]\nproof_types = { zisk = 1, sp1 = 2 }\nkeystore = \"k\"\n\
                  password_from = \"P\"\n";
    let some = REALTIME.to_string() + beacon;
    let told = "proofs of \"risc0\", \"sp1-next\" are handed in to no beacon node";
    let help = "give each a type in `proof_types`, where the nodes know one";
    let line = REALTIME.lines().count() + 1;
    assert_eq!(warnings(&some), [format!("p:{line}:7: {told}\n  help: {help}")]);
    let drawn = draw(&good(&some).pipeline);
    assert!(drawn.contains("each block --> http://x:5052, http://z"), "{drawn}");
}

#[test]
fn a_cut_may_be_reduced() {
    let folding = pipeline(&FOLDING.replace("size = 8", "size = 8\narity = 3"));
    let Strategy::Sequential(rule) = &folding.stages[0].strategy else { panic!("{folding:?}") };
    assert_eq!((rule.size, rule.arity), (8, Some(3)));
    assert!(draw(&folding).contains("sequential, joined 3 by 3"), "{}", draw(&folding));
}

#[test]
fn forks_are_those_of_all_that_goes_into_a_cut() {
    let of = |stage: &str, fork: &str, text: &str| {
        let plain = format!("prover = \"{stage}\"");
        assert!(text.contains(&plain));
        text.replacen(&plain, &format!("prover = [{{ prover = \"{stage}\" }}, {fork}]"), 1)
    };
    let text = of("partition", "{ prover = \"join\", from_height = 70 }", ROLLUP);
    let text =
        of("wrap", "{ prover = \"wrap\", from_height = 20 }, { prover = \"join\", from_height = 50 }", &text);
    let rollup = pipeline(&text);
    // The partition goes into the join, which goes into the cut; naming a prover again is no fork.
    assert_eq!(rollup.forks_of_cut(3), [50, 70]);
    assert_eq!(pipeline(ROLLUP).forks_of_cut(3), Vec::<u64>::new());
}

#[test]
fn a_provers_files_are_read_in_order() {
    let (first, second) = ("0".repeat(64), "a1".repeat(32));
    let more = format!(
        r#"command = ["zisk-prover", "--keys", "{{files}}"]
        files = [
            {{ name = "proving.key", sha256 = "{first}", bytes = 49_235_088 }},
            {{ name = "a key", sha256 = "{second}", bytes = 0 }},
        ]"#
    );
    let zisk = pipeline(&REALTIME.replace("command = [\"zisk-prover\"]", &more)).provers["zisk"].clone();
    let files: Vec<_> = zisk.files.into_iter().map(|file| (file.name, file.content)).collect();
    let content = |sha256, bytes| ArtifactRef { sha256, bytes };
    let expected = [("proving.key".into(), content(first, 49_235_088)), ("a key".into(), content(second, 0))];
    assert_eq!(files, expected);
}

#[test]
fn keys_are_read_in_one_spelling_and_arguments_as_they_are() {
    let arguments =
        r#"{ po2 = 0x14, name = "x", fast = true, list = [1, "two", -3], deep = { a = [], b = {} } }"#;
    let more = format!("command = [\"zisk-prover\"]\nverification_key = \"0xABcd\"\narguments = {arguments}");
    let zisk = pipeline(&REALTIME.replace("command = [\"zisk-prover\"]", &more)).provers["zisk"].clone();
    assert_eq!(zisk.verification_key.as_deref(), Some("abcd"));
    assert_eq!(zisk.other_key(Some("abcd")), None);
    assert_eq!((zisk.other_key(Some("abce")), zisk.other_key(None)), (Some("abcd"), Some("abcd")));
    let told = serde_json::json!({
        "po2": 20, "name": "x", "fast": true, "list": [1, "two", -3], "deep": {"a": [], "b": {}}
    });
    assert_eq!(serde_json::Value::Object(zisk.arguments), told);
    let large = format!("command = [\"zisk-prover\"]\narguments = {{ large = \"{}\" }}", "a".repeat(65_536));
    let mistakes = parse(&REALTIME.replace("command = [\"zisk-prover\"]", &large)).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert_eq!(mistakes[0].message, "`arguments` takes 65548 bytes as JSON");
}

#[test]
fn there_are_limits() {
    let stage = |index: usize| {
        format!(
            "[stage.s{index}]\nstrategy = \"match\"\nfrom = \"block\"\nprover = \"fold\"\npool = \"cpu\"\n"
        )
    };
    let with = |count: usize| FOLDING.to_string() + &(0..count).map(stage).collect::<String>();
    assert_eq!(good(&with(63)).pipeline.stages.len(), 64);
    let told = parse(&with(64)).unwrap_err();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].message.as_str(), told[0].help.as_str()),
        ("65 stages in one pipeline", "at most 64")
    );

    let long = DEMO.to_string() + &"#".repeat(MAX_TEXT_BYTES);
    assert_eq!(parse(&long).unwrap_err().len(), 1);

    let many: String = (0..1_000).map(|index| format!("k{index} = 1\n")).collect();
    let told = parse(&(DEMO.to_string() + &many)).unwrap_err();
    assert_eq!(told.len(), 101);
    assert_eq!(told[100].message, "and 900 more mistakes");
}

#[test]
fn a_stage_may_stand_before_what_it_reads() {
    let (chain, rest) = DEMO.split_once("[stage.segment]").unwrap();
    let (segment, rest) = rest.split_once("[stage.join]").unwrap();
    let (join, rest) = rest.split_once("[prover.miden-segment]").unwrap();
    let turned = format!("{chain}[stage.join]{join}[stage.segment]{segment}[prover.miden-segment]{rest}");
    assert_eq!(pipeline(&turned), pipeline(DEMO));
}

#[test]
fn a_text_is_named_by_its_hash() {
    let hash = PipelineHash::of_text("abc");
    assert_eq!(hash.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn a_pipeline_is_drawn() {
    let drawn: Vec<String> =
        [DEMO, REALTIME, ROLLUP, FOLDING].iter().map(|text| draw(&pipeline(text))).collect();
    let drawn = drawn.join("\n");
    if std::env::var_os("PIPELINE_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/domain/pipeline/drawn.txt"), &drawn)
            .unwrap();
    } else {
        assert_eq!(drawn, include_str!("pipeline/drawn.txt"));
    }
}

/// All keys of all tables are on the page about pipelines, and no other.
#[test]
fn the_page_about_pipelines_has_every_key() {
    let page = include_str!("../../../../docs/pipelines.md");
    for (table, heading) in [
        ("chain", "chain"),
        ("stage.a", "stage.NAME"),
        ("prover.a", "prover.NAME"),
        ("pool.a", "pool.NAME"),
        ("sink.a", "sink.NAME"),
    ] {
        let mistakes = parse(&format!("[{table}]\nnot-any-known-key = 1\n")).unwrap_err();
        let known = mistakes.iter().find_map(|mistake| mistake.help.strip_prefix("keys here are ")).unwrap();
        let mut known: Vec<&str> = known.split(", ").collect();
        let section = page.split(&format!("\n## `[{heading}]`\n")).nth(1).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut told: Vec<&str> = rows.collect();
        known.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, known, "[{table}]");
    }
}
