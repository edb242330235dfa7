//! Where a yard is, to a machine that nobody told.

use std::process::Stdio;

use proofyard_aws_tests::local::LocalAws;
use proofyard_aws_tests::metadata::{Metadata, REGION};
use proofyard_aws_tests::relay::Relay;
use proofyard_aws_tests::wait_for;

#[test]
fn an_instance_learns_its_region_from_its_metadata_service() {
    let (aws, metadata) = (LocalAws::without_functions(), Metadata::start());
    // A request names in its signature the region that it is for.
    let relay = Relay::silent_from(aws.endpoint(), &format!("/{REGION}/"));
    let home = tempfile::tempdir().unwrap();
    let mut status = aws.program("proofyard");
    status.args(["status", "--aws", &aws.yard]).stdout(Stdio::null()).stderr(Stdio::null());
    status.env("HOME", home.path()).env("AWS_ENDPOINT_URL", &relay.endpoint);
    status.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata.endpoint);
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED"] {
        status.env_remove(name);
    }
    let mut status = status.spawn().unwrap();
    wait_for("a request for the instance's region", || relay.is_silent().then_some(()));
    status.kill().unwrap();
    status.wait().unwrap();
}
