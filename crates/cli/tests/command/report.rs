//! What was proved, held against the goals of real-time proving.

use std::fs;

use super::support::Place;

#[test]
fn a_report_says_what_was_proved_as_text_json_and_page() {
    let place = Place::new(5);
    place.run().expect_code(0);
    let done = place.verb(&["report"]).expect_code(0);
    let done = done.expect_output("chain demo, heights 1 to 5: 5 blocks committed, 0 missed");
    let done = done.expect_output("within 10 s (5 of 5; the Ethereum Foundation's goal)");
    // As the toy states of itself, once at its setup.
    done.expect_output("0 bits of security; no trusted setup").expect_output("blocks proved at all");

    let report = place.json(&["report", "2..4", "--deadline-ms", "600000"]).remove(0);
    assert_eq!((report["from"].as_u64(), report["to"].as_u64()), (Some(2), Some(4)));
    assert_eq!((&report["deadline_ms"], &report["deadline_is"]), (&600_000.into(), &"asked".into()));
    assert_eq!(report["latency"]["within_deadline_share"], 1.0);
    assert_eq!(report["blocks"].as_array().unwrap().len(), 3);
    for row in report["provers"].as_array().unwrap() {
        assert_eq!((&row["proof_system"], &row["trusted_setup"]), (&"toy".into(), &"no".into()));
        assert_eq!((&row["accepted"], &row["on_time_share"]), (&row["tasks"], &1.0.into()));
    }
    for task in report["timeline"].as_array().unwrap().iter().flat_map(|row| row["tasks"].as_array().unwrap())
    {
        let time = |name: &str| task[name].as_u64().unwrap();
        assert!(
            time("listed_ms") <= time("claimed_ms") && time("claimed_ms") <= time("started_ms"),
            "{task}"
        );
        assert!(time("started_ms") + time("prove_ms") + time("verify_ms") <= time("accepted_ms"), "{task}");
    }

    let done = place.verb(&["report", "--newest", "2", "--html", "page.html"]).expect_code(0);
    done.expect_output("heights 4 to 5")
        .expect_output("3 older heights")
        .expect_output("written to page.html");
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    assert_eq!(page.matches("<circle class=\"point").count(), 2);
}

#[test]
fn what_failed_is_in_the_figures() {
    let place = Place::new(3);
    place.let_provers_take_notes();
    place.write_pipeline("backoff_ms = 100");
    let script = fs::read_to_string(place.path("prover.sh")).unwrap();
    let toy = script.lines().last().unwrap();
    let counted = place.path("failed").display().to_string();
    place.replace_prover(&format!("#!/bin/sh\n{toy} --fail --only :b:2: --times 2 --state {counted}\n"));
    place.run().expect_code(0);
    let report = place.json(&["report"]).remove(0);
    let failures = |block: usize| report["blocks"][block]["failures"].as_u64().unwrap();
    assert_eq!((failures(0), failures(1), failures(2)), (0, 2, 0));
    let segment = &report["provers"][0];
    assert_eq!(segment["failures"], 2);
    assert_eq!(segment["attempts"].as_u64().unwrap(), segment["tasks"].as_u64().unwrap() + 2);
}

#[test]
fn what_cannot_be_reported_is_bad_usage() {
    let place = Place::new(2);
    place.run().expect_code(0);
    let done = place.verb(&["report", "7.."]).expect_code(2);
    done.expect_error("nothing is committed or missed there; the next height to commit is 3");
    place
        .verb(&["report", "--html", "no/such/folder/page.html"])
        .expect_code(2)
        .expect_error("cannot be written");
    place.verb(&["report", "--newest", "0"]).expect_code(2);
    place.verb(&["report", "--deadline-ms", "0"]).expect_code(2);
}
