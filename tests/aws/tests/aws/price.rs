//! What attempts on spot machines cost: the price of the moment, of the worker's own machine.

use std::time::Instant;

use proofyard_aws_tests::metadata::{CONTAINER_PLACE, Metadata};
use proofyard_aws_tests::toy::ToyYard;
use proofyard_aws_tests::wait_for;

/// One block, proved by a job on a spot machine that costs this, comes to so much, in billionths of a dollar, for each millisecond
/// of its attempt. Answers the worker's log.
fn assert_cost(usd_per_hour: &'static str, pool: &str, nanousd_per_ms: u64) -> String {
    let (yard, metadata) = (ToyYard::new(&[], "", pool), Metadata::start());
    metadata.is_spot(usd_per_hour);
    let began = Instant::now();
    let task = yard.block(1);
    let mut worker = yard.worker("worker", |command| {
        command.args(["--max-tasks", "1"]).env("AWS_BATCH_JOB_ID", "job");
        command.env_remove("AWS_EC2_METADATA_DISABLED");
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint);
        command.env("AWS_ENDPOINT_URL_EC2", &metadata.endpoint);
        command.env("ECS_CONTAINER_METADATA_URI_V4", format!("{}{CONTAINER_PLACE}", metadata.endpoint));
    });
    assert!(worker.ended().success(), "{}", worker.log());
    let usage = wait_for("a result", || yard.task(&task).is_accepted().then(|| yard.task(&task).usage()));
    let slot_ms = usage.nanousd / nanousd_per_ms;
    assert_eq!((usage.priced, usage.nanousd % nanousd_per_ms), (1, 0), "{usage:?}\n{}", worker.log());
    assert!(slot_ms > 0 && u128::from(slot_ms) <= began.elapsed().as_millis(), "{usage:?}");
    worker.log()
}

/// Half of a machine of 0.36 USD an hour, whatever the pool says.
#[test]
fn an_attempt_on_a_spot_machine_costs_what_that_costs_now() {
    let log = assert_cost("0.360000", "price_usd_per_hour = 3.6324", 50);
    assert!(log.contains("what this spot machine costs"), "{log}");
}

/// As where the role may not ask.
#[test]
fn where_nobody_says_the_price_the_pools_counts() {
    let log = assert_cost("", "price_usd_per_hour = 3.6324", 1_009);
    assert!(log.contains("EC2 answered 403") && log.contains("UnauthorizedOperation"), "{log}");
}
