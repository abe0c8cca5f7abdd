//! The probes for other machines, as `local-probe/build-all.sh` builds them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::programs;

/// Each machine that has a probe, with the program of Debian's qemu-user that runs it here.
const MACHINES: [(&str, &str); 4] =
    [("aarch64", "qemu-aarch64"), ("armv7l", "qemu-arm"), ("riscv64", "qemu-riscv64"), ("i686", "qemu-i386")];

/// Those that are built and tried unless `FLEET_MACHINES` names others: each takes a minute of a processor.
const USUAL: &str = "aarch64 i686";

/// A probe for another machine.
#[derive(Debug)]
pub struct Foreign {
    /// What `uname -m` says there.
    pub machine: &'static str,
    /// The program that runs it here.
    pub qemu: &'static str,
    /// The probe's file.
    pub file: PathBuf,
}

impl Foreign {
    /// Runs it with `arguments`; what it prints.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.qemu);
        let output = command.arg(&self.file).args(arguments).output().unwrap_or_else(|error| {
            panic!("{}: {error}: apt-get install -y --no-install-recommends qemu-user", self.qemu)
        });
        assert!(
            output.status.success(),
            "{} {arguments:?}: {}",
            self.machine,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// The probes of the machines that `FLEET_MACHINES` names, else of the usual ones; built once.
pub fn foreign() -> &'static [Foreign] {
    static BUILT: OnceLock<Vec<Foreign>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let wanted = std::env::var("FLEET_MACHINES").unwrap_or_else(|_| USUAL.to_owned());
        let target = target_dir();
        let directory = target.join("probes");
        let output = Command::new("sh")
            .arg(programs::root().join("local-probe/build-all.sh"))
            .arg(&directory)
            .args(wanted.split_whitespace())
            .env("CARGO_TARGET_DIR", &target)
            .output()
            .expect("sh runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let built =
            |machine: &str| !said.lines().any(|line| line.starts_with(&format!("{machine}: not built")));
        assert!(output.status.success() || said.contains(": not built: "), "{said}");
        let mut probes = Vec::new();
        for (machine, qemu) in MACHINES {
            if !wanted.split_whitespace().any(|wanted| wanted == machine) {
                let all = MACHINES.map(|(machine, _)| machine).join(" ");
                crate::tell(&format!("SKIPPED: the probe for {machine}: FLEET_MACHINES=\"{all}\" tries it"));
            } else if built(machine) {
                probes.push(Foreign { machine, qemu, file: directory.join(format!("probe-{machine}")) });
            } else {
                crate::tell(&format!("SKIPPED: the probe for {machine}: {}", said.trim()));
            }
        }
        probes
    })
}

/// That of `machine`, where it could be built.
pub fn of(machine: &str) -> Option<&'static Foreign> {
    foreign().iter().find(|probe| probe.machine == machine)
}

/// Cargo's target directory: the tests lie in `target/PROFILE/deps`.
fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("/proc is mounted");
    test.ancestors().nth(3).map(Path::to_owned).expect("cargo puts tests into target/PROFILE/deps")
}
