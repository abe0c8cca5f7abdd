//! What a container may use, where a cgroup below the root is what `/sys/fs/cgroup` shows; and what the machine runs in.

use crate::machine::{Machine, line};

/// The memory that a container may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    pub(super) limit: u64,
    /// As the kernel counts MemAvailable: what is not used, and files that it can drop.
    pub(super) available: u64,
}

/// The limit of the container that this is, by cgroup v2 or v1; `None` outside of one, or without a limit. Only a cgroup
/// below the root has `memory.max`; in v1 the root's limit is beyond all memory.
pub(super) fn memory_limit(machine: &Machine, total: u64) -> Option<MemoryLimit> {
    let v2 = ("sys/fs/cgroup", "memory.max", "memory.current", "");
    let v1 = ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_");
    [v2, v1].into_iter().find_map(|(directory, limit, usage, prefix)| {
        let limit = machine.number::<u64>(&format!("{directory}/{limit}")).filter(|limit| *limit < total)?;
        let usage = machine.number::<u64>(&format!("{directory}/{usage}"))?;
        let stat = machine.text(&format!("{directory}/memory.stat")).unwrap_or_default();
        let value = |name: &str| super::pressure::number(&stat, &format!("{prefix}{name}")).unwrap_or(0);
        let files = value("active_file").saturating_add(value("inactive_file"));
        Some(MemoryLimit { limit, available: limit.saturating_sub(usage.saturating_sub(files)) })
    })
}

/// `docker`, `lxc`, `kvm`, ...; `none` where the processor names no hypervisor, empty where nothing tells.
pub(super) fn virtualization(machine: &Machine) -> String {
    let exists = |path: &str| machine.path(std::path::Path::new(path)).exists();
    // systemd's CONTAINER_INTERFACE; then what docker and podman leave in each container.
    let named = machine.text("run/systemd/container").map(|text| line(&text)).unwrap_or_default();
    if !named.is_empty() {
        return named;
    }
    for (file, name) in [("run/.containerenv", "podman"), (".dockerenv", "docker"), ("proc/vz", "openvz")] {
        if exists(file) && !exists("proc/bc") {
            return name.to_owned();
        }
    }
    let vendor = machine.text("sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let product = machine.text("sys/class/dmi/id/product_name").unwrap_or_default();
    let dmi = format!("{vendor} {product}");
    let known = [
        ("KVM", "kvm"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VirtualBox", "virtualbox"),
        ("Xen", "xen"),
        ("Virtual Machine", "hyper-v"),
        ("Amazon EC2", "amazon"),
        ("Google Compute Engine", "google"),
    ];
    let flagged = machine.text("proc/cpuinfo").ok().and_then(|text| flags(&text));
    // A bare machine of Amazon has their name and no hypervisor.
    if flagged == Some(false) {
        return "none".to_owned();
    }
    if let Some((_, name)) = known.iter().find(|(word, _)| dmi.contains(word)) {
        return (*name).to_owned();
    }
    let hypervisor = machine.text("sys/hypervisor/type").map(|text| line(&text)).unwrap_or_default();
    match flagged {
        _ if !hypervisor.is_empty() => hypervisor,
        Some(true) => "vm".to_owned(),
        _ => String::new(),
    }
}

/// Whether the processor says that it is a hypervisor's; only x86 has that flag.
fn flags(cpuinfo: &str) -> Option<bool> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?.1;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_flag_is_a_word() {
        assert_eq!(flags("model : x\nflags\t\t: fpu hypervisor lm\n"), Some(true));
        assert_eq!(flags("flags : fpu hypervisory\n"), Some(false));
        assert_eq!(flags("Features : fp asimd\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(flags|:|.{0,20}|\n){0,9}") {
            flags(&text);
        }
    }
}
