//! The programs for the clients: the one that the build embedded, and those for other machines in directories of probes.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::elf::Elf;
use crate::platform::Platform;

/// The embedded probe's bytes: a static program for this collector's architecture.
const EMBEDDED: &[u8] = include_bytes!(env!("PROBE_FILE"));

/// SHA-256 of [`EMBEDDED`], in hexadecimal digits.
const EMBEDDED_SHA256: &str = env!("PROBE_SHA256");

/// The most bytes of a probe's file.
const MAX_PROBE: u64 = 16 * 1024 * 1024;

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probe {
    /// Its platform's name.
    pub(crate) machine: String,
    /// SHA-256 of its bytes in hexadecimal digits: the last part of its name on a client.
    pub(crate) sha256: String,
    /// Its bytes' number.
    pub(crate) size: usize,
    /// Where it lies; `None`: in this program.
    file: Option<PathBuf>,
}

impl Probe {
    fn embedded() -> Self {
        let machine = Platform::own().machine.to_owned();
        Self { machine, sha256: EMBEDDED_SHA256.to_owned(), size: EMBEDDED.len(), file: None }
    }

    /// The probe for `platform` that lies in `file`; the error names cause and remedy.
    fn in_file(file: &Path, platform: &Platform) -> Result<Self, String> {
        let bytes = read(file).map_err(|error| error.to_string())?;
        let machine = platform.machine;
        match Elf::of(&bytes) {
            None => return Err("it is no program: build it again".to_owned()),
            Some(elf) if !platform.is_of(elf) => {
                return Err(format!("it is a program for another machine than {machine}: build it again"));
            }
            Some(elf) if !elf.fixed => {
                return Err(
                    "it is linked dynamically, and would not run everywhere: build it again".to_owned()
                );
            }
            Some(_) => {}
        }
        let (size, file) = (bytes.len(), Some(file.to_owned()));
        Ok(Self { machine: machine.to_owned(), sha256: sha256(&bytes), size, file })
    }

    /// Its bytes, which are still those that it was chosen for.
    pub(crate) fn bytes(&self) -> Result<Cow<'static, [u8]>, String> {
        let Some(file) = &self.file else { return Ok(EMBEDDED.into()) };
        let fault = |what: &dyn std::fmt::Display| format!("{}: {what}", file.display());
        let bytes = read(file).map_err(|error| fault(&error))?;
        if sha256(&bytes) != self.sha256 {
            return Err(fault(&"it was replaced during this run: the next one takes the new probe"));
        }
        Ok(bytes.into())
    }

    /// Writes it to `file`, executable, for whoever installs it by other means.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        let bytes = self.bytes().map_err(io::Error::other)?;
        let mut to = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(file)?;
        to.write_all(&bytes)?;
        to.set_permissions(fs::Permissions::from_mode(0o755))
    }
}

