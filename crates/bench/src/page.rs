//! All that was measured as one page with plots.

use proofyard_report::html::{Line, Page, Plot};

use crate::row::Row;
use crate::step::names;
use crate::{Load, Measured, Step, rows};

/// The page that shows these steps, and the rows of others.
pub fn page(about: &str, steps: &[Step], others: &[Row]) -> String {
    let mut plots = vec![distribution(steps)];
    plots.extend(by(steps, "workers", |load| load.workers, |load, workers| Load { workers, ..load }));
    plots.extend(by(steps, "rate", |load| load.rate, |load, rate| Load { rate, ..load }));
    plots.extend(throughput(steps));
    let all: Vec<Row> = rows(steps).into_iter().chain(others.iter().cloned()).collect();
    let ms = |time: f64| format!("{time:.2}");
    Page {
        brand: "Proofyard bench",
        heading: "What dispatching costs",
        about,
        plots,
        columns: ["step", "what", "P50 ms", "P90", "P99", "P99.9", "max"].map(str::to_owned).to_vec(),
        rows: all
            .iter()
            .map(|row| {
                let times = row.middle().map_or(Vec::new(), |times| {
                    [times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms].map(ms).to_vec()
                });
                [vec![row.step.clone(), row.what.clone()], times].concat()
            })
            .collect(),
        notes: &[
            "Each figure is the middle of its runs. The first tenth of a run is its warm-up, and not in it.",
            "Overhead of a task: from when it could have started until it is claimed, and its slot's time around its provers.",
        ],
    }
    .html()
}

fn distribution(steps: &[Step]) -> Plot {
    let line = |(step, name): (&Step, String)| {
        let figures: [fn(&Measured) -> f64; 5] = [
            |run| run.overhead.p50_ms,
            |run| run.overhead.p90_ms,
            |run| run.overhead.p99_ms,
            |run| run.overhead.p999_ms,
            |run| run.overhead.max_ms,
        ];
        Line { name, is_ideal: false, points: figures.map(|figure| Some(step.of(figure))).to_vec() }
    };
    Plot {
        id: "distribution",
        title: "Overhead of a task: its distribution",
        about: "So much of all tasks had at most this overhead.",
        unit: "ms",
        places: ["P50", "P90", "P99", "P99.9", "max"].map(str::to_owned).to_vec(),
        lines: steps.iter().zip(names(steps)).map(line).collect(),
    }
}

/// Loads that are alike but for one part of them, by that part.
fn alike(steps: &[Step], part: fn(&Load) -> u32, with: fn(Load, u32) -> Load) -> Vec<Vec<&Step>> {
    let mut groups: Vec<Vec<&Step>> = Vec::new();
    for step in steps {
        let is_alike = |group: &&mut Vec<&Step>| with(group[0].load.clone(), part(&step.load)) == step.load;
        match groups.iter_mut().find(is_alike) {
            Some(group) => group.push(step),
            None => groups.push(vec![step]),
        }
    }
    groups
}

/// All values of a part, ascending.
fn places(steps: &[Step], part: fn(&Load) -> u32) -> Vec<u32> {
    let mut places: Vec<u32> = steps.iter().map(|step| part(&step.load)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The overhead by one part of the load, if it has several values.
fn by(
    steps: &[Step],
    what: &'static str,
    part: fn(&Load) -> u32,
    with: fn(Load, u32) -> Load,
) -> Option<Plot> {
    let places = places(steps, part);
    let is_rate = what == "rate";
    let lines = alike(steps, part, with).into_iter().flat_map(|group| {
        let at = |figure: fn(&Measured) -> f64| {
            let found = |place: &u32| group.iter().find(|step| part(&step.load) == *place);
            places.iter().map(|place| found(place).map(|step| step.of(figure))).collect()
        };
        let name = beside(group[0], is_rate);
        [
            Line { name: format!("{name}, P50"), is_ideal: false, points: at(|run| run.overhead.p50_ms) },
            Line { name: format!("{name}, P99"), is_ideal: false, points: at(|run| run.overhead.p99_ms) },
        ]
    });
    (places.len() > 1).then(|| Plot {
        id: if is_rate { "by-rate" } else { "by-workers" },
        title: if is_rate { "Overhead of a task by tasks a second" } else { "Overhead of a task by workers" },
        about: if is_rate { "With 0 all tasks are there at once." } else { "" },
        unit: "ms",
        places: places.iter().map(u32::to_string).collect(),
        lines: lines.collect(),
    })
}

/// The load of a line, without what the plot's places say.
fn beside(step: &Step, is_by_rate: bool) -> String {
    let Load { prover, workers, rate, prove_ms, .. } = &step.load;
    match is_by_rate {
        true => format!("{prover}, {workers} workers, {prove_ms} ms proofs"),
        false if *rate == 0 => format!("{prover}, {prove_ms} ms proofs"),
        false => format!("{prover}, {rate}/s, {prove_ms} ms proofs"),
    }
}

/// Tasks a second by workers, beside those of the fewest times the workers.
fn throughput(steps: &[Step]) -> Option<Plot> {
    let closed: Vec<Step> = steps.iter().filter(|step| step.load.is_closed()).cloned().collect();
    let places = places(&closed, |load| load.workers);
    let lines = alike(&closed, |load| load.workers, |load, workers| Load { workers, ..load });
    let lines = lines.into_iter().flat_map(|group| {
        let at = |workers: &u32| group.iter().find(|step| step.load.workers == *workers);
        let rate = |step: &Step| step.of(|run| run.tasks_a_second);
        let fewest = group.iter().min_by_key(|step| step.load.workers);
        let a_worker = fewest.map_or(0.0, |step| rate(step) / f64::from(step.load.workers));
        let name = beside(group[0], false);
        let points = places.iter().map(|workers| at(workers).map(|step| rate(step))).collect();
        let ideal = places.iter().map(|workers| Some(a_worker * f64::from(*workers))).collect();
        [
            Line { name: name.clone(), is_ideal: false, points },
            Line { name: format!("{name}, ideal"), is_ideal: true, points: ideal },
        ]
    });
    (places.len() > 1).then(|| Plot {
        id: "throughput",
        title: "Throughput by workers",
        about: "Ideal: what the fewest workers did, times the workers.",
        unit: "tasks a second",
        places: places.iter().map(u32::to_string).collect(),
        lines: lines.collect(),
    })
}
