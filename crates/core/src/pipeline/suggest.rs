//! "Did you mean": the nearest known word, and the right key for a time or size written in a wrong unit.

/// Other programs' names for our keys.
const SYNONYMS: &[(&str, &str)] = &[
    ("timeout", "time_limit_ms"),
    ("timeout_ms", "time_limit_ms"),
    ("retries", "max_attempts"),
    ("max_retries", "max_attempts"),
    ("depends_on", "from"),
    ("inputs", "from"),
    ("program", "command"),
    ("env", "environment"),
    ("gpus", "gpus_per_slot"),
    ("price", "price_usd_per_hour"),
    ("usd_per_hour", "price_usd_per_hour"),
    ("power", "watts"),
    ("start", "start_height"),
    ("quorum", "need"),
];

/// A unit as written after a number or at the end of a key: its names, its key's ending here, and the
/// factor to our unit.
const UNITS: &[(&[&str], &str, u64)] = &[
    (&["ms", "millis", "milliseconds"], "_ms", 1),
    (&["s", "sec", "secs", "second", "seconds"], "_ms", 1_000),
    (&["m", "min", "mins", "minute", "minutes"], "_ms", 60_000),
    (&["h", "hour", "hours"], "_ms", 3_600_000),
    (&["d", "day", "days"], "_ms", 86_400_000),
    (&["b", "byte", "bytes"], "_bytes", 1),
    (&["kb"], "_bytes", 1_000),
    (&["k", "kib"], "_bytes", 1 << 10),
    (&["mb"], "_bytes", 1_000_000),
    (&["mib"], "_bytes", 1 << 20),
    (&["gb"], "_bytes", 1_000_000_000),
    (&["g", "gib"], "_bytes", 1 << 30),
];

/// The known word that was most likely meant.
pub(super) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    closest_within(0, word, known)
}

/// The same, where up to `slips` typos are likelier than an unknown word.
pub(super) fn closest_within<'k>(
    slips: usize,
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let near = known.into_iter().filter_map(|candidate| {
        let allowed = (word.chars().count().max(candidate.chars().count()) / 3).min(3).max(slips);
        let distance = distance(word, candidate, allowed)?;
        Some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

pub(super) fn synonym(key: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let (_, meant) = SYNONYMS.iter().find(|(other, _)| *other == key)?;
    known.contains(meant).then_some(*meant)
}

/// The key that ends in our unit, for `key` with another unit or none; and the factor from its unit to ours.
pub(super) fn key_in_our_unit(
    key: &str,
    known: &'static [&'static str],
) -> Option<(&'static str, Option<u64>)> {
    let find = |stem: &str, ending: &str| {
        known.iter().copied().find(|known| known.strip_suffix(ending).is_some_and(|known| known == stem))
    };
    if let Some(found) = ["_ms", "_bytes"].into_iter().find_map(|ending| find(key, ending)) {
        return Some((found, None));
    }
    let (stem, unit) = key.rsplit_once('_')?;
    let (_, ending, scale) = UNITS.iter().find(|(names, ..)| names.contains(&unit))?;
    find(stem, ending).map(|found| (found, Some(*scale)))
}

/// What a text such as `3s` or `16 MiB` comes to in the unit of `key`.
pub(super) fn amount_in_unit_of(key: &str, text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    if unit.is_empty() {
        return Some(number);
    }
    let mut units = UNITS.iter().filter(|(_, ending, _)| key.ends_with(ending));
    let (.., scale) = units.find(|(names, ..)| names.contains(&unit.as_str()))?;
    number.checked_mul(*scale)
}

/// What a key that ends in a unit counts.
pub(super) fn unit_of(key: &str) -> Option<&'static str> {
    match key {
        _ if key.ends_with("_ms") => Some("milliseconds"),
        _ if key.ends_with("_bytes") => Some("bytes"),
        _ => None,
    }
}

/// Letters added, dropped, changed or swapped with their neighbour to get from one word to the other, if not more
/// than allowed.
fn distance(from: &str, to: &str, allowed: usize) -> Option<usize> {
    if from.len().abs_diff(to.len()) > 4 * allowed {
        return None;
    }
    let from: Vec<char> = from.chars().map(|letter| letter.to_ascii_lowercase()).collect();
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let changed = above[column] + usize::from(letter != other);
            let mut cost = changed.min(above[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *letter == to[column - 1] && from[row - 1] == *other {
                cost = cost.min(before[column - 1] + 1);
            }
            current.push(cost);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_found() {
        let known = ["a", "miden", "miden-join", "sp1", "start_height", "max_attempts"];
        for (word, meant) in [
            ("midn", Some("miden")),
            ("mdien", Some("miden")),
            ("Miden", Some("miden")),
            ("max-attempt", Some("max_attempts")),
            ("sp2", Some("sp1")),
            ("risc0", None),
            ("b", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn units_are_turned_into_ours() {
        let known: &[&str] = &["lease_ms", "output_bytes"];
        for (key, found) in [
            ("lease", Some(("lease_ms", None))),
            ("lease_s", Some(("lease_ms", Some(1_000)))),
            ("lease_minutes", Some(("lease_ms", Some(60_000)))),
            ("output_mib", Some(("output_bytes", Some(1 << 20)))),
            ("output", Some(("output_bytes", None))),
            ("lease_mb", None),
        ] {
            assert_eq!(key_in_our_unit(key, known), found, "{key}");
        }
        assert_eq!(amount_in_unit_of("lease_ms", "3s"), Some(3_000));
        assert_eq!(amount_in_unit_of("lease_ms", "1 min"), Some(60_000));
        assert_eq!(amount_in_unit_of("output_bytes", "16MiB"), Some(16 << 20));
        assert_eq!(amount_in_unit_of("output_bytes", "3s"), None);
        assert_eq!(amount_in_unit_of("lease_ms", "soon"), None);
        assert_eq!(amount_in_unit_of("lease_ms", "99999999999999999999h"), None);
    }
}
