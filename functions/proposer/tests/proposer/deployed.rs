//! What a yard refuses that could not tell a sink.

use std::collections::BTreeSet;

use proofyard_aws::clients::names::ACTS_TAG;
use proofyard_aws_tests::driver::{Driver, PIPELINE};
use proofyard_aws_tests::local::LocalAws;
use proofyard_core::error::Coded;
use proofyard_core::pipeline::parse;

const CONTRACT: &str = "contract = \"0x5FbDB2315678afecb367f032d93F642f64180aa3\"\nrpc_from = \"L1\"\nchain_id = 1\n\
                        key_from = \"KEY\"\nfunction = \"submit(uint256)\"\narguments = [\"{to}\"]";
const BEACON: &str = "beacon = \"http://127.0.0.1:5052\"\nproof_types = { p = 1 }\nkeystore = \"validator.json\"\n\
                      password_from = \"PASSWORD\"\ntime_limit_ms = 20000";

/// Why a pipeline with this sink is refused; empty where it is not.
async fn refused(driver: &Driver, sink: &str) -> String {
    let text = format!("{PIPELINE}\n[sink.told]\n{sink}\n");
    let checked = parse(&text).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let own = BTreeSet::from(["cpu".to_owned()]);
    match driver.home.check_deployed(&checked.pipeline, &own).await {
        Ok(()) => String::new(),
        Err(refused) => format!("{}: {refused}", refused.code()),
    }
}

#[tokio::test]
async fn a_sink_that_holds_a_key_needs_a_yard_with_a_proposer() {
    let aws = LocalAws::without_functions();
    let driver = Driver::new(&aws).await;
    for sink in [CONTRACT, BEACON] {
        assert_eq!(refused(&driver, sink).await, "");
    }
    // Its pool needs no entry in environments.json, and must not be one.
    let acting = format!(
        "file = \"told.jsonl\"\n[stage.record]\nstrategy = \"match\"\nfrom = \"prove\"\naction = \"contract\"\n{CONTRACT}"
    );
    assert_eq!(refused(&driver, &acting).await, "");
    let said = refused(&driver, &acting.replace("stage.record", "stage.gpu")).await;
    assert!(
        said.starts_with("PY0718") && said.contains("[stage.gpu]") && said.contains("otherwise"),
        "{said}"
    );
    let said = refused(&driver, &BEACON.replace("20000", "30001")).await;
    assert!(said.contains("time_limit_ms = 30000"), "{said}");
    let said = refused(&driver, "command = [\"./submit\"]").await;
    assert!(said.starts_with("PY0718") && said.contains("`contract` or `beacon`"), "{said}");
    // As a yard is whose proposer does not act.
    let sqs = aws_sdk_sqs::Client::new(&driver.config);
    let url = sqs.get_queue_url().queue_name(driver.home.names.propose_queue()).send().await.unwrap();
    sqs.untag_queue().queue_url(url.queue_url().unwrap()).tag_keys(ACTS_TAG).send().await.unwrap();
    assert_eq!(refused(&driver, CONTRACT).await, "");
    let said = refused(&driver, &acting).await;
    assert!(said.starts_with("PY0718") && said.contains("\"proposer\": { \"acts\": true }"), "{said}");
    // And as one for which environments.json asks for none.
    sqs.delete_queue().queue_url(url.queue_url().unwrap()).send().await.unwrap();
    let driver = Driver::new(&aws).await;
    let said = refused(&driver, &acting).await;
    assert!(said.starts_with("PY0718") && said.contains("[stage.record]"), "{said}");
    assert!(
        said.contains("\"proposer\": { \"acts\": true }") && said.contains("environments.json"),
        "{said}"
    );
    for sink in [CONTRACT, BEACON] {
        let said = refused(&driver, sink).await;
        assert!(said.starts_with("PY0718") && said.contains("[sink.told]"), "{said}");
        assert!(said.contains("\"proposer\": {}") && said.contains("environments.json"), "{said}");
    }
    assert_eq!(refused(&driver, "webhook = \"http://127.0.0.1:1/\"\ntime_limit_ms = 1000").await, "");
}
