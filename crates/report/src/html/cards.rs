//! The summary: a card for each figure, with its goal and how that stands.

use std::fmt::{Result, Write};

use proofyard_core::report::{Goal, GoalName, Report, Verdict, seconds};

use super::escape::Text;
use crate::figures::percent;
use crate::goals::{self, told};

pub(super) fn write(page: &mut String, report: &Report) -> Result {
    writeln!(page, "<section id=\"cards\" aria-label=\"Summary\">")?;
    deadline(page, report)?;
    for goal in report.goals.iter().filter(|goal| !is_of_the_machine(goal)) {
        let told = told(goal, report);
        let value = if told.measured.is_empty() { "–" } else { &told.measured };
        let wanted = format!("{}: {}", told.of, told.wanted);
        card(page, &sentence(told.name), value, &wanted, goal.because, goal.verdict)?;
    }
    writeln!(page, "</section>")?;
    let unmeasured: Vec<String> = report
        .goals
        .iter()
        .filter(|goal| is_of_the_machine(goal))
        .map(|goal| told(goal, report))
        .map(|told| format!("{} ({})", told.name, told.wanted))
        .collect();
    if let Some(because) =
        report.goals.iter().find(|goal| is_of_the_machine(goal)).and_then(|goal| goal.because)
    {
        let text = format!("Cannot be said, since {because}: {}.", unmeasured.join("; "));
        writeln!(page, "<p class=\"aside\">{}</p>", Text(text))?;
    }
    Ok(())
}

/// What no look at the state can tell.
fn is_of_the_machine(goal: &Goal) -> bool {
    matches!(goal.goal, GoalName::MachinePower | GoalName::MachinePrice)
}

fn deadline(page: &mut String, report: &Report) -> Result {
    let name = format!("Within {}", seconds(report.deadline_ms));
    let share = report.latency.within_deadline_share;
    let value = share.map_or("–".to_owned(), percent);
    let blocks = report.blocks_committed + report.blocks_missed;
    let detail = format!(
        "{} of {blocks} blocks; {}",
        report.latency.within_deadline,
        goals::deadline_is(report.deadline_is)
    );
    let p50 = report.latency.p50_ms.map(|ms| format!("P50 {}", seconds(ms)));
    let p90 = report.latency.p90_ms.map(|ms| format!("P90 {}", seconds(ms)));
    let spread: Vec<String> = p50.into_iter().chain(p90).collect();
    writeln!(
        page,
        "<article class=\"card\"><h2>{}</h2><p class=\"value\">{}</p><p class=\"detail\">{}</p><p class=\"detail\">{}</p></article>",
        Text(name),
        Text(value),
        Text(detail),
        Text(spread.join(", ")),
    )
}

fn card(
    page: &mut String,
    name: &str,
    value: &str,
    wanted: &str,
    because: Option<&str>,
    verdict: Verdict,
) -> Result {
    let (class, sign) = match verdict {
        Verdict::Met => ("met", "✓"),
        Verdict::NotMet => ("not-met", "✕"),
        Verdict::CannotBeSaid => ("unsaid", "?"),
    };
    let because =
        because.map_or(String::new(), |because| format!("<p class=\"detail\">{}</p>", Text(because)));
    writeln!(
        page,
        "<article class=\"card {class}\"><h2>{}</h2><p class=\"value\">{}</p><p class=\"detail\">{}</p>{because}\
         <p class=\"verdict\"><span aria-hidden=\"true\">{sign}</span> {}</p></article>",
        Text(name),
        Text(value),
        Text(wanted),
        goals::verdict(verdict),
    )
}

fn sentence(name: &str) -> String {
    let mut name = name.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    name
}
