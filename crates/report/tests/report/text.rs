use proofyard_report::text::text;

use super::yards::{EVIL, priced, realtime, report};

#[test]
fn a_report_reads_well_in_a_terminal() {
    let text = text(&report(&realtime(60))).replace(EVIL, "EVIL");
    let expected = include_str!("expected.txt");
    assert_eq!(text.trim_end(), expected.trim_end(), "got:\n{text}\n");
}

#[test]
fn cost_and_energy_are_told_with_what_they_lack() {
    let text = text(&report(&priced(4)));
    let expected = include_str!("expected-costs.txt");
    assert_eq!(text.trim_end(), expected.trim_end(), "got:\n{text}\n");
}

#[test]
fn energy_of_gpus_without_that_of_processors_is_called_so() {
    let mut report = report(&priced(4));
    report.spending.sum.measured_cpu_j = None;
    let text = text(&report);
    assert!(text.contains("measured: GPUs alone 6.15 kJ; by"), "{text}");
}

#[test]
fn nothing_is_wider_than_a_terminal_and_nothing_moves_its_cursor() {
    let both = [&realtime(60), &priced(4)].map(|driver| text(&report(driver)));
    for line in both.iter().flat_map(|text| text.lines()) {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn of_an_empty_chain_there_is_little_to_say() {
    let text = text(&report(&realtime(0)));
    assert!(text.starts_with("chain demo: nothing is committed or missed there yet\n"), "{text}");
    assert!(!text.contains("NOT MET"), "{text}");
}
