//! The page in a real browser: what is really there to be seen, and that nothing went wrong. `scripts/browser.sh`
//! finds the browser, or installs one.

use std::path::Path;
use std::process::Command;

use proofyard_report::html::html;
use serde_json::Value;

use super::yards::{realtime, report};

/// Runs first: whatever goes wrong is kept.
const WATCH: &str = r#"<script>
window.wrong = [];
addEventListener("error", (event) => wrong.push("error: " + event.message));
addEventListener("securitypolicyviolation", (event) => wrong.push("refused: " + event.blockedURI));
for (const level of ["error", "warn"]) console[level] = (...said) => wrong.push(level + ": " + said.join(" "));
</script>"#;

/// Runs last: measures what is shown, and writes it where it is found again.
const MEASURE: &str = r##"<script>
{
const all = (selector) => [...document.querySelectorAll(selector)];
const seen = (selector, within) => {
  const frame = document.querySelector(within).getBoundingClientRect();
  return all(selector).filter((element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && getComputedStyle(element).visibility === "visible"
      && box.left >= frame.left - 1 && box.right <= frame.right + 1
      && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
  });
};
const middle = (element) => {
  const box = element.getBoundingClientRect();
  return (box.top + box.bottom) / 2;
};
const overlaps = all("#timeline g.row").filter((row) => {
  const bars = [...row.querySelectorAll("rect.held, rect.open")].map((bar) => bar.getBoundingClientRect());
  return bars.some((a, i) => bars.some((b, j) => i < j && Math.abs(a.top - b.top) < 1
    && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2.5));
}).length;
const fill = (selector) => getComputedStyle(document.querySelector(selector)).fill;
const line = document.querySelector("#latency line.deadline");
const task = document.querySelector("#timeline g.row.missed g.task:has(path.failed)");
const tip = document.getElementById("tip");
task.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
const told = tip.hidden ? "" : tip.textContent;
document.body.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
const button = document.querySelector('.legend button[data-stage="1"]');
button.click();
const opacity = (stage) =>
  Number(getComputedStyle(document.querySelector(`#timeline g.task[data-stage="${stage}"]`)).opacity);
const dimmed = { chosen: opacity(1), other: opacity(0) };
button.click();
const found = {
  wrong, pwned: window.pwned ?? null, images: document.images.length, scripts: document.scripts.length,
  loaded: performance.getEntriesByType("resource").length,
  points: seen("#latency circle.point", "#latency svg").length,
  marks: seen("#latency path.missed", "#latency svg").length,
  deadline: line ? middle(line) : null,
  slowest: Math.min(...all("#latency circle.point").map(middle)),
  late_points: all("#latency circle.point.late").length,
  rows: all("#timeline g.row").length,
  missed_rows: all("#timeline g.row.missed").length,
  proving: seen("#timeline rect.prove", "#timeline svg:not(.axis)").length,
  open: all("#timeline rect.open").length,
  failed: all("#timeline path.failed").length,
  proved: all("#timeline line.proved").length,
  overlaps, stage_colours: new Set([fill("g.task.s0 rect.prove"), fill("g.task.s1 rect.prove")]).size,
  cards: all("#cards .card").map((card) => card.innerText),
  provers: all("#provers tbody tr").map((row) => [...row.cells].map((cell) => cell.innerText)),
  misses: all("#misses tbody tr").map((row) => row.innerText),
  told, tip_hidden_after: tip.hidden, dimmed,
  page_width: document.documentElement.scrollWidth, window_width: innerWidth,
  background: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
};
const pre = document.createElement("pre");
pre.id = "found";
pre.textContent = encodeURIComponent(JSON.stringify(found));
document.body.append(pre);
}
</script>"##;

fn browser() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/browser.sh");
    let out = Command::new("bash").arg(script).output().unwrap();
    let says = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "no browser, and this cannot be tested without one: {says}");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Opens the page and answers what was measured in it.
fn open(page: &str, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    let watched = page.replacen("<title>", &format!("{WATCH}<title>"), 1);
    let (before, after) = watched.rsplit_once("</body>").unwrap();
    std::fs::write(&file, format!("{before}{MEASURE}</body>{after}")).unwrap();
    let mut command = Command::new("timeout");
    command.arg("120").arg(browser());
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--dump-dom",
    ]);
    let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
    command.arg(profile).args(more).arg(format!("file://{}", file.display()));
    let out = command.output().unwrap();
    let says = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "the browser did not end well: {says}");
    let dom = String::from_utf8(out.stdout).unwrap();
    let found = dom.split_once("<pre id=\"found\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (found, _) = found.unwrap_or_else(|| panic!("nothing was measured: {says}"));
    serde_json::from_str(&decoded(found)).unwrap()
}

