//! LocalStack's schedule wakes the sweeper, which sends a minute's ticks, and takes the first of them.

use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::wait_for;

use crate::support::said;

pub fn the_schedule_wakes_the_sweeper(aws: &LocalAws) {
    wait_for("the ticks of a minute", || {
        let lines = said(aws, "sweeper");
        let sent = lines.iter().find(|line| line["message"] == "the ticks of a minute are sent")?;
        // As the pipelines here ask for no other ones.
        assert_eq!(sent["ticks"], 4);
        Some(())
    });
    // A sweep tells of each chain, in the metrics' format.
    wait_for("a tick", || said(aws, "sweeper").iter().any(|line| line.get("_aws").is_some()).then_some(()));
}
