//! Every path that a prover is given is absolute: it may have a working folder of its own.

use std::env;
use std::path::{Component, Path, PathBuf};

use proofyard_prover::runner::{Cancel, Payload, Session, prove_files, verify_files};
use proofyard_prover::{Input, ProveRequest, VerifyRequest};

use crate::support::{Place, TOY};

/// The same place, as seen from here.
fn relative(path: &Path) -> PathBuf {
    let here = env::current_dir().unwrap();
    let up = here.components().filter(|part| matches!(part, Component::Normal(_))).map(|_| "..");
    up.collect::<PathBuf>().join(path.strip_prefix("/").unwrap())
}

fn requests(place: &Place, proof: &Path) -> (ProveRequest, VerifyRequest) {
    let prove = place.prove_segment();
    let inputs: Vec<Input> =
        prove.inputs.iter().map(|input| Input { path: relative(&input.path), ..input.clone() }).collect();
    let verify = place.verify_request(&relative(proof), inputs.clone());
    let (out, verify_out) = (relative(&prove.output_dir), relative(&verify.output_dir));
    (ProveRequest { inputs, output_dir: out, ..prove }, VerifyRequest { output_dir: verify_out, ..verify })
}

#[test]
fn a_stream_prover_that_works_elsewhere_finds_everything() {
    let place = Place::new();
    let launch = place.launch(&["sh", "-c", "cd / && exec \"$0\"", TOY]);
    let (prove, verify) = requests(&place, &place.path("out/output.json"));
    let mut prover = Session::start(&launch).unwrap();
    let proved = prover.prove(&prove, &Cancel::new(), &mut |_| {}).unwrap();
    assert!(proved.output.path.is_absolute());
    Session::start(&launch).unwrap().verify(&verify, &Cancel::new()).unwrap();
}

#[test]
fn a_files_prover_that_works_elsewhere_finds_everything() {
    let place = Place::new();
    let command = ["sh", "-c", "cd / && exec \"$0\" --files \"$1\" \"$2\"", TOY, "{input}", "{output}"];
    let launch = place.launch(&command);
    let (prove, verify) = requests(&place, &place.path("out/output.json"));
    for payload in [Payload::Bare, Payload::Request] {
        prove_files(&launch, payload, &[], &prove, &Cancel::new()).unwrap();
    }
    verify_files(&launch, &verify, &Cancel::new()).unwrap();
}