/// What `encodeURIComponent` wrote.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at(2);
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn is_clean(found: &Value) {
    assert_eq!(found["wrong"], serde_json::json!([]));
    assert_eq!((&found["pwned"], found["images"].as_u64()), (&Value::Null, Some(0)));
    assert_eq!(found["scripts"], 3, "its own, and the two of this test");
    assert_eq!(found["loaded"], 0);
}

#[test]
fn a_thousand_blocks_are_really_there() {
    let found = open(&html(&report(&realtime(1_000))), &["--window-size=1240,900"]);
    is_clean(&found);
    // Of 100 heights three are missed.
    assert_eq!((found["points"].as_u64(), found["marks"].as_u64()), (Some(970), Some(30)));
    assert_eq!(found["late_points"], 0);
    assert!(found["deadline"].as_f64() < found["slowest"].as_f64(), "the deadline stands above all points");
    // The newest 200: six are missed, of which four failed once; the others have four tasks.
    assert_eq!((found["rows"].as_u64(), found["missed_rows"].as_u64()), (Some(200), Some(6)));
    assert_eq!((found["proving"].as_u64(), found["proved"].as_u64()), (Some(194 * 4), Some(194)));
    assert_eq!((found["open"].as_u64(), found["failed"].as_u64()), (Some(4), Some(4)));
    assert_eq!((found["overlaps"].as_u64(), found["stage_colours"].as_u64()), (Some(0), Some(2)));
    assert!(found["page_width"].as_u64() <= found["window_width"].as_u64(), "nothing sticks out: {found}");
}

#[test]
fn cards_and_tables_say_what_the_report_says() {
    let found = open(&html(&report(&realtime(100))), &["--window-size=1240,900"]);
    is_clean(&found);
    let cards: Vec<&str> =
        found["cards"].as_array().unwrap().iter().map(|card| card.as_str().unwrap()).collect();
    let says = |name: &str, parts: &[&str]| {
        let card =
            cards.iter().find(|card| card.starts_with(name)).unwrap_or_else(|| panic!("{name}: {cards:?}"));
        parts.iter().for_each(|part| assert!(card.contains(part), "{part:?} is not in {card:?}"));
    };
    assert_eq!(cards.len(), 8);
    says("Within 3 s", &["97.0 %", "97 of 100 blocks", "the pipeline's deadline", "P50 1.48 s"]);
    says("Latency, P99", &["missed", "more than 1 % of the heights were missed", "not met"]);
    says("Largest proof", &["1000 B", "at most 300 KiB", "✓ met"]);
    says("Security, at first", &["96 bits", "at least 100 bits", "✕ not met"]);
    says("Trusted setup", &["no", "✓ met"]);
    says("Blocks proved at all", &["97.0 %", "at least 95 %", "✓ met"]);
    let provers = found["provers"].as_array().unwrap();
    assert_eq!(provers[0][0], "segment");
    assert_eq!((&provers[0][3], &provers[0][12]), (&Value::from("291 of 300"), &Value::from("2")));
    assert_eq!((&provers[1][0], &provers[1][3]), (&Value::from("join commits"), &Value::from("97 of 97")));
    let misses = found["misses"].as_array().unwrap();
    assert_eq!(misses.len(), 3);
    let cause = misses[2].as_str().unwrap();
    assert!(
        cause.starts_with("3\t") && cause.contains("1 failed attempt") && cause.contains("onerror="),
        "{cause}"
    );
}

#[test]
fn pointing_tells_and_the_legend_picks_out_a_stage() {
    let found = open(&html(&report(&realtime(60))), &["--window-size=1240,900"]);
    is_clean(&found);
    let told = found["told"].as_str().unwrap();
    assert!(told.contains("segment") && told.contains("<script>window.pwned = 1</script>"), "{told}");
    assert_eq!(found["tip_hidden_after"], true);
    assert_eq!(found["dimmed"]["chosen"], 1);
    assert!(found["dimmed"]["other"].as_f64().unwrap() < 0.5);
}

#[test]
fn both_colour_schemes_and_a_phone_are_served() {
    let page = html(&report(&realtime(60)));
    let light = open(&page, &["--window-size=1240,900", "--blink-settings=preferredColorScheme=1"]);
    let dark = open(&page, &["--window-size=500,900", "--blink-settings=preferredColorScheme=0"]);
    for found in [&light, &dark] {
        is_clean(found);
        assert!(
            found["page_width"].as_u64() <= found["window_width"].as_u64(),
            "nothing sticks out: {found}"
        );
    }
    assert!(brightness(&light["background"]) > 220 && brightness(&light["ink"]) < 60, "{light}");
    assert!(brightness(&dark["background"]) < 40 && brightness(&dark["ink"]) > 200, "{dark}");
}

/// The mean of `rgb(1, 2, 3)`.
fn brightness(colour: &Value) -> u32 {
    let text = colour.as_str().unwrap().trim_start_matches("rgb(").trim_end_matches(')');
    text.split(", ").map(|part| part.parse::<u32>().unwrap()).sum::<u32>() / 3
}
