//! One line of metrics in CloudWatch's embedded metric format, and where it is printed: AWS turns lines on the standard
//! output into metrics without a call.
//!
//! The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use serde_json::{Map, Value, json};

const NAMESPACE: &str = "Proofyard";
/// Values of one metric in one line, as the format has it.
pub const MAX_VALUES: usize = 100;

/// A metric's name, its unit and its value, or several.
pub type Metric<'a> = (&'a str, &'a str, Value);

/// The metrics under all of these dimensions, and under the first one alone, which is what alarms look at: they know the
/// yard, and not which chains it will have.
pub fn line(now_ms: u64, dimensions: &[(&str, &str)], metrics: &[Metric<'_>]) -> String {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| *name).collect();
    let sets: Vec<&[&str]> = if names.len() > 1 { vec![&names[..1], &names] } else { vec![&names] };
    let units: Vec<Value> =
        metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut root = Map::new();
    root.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now_ms,
            "CloudWatchMetrics": [{ "Namespace": NAMESPACE, "Dimensions": sets, "Metrics": units }],
        }),
    );
    root.extend(dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    root.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())));
    Value::Object(root).to_string()
}

pub fn print(line: &str) {
    use std::io::Write;
    // An error means that standard output is closed: then nothing reads metrics.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_embedded_metric_format() {
        let said = line(7, &[("Yard", "y"), ("Chain", "c")], &[("LagBlocks", "Count", json!(3))]);
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            said,
            json!({
                "_aws": {
                    "Timestamp": 7,
                    "CloudWatchMetrics": [{
                        "Namespace": "Proofyard",
                        "Dimensions": [["Yard"], ["Yard", "Chain"]],
                        "Metrics": [{ "Name": "LagBlocks", "Unit": "Count" }],
                    }],
                },
                "Yard": "y",
                "Chain": "c",
                "LagBlocks": 3,
            })
        );
    }
}
