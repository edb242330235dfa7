//! What the packages of a machine's processors have taken, by RAPL, in files below `/sys/class/powercap`. Since 2020 Linux lets
//! only root read them.

use std::fs;
use std::path::{Path, PathBuf};

use proofyard_worker::energy::Reading;

/// One package: cores, caches and what else is in it.
pub struct Package {
    folder: PathBuf,
    /// The counter goes on from 0 after this.
    range_microjoules: Option<u64>,
}

/// All packages; none where one of them cannot be read, since the others alone would say too little.
pub fn packages(powercap: &Path) -> Vec<Package> {
    let Ok(entries) = fs::read_dir(powercap) else { return Vec::new() };
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_package(path)).collect();
    folders.sort();
    let packages: Vec<Package> = folders.into_iter().map(Package::of).collect();
    match packages.iter().all(|package| package.read().is_some()) {
        true => packages,
        false => Vec::new(),
    }
}

/// `intel-rapl:0` is a zone, and `intel-rapl:0:1` a part of it, such as its cores. A zone may also be the whole platform. AMD's
/// processors have the same names; `intel-rapl-mmio:0` is the same package once more.
fn is_package(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_zone = name
        .strip_prefix("intel-rapl:")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    is_zone && text(&folder.join("name")).is_some_and(|name| name.starts_with("package-"))
}

impl Package {
    fn of(folder: PathBuf) -> Self {
        let range_microjoules = number(&folder.join("max_energy_range_uj"));
        Self { folder, range_microjoules }
    }

    pub fn read(&self) -> Option<Reading> {
        let microjoules = number(&self.folder.join("energy_uj"))?;
        Some(Reading { microjoules, wraps_after: self.range_microjoules })
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as Linux has it.
    fn powercap(zones: &[(&str, &str, Option<&str>)]) -> tempfile::TempDir {
        let powercap = tempfile::tempdir().unwrap();
        for (zone, name, energy) in zones {
            let folder = powercap.path().join(zone);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("name"), format!("{name}\n")).unwrap();
            fs::write(folder.join("max_energy_range_uj"), "262143328850\n").unwrap();
            if let Some(energy) = energy {
                fs::write(folder.join("energy_uj"), format!("{energy}\n")).unwrap();
            }
        }
        powercap
    }

    #[test]
    fn only_whole_packages_count() {
        let powercap = powercap(&[
            ("intel-rapl:1", "package-1", Some("20")),
            ("intel-rapl:0", "package-0", Some("10")),
            ("intel-rapl:0:0", "core", Some("5")),
            ("intel-rapl:2", "psys", Some("100")),
            ("intel-rapl-mmio:0", "package-0", Some("10")),
            ("dtpm", "package-9", Some("1")),
        ]);
        let found = packages(powercap.path());
        let read = |microjoules| Some(Reading { microjoules, wraps_after: Some(262_143_328_850) });
        assert_eq!(found.iter().map(Package::read).collect::<Vec<_>>(), [read(10), read(20)]);
        fs::remove_file(powercap.path().join("intel-rapl:1/energy_uj")).unwrap();
        assert_eq!(found[1].read(), None, "it is gone");
    }

    #[test]
    fn where_one_cannot_be_read_none_is() {
        let unreadable =
            powercap(&[("intel-rapl:0", "package-0", Some("10")), ("intel-rapl:1", "package-1", None)]);
        assert!(packages(unreadable.path()).is_empty());
        let no_number = powercap(&[("intel-rapl:0", "package-0", Some("much"))]);
        assert!(packages(no_number.path()).is_empty());
        assert!(packages(Path::new("/nowhere")).is_empty());
    }
}
