//! The disk's own sync, which no durable commit can be faster than.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::{BenchError, Quantiles};

/// What is appended before each sync: a page, as the smallest commit writes.
const PAGE: [u8; 4_096] = [7; 4_096];

/// Times of `fdatasync` of 4 KiB in a folder, at a pace: a disk, as a processor, is slower when it has just rested.
pub fn syncs(folder: &Path, pause: Duration, count: u32) -> Result<Quantiles, BenchError> {
    let path = folder.join("sync");
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let mut file = opened.map_err(BenchError::io("a file to sync cannot be made"))?;
    let mut times = Vec::new();
    for _ in 0..count {
        thread::sleep(pause);
        let since = Instant::now();
        file.write_all(&PAGE).map_err(BenchError::io("the file to sync cannot be written"))?;
        file.sync_data().map_err(BenchError::io("the file cannot be synced"))?;
        times.push(since.elapsed());
    }
    Ok(Quantiles::of(times))
}
