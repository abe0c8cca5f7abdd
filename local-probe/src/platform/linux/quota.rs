//! How much of the processors a container may use, and uses: cgroup v2 or v1.

use super::pressure::number;
use crate::counters::Quota;
use crate::machine::Machine;
use crate::reading::{Reader, Reading};

/// Reads a quota and what was used of it.
pub(super) struct CpuQuota;

impl Reader for CpuQuota {
    fn name(&self) -> &'static str {
        "quota"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        reading.counters.quota = v2(reading.machine).or_else(|| v1(reading.machine));
        Ok(())
    }
}

/// `cpu.max` holds quota and period in microseconds, or `max`; only a cgroup below the root has it.
fn v2(machine: &Machine) -> Option<Quota> {
    let max = machine.text("sys/fs/cgroup/cpu.max").ok()?;
    let (quota, period) = max.trim().split_once(' ')?;
    let used_micros = number(&machine.text("sys/fs/cgroup/cpu.stat").ok()?, "usage_usec")?;
    Some(Quota { used_micros, millicores: millicores(quota.parse().ok()?, period.parse().ok()?)? })
}

/// The root has a quota of -1, as has who is not limited.
fn v1(machine: &Machine) -> Option<Quota> {
    let quota = machine.number("sys/fs/cgroup/cpu/cpu.cfs_quota_us")?;
    let period = machine.number("sys/fs/cgroup/cpu/cpu.cfs_period_us")?;
    let used_nanos: u64 = machine.number("sys/fs/cgroup/cpuacct/cpuacct.usage")?;
    Some(Quota { used_micros: used_nanos / 1000, millicores: millicores(quota, period)? })
}

fn millicores(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1000)?.checked_div(period).filter(|millicores| *millicores > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn both_versions_are_read() {
        let of = |name: &str| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
            let machine = Machine::this(&root);
            v2(&machine).or_else(|| v1(&machine))
        };
        assert_eq!(of("container"), Some(Quota { used_micros: 81_234_567, millicores: 1500 }));
        assert_eq!(of("rhel7-lxc"), Some(Quota { used_micros: 81_234_567, millicores: 2000 }));
        assert_eq!(of("storage-6.8"), None);
        assert_eq!((millicores(1, 0), millicores(0, 1), millicores(u64::MAX, 1)), (None, None, None));
    }

    #[test]
    fn who_is_not_limited_has_no_quota() {
        let tree = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = tree.path().join("sys/fs/cgroup").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let machine = Machine::this(tree.path());
        put("cpu.max", "max 100000\n");
        put("cpu.stat", "usage_usec 5\n");
        assert_eq!(v2(&machine), None);
        put("cpu/cpu.cfs_quota_us", "-1\n");
        put("cpu/cpu.cfs_period_us", "100000\n");
        put("cpuacct/cpuacct.usage", "5\n");
        assert_eq!(v1(&machine), None);
    }
}
