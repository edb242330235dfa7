//! Yards that ran in memory, and what is reported of them.

use proofyard_core::record::FailureKind;
use proofyard_core::report::{Report, ReportRequest};
use proofyard_core::state::Metered;

use super::common::driver::{Does, Driver, LEASE_MS, Says, good};
use super::common::now;

const DEMO: &str = include_str!("../../../../tests/domain/tests/domain/pipeline/demo.toml");
/// Some prover's, and some worker's, idea of a joke.
pub const EVIL: &str =
    "</title></text></svg><script>window.pwned = 1</script><img src=x onerror=\"window.pwned = 2\">&'";

pub fn report(driver: &Driver) -> Report {
    let request = ReportRequest { from: 0, to: u64::MAX, newest: 10_000, deadline_ms: None };
    now(driver.yard.report(&driver.chain, &request)).expect("a report")
}

/// Heights 1 to `blocks`, given up after 3 s. Of 100 heights, number 7 finds no worker and numbers 3 and 53 fail; of
/// the rest, the sixth of each ten waits 1.5 s for a worker.
pub fn realtime(blocks: u64) -> Driver {
    let text = DEMO.replace("window = 8", "window = 8\nlate = \"miss\"\ndeadline_ms = 3000");
    let mut driver = Driver::new(&text);
    driver.says = Says {
        proof_system: Some("miden-stark".into()),
        security_bits: Some(96),
        trusted_setup: Some(false),
        ..Says::default()
    };
    let worker = format!("w1 {EVIL}");
    driver.worker(&worker, "cpu");
    for height in 1..=blocks {
        now(driver.yard.heartbeat(&worker.as_str().into(), LEASE_MS)).expect("a heartbeat");
        driver.block(height);
        match height % 100 {
            7 => {}
            3 | 53 => {
                let task = driver.claim(&worker).expect("a segment");
                driver.perform(&task, Does::Fails(FailureKind::Transient, EVIL));
            }
            last => {
                driver.pass(if last % 10 == 6 { 1_500 } else { 100 * (last % 4) });
                driver.work(&worker, good);
                continue;
            }
        }
        driver.pass(3_000);
        driver.sweep();
    }
    driver
}

/// Blocks with a price; energy is measured of most attempts, given of some, and one attempt is lost and in no sum.
pub fn priced(blocks: u64) -> Driver {
    let text = DEMO.replace("[pool.cpu]", "[pool.cpu]\nprice_usd_per_hour = 98.32\nwatts = 350");
    let mut driver = Driver::new(&text);
    driver.worker("w1", "cpu");
    driver.metered = Some(Metered { gpu_mj: Some(410_000), cpu_mj: Some(33_000) });
    driver.blocks(1..=blocks);
    driver.claim("w1").expect("a segment");
    now(driver.yard.expire_worker(&"w1".into(), true)).expect("expired");
    driver.settle();
    driver.worker("w2", "cpu");
    let claimed = driver.claim("w2").expect("a segment");
    driver.metered = None;
    driver.perform(&claimed, good(&claimed));
    driver.metered = Some(Metered { gpu_mj: Some(410_000), cpu_mj: Some(33_000) });
    driver.work("w2", good);
    driver
}

/// One block with more segments than a row shows.
pub fn wide(segments: u32) -> Driver {
    let mut driver = Driver::new(DEMO);
    driver.worker("w1", "cpu");
    let mut block = super::common::driver::block(1, "a", "a");
    block.segments = segments;
    driver.send(&block);
    driver.work("w1", good);
    driver
}