/// Reads a file that becomes a program on other machines: nobody but its owner, who is root or us, may have written it.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    let us = rustix::process::geteuid().as_raw();
    if !metadata.is_file() || metadata.len() > MAX_PROBE {
        return Err(io::Error::other(format!("it is no file of at most {MAX_PROBE} bytes")));
    }
    if ![0, us].contains(&metadata.uid()) || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("others can write it, and what it holds is run on clients: chmod go-w"));
    }
    let mut bytes = Vec::new();
    opened.take(MAX_PROBE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// The probes that there are, one a platform; the embedded one first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Probes(Vec<Probe>);

impl Probes {
    /// The embedded one, and those called `probe-<uname -m>` in `directories`, the first of each counts. One that cannot be
    /// used is told to `warn`.
    pub(crate) fn load(directories: &[PathBuf], warn: &mut dyn FnMut(String)) -> Self {
        let mut probes = vec![Probe::embedded()];
        for directory in directories {
            let entries = match fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    warn(format!("{}: {error}: the probes in it are not used", directory.display()));
                    continue;
                }
            };
            let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            for file in files {
                let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let Some(machine) = name.strip_prefix("probe-") else { continue };
                if probes.iter().any(|probe| probe.machine == machine) {
                    continue;
                }
                let unknown = || format!("{machine} is not one of {}: rename it", Platform::names());
                let platform = Platform::named(machine).ok_or_else(unknown);
                match platform.and_then(|platform| Probe::in_file(&file, platform)) {
                    Ok(probe) => probes.push(probe),
                    Err(fault) => warn(format!("{}: {fault}; not used", file.display())),
                }
            }
        }
        Self(probes)
    }

    /// Where probes for other machines are looked for: beside the storage, then where an installation of this program
    /// (`PREFIX/bin/fleet-collector`) has its other files.
    pub(crate) fn directories(state_dir: &Path) -> Vec<PathBuf> {
        let program = std::env::current_exe().unwrap_or_default();
        let prefix = program.parent().and_then(Path::parent).map(Path::to_owned);
        let installed = prefix.map(|prefix| prefix.join("lib/fleet-health/probes"));
        [state_dir.join("probes")].into_iter().chain(installed).collect()
    }

    /// Each answer of `uname -m` with the probe to take: the machine's own, else one that it runs too.
    pub(crate) fn by_machine(&self) -> Vec<(&'static str, &Probe)> {
        let mut found: Vec<(&'static str, &Probe)> = Vec::new();
        for own in [true, false] {
            for probe in &self.0 {
                let platform = Platform::named(&probe.machine);
                let machines = platform.into_iter().flat_map(Platform::machines);
                for machine in machines.filter(|machine| (*machine == probe.machine) == own) {
                    if found.iter().all(|(known, _)| *known != machine) {
                        found.push((machine, probe));
                    }
                }
            }
        }
        found
    }

    /// The probe for a client whose `uname -sm` said `uname`.
    pub(crate) fn for_client(&self, uname: &str) -> Option<&Probe> {
        let [system, machine] = uname.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let found = self.by_machine().into_iter().find(|(known, _)| *known == machine);
        found.filter(|_| system == "Linux").map(|(_, probe)| probe)
    }

    /// The bytes of the largest.
    pub(crate) fn largest(&self) -> usize {
        self.0.iter().map(|probe| probe.size).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedded() -> Probes {
        Probes::load(&[], &mut |warning| panic!("{warning}"))
    }

    /// A header of a static program.
    fn program(wide: bool, machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(if wide { b"\x7fELF\x02\x01" } else { b"\x7fELF\x01\x01" });
        bytes[16] = 2;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        let (offset, size, count) = if wide { (32, 54, 56) } else { (28, 42, 44) };
        (bytes[offset], bytes[size], bytes[count]) = (64, 56, 1);
        bytes
    }

    fn write(directory: &Path, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let file = directory.join(name);
        fs::write(&file, bytes).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn the_embedded_one_is_a_static_program_for_this_machine() {
        let elf = Elf::of(EMBEDDED).unwrap();
        assert!(elf.fixed && Platform::own().is_of(elf));
        assert_eq!(sha256(EMBEDDED), EMBEDDED_SHA256);
    }

    #[test]
    fn other_platforms_are_told_apart() {
        let probes = embedded();
        let own = format!("Linux {}", Platform::own().machine);
        assert_eq!(probes.for_client(&own).unwrap().sha256, EMBEDDED_SHA256);
        for uname in ["FreeBSD amd64", "FreeBSD x86_64", "Linux", "", "Linux vax", &format!("{own} extra")] {
            assert_eq!(probes.for_client(uname), None, "{uname}");
        }
    }

    #[test]
    fn each_machine_gets_its_own_and_else_one_that_it_runs() {
        let probe = |machine: &str| Probe { machine: machine.to_owned(), ..Probe::embedded() };
        let of = |probes: &Probes, uname: &str| probes.for_client(uname).map(|probe| probe.machine.clone());
        let fleet = Probes(["i686", "armv7l"].map(probe).to_vec());
        assert_eq!(of(&fleet, "Linux x86_64").as_deref(), Some("i686"));
        assert_eq!(of(&fleet, "Linux i586").as_deref(), Some("i686"));
        assert_eq!(of(&fleet, "Linux armv8l").as_deref(), Some("armv7l"));
        assert_eq!(of(&fleet, "Linux aarch64"), None);
        let fleet = Probes(["i686", "x86_64", "aarch64"].map(probe).to_vec());
        assert_eq!(of(&fleet, "Linux x86_64").as_deref(), Some("x86_64"));
        assert_eq!(of(&fleet, "Linux aarch64").as_deref(), Some("aarch64"));
    }

    #[test]
    fn probes_of_a_directory_are_found_and_what_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let riscv = write(place, "probe-riscv64", &program(true, 243), 0o644);
        write(place, "probe-s390x", &program(true, 183), 0o644);
        write(place, "probe-ppc64le", b"#!/bin/sh\n", 0o755);
        write(place, "probe-loongarch64", &program(true, 258), 0o666);
        write(place, "probe-vax", &program(false, 75), 0o644);
        write(place, "SHA256SUMS", b"", 0o644);
        let mut faults = Vec::new();
        let directories = [place.join("nowhere"), place.to_owned()];
        let probes = Probes::load(&directories, &mut |fault| faults.push(fault));
        assert_eq!(probes.0.len(), 2, "{probes:?}");
        let found = probes.for_client("Linux riscv64").unwrap();
        assert_eq!(found.bytes().unwrap(), program(true, 243));
        for (name, part) in [
            ("probe-s390x", "another machine than s390x"),
            ("probe-ppc64le", "no program"),
            ("probe-loongarch64", "others can write it"),
            ("probe-vax", "vax is not one of x86_64, aarch64"),
        ] {
            assert!(faults.iter().any(|fault| fault.contains(name) && fault.contains(part)), "{faults:?}");
        }
        assert_eq!(faults.len(), 4);

        fs::write(&riscv, program(true, 22)).unwrap();
        assert!(found.bytes().unwrap_err().contains("was replaced"));
    }
}
