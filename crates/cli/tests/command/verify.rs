//! Committed proofs are checked again from the artifacts alone.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use super::support::{Place, until};

fn artifact_of(place: &Place, height: u64) -> PathBuf {
    let told = place.json(&["verify", &height.to_string()]);
    let name = told[0]["artifact"].as_str().unwrap();
    place.data.join("artifacts").join(&name[..2]).join(name)
}

#[test]
fn whole_proofs_are_verified_and_a_damaged_one_is_named() {
    let place = Place::new(5);
    place.run().expect_code(0);
    place.verb(&["verify"]).expect_code(0).expect_output("5 of 5 committed proofs verified");
    place.verb(&["verify", "2..3"]).expect_code(0).expect_output("2 of 2 committed proofs verified");
    let artifact = artifact_of(&place, 3);
    let file = OpenOptions::new().write(true).open(&artifact).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let done = place.verb(&["verify"]).expect_code(1).expect_output("4 of 5 committed proofs verified");
    done.expect_output("height 3: FAILED").expect_output(artifact.to_str().unwrap());
    place.verb(&["verify", "4.."]).expect_code(0).expect_output("2 of 2");
    // Of the right length, and of other content.
    let mut content = fs::read(&artifact).unwrap();
    content.push(b' ');
    fs::write(&artifact, content).unwrap();
    place.verb(&["verify", "3"]).expect_code(1).expect_output(artifact.to_str().unwrap());
    fs::remove_file(&artifact).unwrap();
    place.verb(&["verify", "3"]).expect_code(1).expect_output("missing");
}

#[test]
fn a_verifier_that_refuses_is_believed() {
    let place = Place::new(3);
    place.run().expect_code(0);
    // Sound files, and a program that says no.
    let script = "#!/bin/sh\necho 'it does not hold' >&2\nexit 1\n";
    place.replace_prover(script);
    let done = place.verb(&["verify", "2"]).expect_code(1).expect_output("0 of 1 committed proofs verified");
    done.expect_output("height 2: FAILED").expect_output("it does not hold");
}

#[test]
fn a_running_yard_is_verified_beside_its_work() {
    let place = Place::new(6);
    place.run().expect_code(0);
    place.verb(&["redo", "4"]).expect_code(0);
    place.shut_gate();
    let run = place.start_listening();
    until("it works", || place.explain(4)["case"] == "working");
    // The verifier is the same program, and would wait at the gate too.
    let script = fs::read_to_string(place.path("prover.sh")).unwrap();
    let toy = script.lines().last().unwrap();
    place.replace_prover(&format!("#!/bin/sh\n{toy}\n"));
    place.verb(&["verify"]).expect_code(0).expect_output("3 of 3 committed proofs verified");
    place.verb(&["verify", "4..6"]).expect_code(2).expect_error("the next height to commit is 4");
    place.open_gate();
    run.wait().expect_code(0);
    place.verb(&["verify"]).expect_code(0).expect_output("6 of 6");
}
