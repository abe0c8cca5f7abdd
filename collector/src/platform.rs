//! Which probe runs on which machine.

use crate::elf::Elf;

/// A kind of machine that a probe can be built for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// What `uname -m` says there, and the end of the probe's name in a directory of probes.
    pub(crate) machine: &'static str,
    /// Further answers of `uname -m` that mean a machine which runs it too.
    also: &'static [&'static str],
    /// Its programs: 64 bits, least significant byte first, `e_machine` (elf.h).
    elf: (bool, bool, u16),
}

const fn platform(machine: &'static str, also: &'static [&'static str], elf: (bool, bool, u16)) -> Platform {
    Platform { machine, also, elf }
}

/// A kernel of 64 bits ARM may or may not run programs of 32 bits, so aarch64 runs its own alone; one that does says
/// armv8l to those. Each x86_64 kernel that is in use runs i686.
const ALL: [Platform; 8] = [
    platform("x86_64", &[], (true, true, 62)),
    platform("aarch64", &[], (true, true, 183)),
    platform("armv7l", &["armv8l"], (false, true, 40)),
    platform("riscv64", &[], (true, true, 243)),
    platform("i686", &["i586", "i486", "i386", "x86_64"], (false, true, 3)),
    platform("ppc64le", &[], (true, true, 21)),
    platform("s390x", &[], (true, false, 22)),
    platform("loongarch64", &[], (true, true, 258)),
];

impl Platform {
    /// The platform whose probe is called so.
    pub(crate) fn named(machine: &str) -> Option<&'static Self> {
        ALL.iter().find(|platform| platform.machine == machine)
    }

    /// The platform that this program is built for.
    pub(crate) fn own() -> &'static Self {
        let machine = match std::env::consts::ARCH {
            "x86" => "i686",
            "arm" => "armv7l",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self::named(machine).expect("the collector is built for a platform of this list only")
    }

    /// The names of all, for people.
    pub(crate) fn names() -> String {
        ALL.map(|platform| platform.machine).join(", ")
    }

    /// Every answer of `uname -m` that means a machine which runs its programs, its own first.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.machine).chain(self.also.iter().copied())
    }

    /// Whether a program is one for it.
    pub(crate) fn is_of(&self, elf: Elf) -> bool {
        (elf.wide, elf.little, elf.machine) == self.elf
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_stand_for_one_platform() {
        for platform in &ALL {
            assert_eq!(Platform::named(platform.machine), Some(platform));
            for machine in platform.machines() {
                // They stand in the command for the client.
                assert!(
                    machine.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                    "{machine}"
                );
            }
        }
        assert_eq!(Platform::named("vax"), None);
    }

    #[test]
    fn this_program_is_of_its_own_platform() {
        let own = Elf::of(&std::fs::read("/proc/self/exe").unwrap()).unwrap();
        assert!(Platform::own().is_of(own));
        assert_eq!(ALL.iter().filter(|platform| platform.is_of(own)).count(), 1);
    }
}
