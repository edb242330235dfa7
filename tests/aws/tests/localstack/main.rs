//! A yard on LocalStack: its queues, mappings, rules, schedule and CloudFormation are not those of MiniStack, on which all
//! other tests of yards run.
//!
//! All share one LocalStack, since to start it and to deploy a yard is what takes time. So they are the parts of one test,
//! which run side by side; each has its own chains or queues.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod blocks;
mod failures;
mod queues;
mod schedule;
mod support;

use std::io::Write;
use std::thread;

use proofyard_aws_tests::driver::Driver;
use proofyard_aws_tests::local::LocalAws;
use proofyard_conformance::run_all;
use tokio::runtime::Runtime;

use crate::failures::Failing;

#[test]
fn a_yard_on_localstack() {
    let Some(aws) = LocalAws::on_localstack() else {
        // Not `eprintln`, whose lines nobody sees of a test that passes.
        writeln!(std::io::stderr(), "SKIPPED: a yard on LocalStack, for the reason above").unwrap();
        return;
    };
    not_made(&aws);
    // Before anybody writes to it: it is MiniStack's, or Amazon's where `PROOFYARD_DYNAMODB_LOCAL` says so.
    Runtime::new()
        .unwrap()
        .block_on(async { run_all(&Driver::of_the_table(&aws).await.home.yard.port).await });
    let failing = Failing::prepare(&aws);
    let parts: [(&str, &(dyn Fn() + Sync)); 4] = [
        ("blocks", &|| blocks::blocks_in_any_order_become_proofs_in_order(&aws)),
        ("failures", &|| failing.what_failed_comes_again_and_nothing_else()),
        ("queues", &|| queues::order_visibility_and_dead_letters(&aws)),
        ("schedule", &|| schedule::the_schedule_wakes_the_sweeper(&aws)),
    ];
    let failed: Vec<&str> = thread::scope(|scope| {
        let start = |(name, part): (&'static str, _)| {
            let running = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, part);
            (name, running.unwrap())
        };
        let running: Vec<_> = parts.map(start).into();
        running.into_iter().filter_map(|(name, part)| part.join().is_err().then_some(name)).collect()
    });
    assert_eq!(failed, [""; 0], "see above");
}

/// LocalStack says of some resources that it made them, and does not know what they are. These are all.
fn not_made(aws: &LocalAws) {
    let log = std::fs::read_to_string(aws.state().join("localstack.log")).unwrap();
    let unknown = log.split("No resource provider found for \"").skip(1);
    let unknown: std::collections::BTreeSet<&str> =
        unknown.map(|rest| rest.split('"').next().unwrap()).collect();
    let expected = [
        "AWS::ApiGatewayV2::Api",
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::CloudWatch::Dashboard",
        "AWS::EC2::LaunchTemplate",
    ];
    assert_eq!(unknown.into_iter().collect::<Vec<_>>(), expected);
}
