//! The commands that are run at a client. Pure text: `remote-dir` holds letters, digits and `._/~+-` only (config
//! checks it), so that the single quotes mean the same to sh, bash, dash, ksh, zsh, csh, fish and busybox.

use model::ClientUid;
use model::wire::MISSING;

use crate::probe::Probes;

/// What [`install`] prints before anything else of its own.
pub(super) const BEGUN: &str = "fleet-health:begun";

/// What the probe's `install` prints when all went well.
pub(super) const INSTALLED: &str = "fleet-health:installed";

/// How a command prints `marker`. Some logins show the command before they run it, or instead: it must not hold the marker.
fn printed(marker: &str) -> String {
    marker.replacen(':', "\":\"", 1)
}

/// Says which of `directories` hold the spool of `client`, each on a line of its own.
pub(super) fn holders(directories: &[String], client: ClientUid) -> String {
    let list = directories.iter().map(|directory| path(directory)).collect::<Vec<_>>().join(" ");
    let begun = printed(BEGUN);
    format!(
        "/bin/sh -c 'echo {begun}; for d in {list}; do \
         if [ -d $d/{client} ] && [ -O $d ] && [ ! -L $d ]; then echo $d; fi; done'"
    )
}

/// Runs the probe of the client's machine from the first directory that has it, else says that it is missing. A directory
/// or probe of another user, or a link, counts for nothing: everybody knows the probe's name, and may have put a program
/// there under it where the directory lies in a place like /tmp. What the shell itself has to say comes along as noise.
///
/// A home that machines of several architectures share holds a probe for each, so that the name alone does not tell.
pub(super) fn serve(directories: &[String], probes: &Probes) -> String {
    let list = directories.iter().map(|directory| path(directory)).collect::<Vec<_>>().join(" ");
    let cases: Vec<String> = probes
        .by_machine()
        .iter()
        .map(|(machine, probe)| format!("\"Linux {machine}\") h={};; ", probe.sha256))
        .collect();
    let (cases, missing) = (cases.concat(), printed(MISSING));
    format!(
        "/bin/sh -c 'exec 2>&1; h=; m=`uname -sm`; case $m in {cases}esac; \
         if [ $h ]; then for d in {list}; do p=$d/probe-$h; \
         if [ -x $p ] && [ -O $d ] && [ ! -L $d ] && [ -O $p ] && [ ! -L $p ]; then exec $p serve $d; fi; done; fi; \
         echo {missing} $m'"
    )
}

/// Says what the client is, in the words of a missing probe.
pub(super) fn uname() -> String {
    format!("/bin/sh -c 'echo {} `uname -sm`'", printed(MISSING))
}

/// Puts the probe of `size` bytes that comes on stdin into `directory`: ours, no link, under a random name that did not
/// exist. A part of it (the connection broke) is not run. The probe then checks its own digest and the directory, and
/// renames itself. What is refused is removed again, and so is an older copy that would not run.
pub(super) fn install(directory: &str, size: usize, sha256: &str, random: &str) -> String {
    let d = path(directory);
    let (new, begun) = (format!("{d}/.upload-{random}"), printed(BEGUN));
    format!(
        "/bin/sh -c 'exec 2>&1; echo {begun}; umask 077; d={d}; u={new}; mkdir -p $d && [ ! -L $d ] && [ -O $d ] || \
         {{ echo $d: not a directory of this user; exit 1; }}; set -C; \
         cat > $u && [ `wc -c < $u` -eq {size} ] && chmod 0500 $u && $u install $d {sha256} || {{ rm -f $u $d/probe-{sha256}; exit 1; }}'"
    )
}

/// A path that no command takes for an option.
pub(super) fn path(directory: &str) -> String {
    if directory.starts_with('-') { format!("./{directory}") } else { directory.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn embedded() -> Probes {
        Probes::load(&[], &mut |warning| panic!("{warning}"))
    }

    #[test]
    fn no_command_holds_what_only_its_answer_says() {
        let directories = [".fleet-health".to_owned(), "/opt/f".to_owned()];
        let commands = [
            serve(&directories, &embedded()),
            uname(),
            install(".f", 1, "00", "1"),
            holders(&directories, ClientUid([7; 16])),
        ];
        for command in commands {
            let held = [MISSING, BEGUN, INSTALLED].into_iter().find(|marker| command.contains(marker));
            assert_eq!(held, None, "{command}");
        }
    }

    #[test]
    fn another_system_says_what_it_is() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let uname = directory.path().join("uname");
        std::fs::write(&uname, "#!/bin/sh\necho FreeBSD amd64\n").unwrap();
        std::fs::set_permissions(&uname, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(serve(&[".fleet-health".to_owned()], &embedded()));
        shell.env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()));
        let printed = shell.current_dir(directory.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&printed.stdout), format!("{MISSING} FreeBSD amd64\n"));
    }

    #[test]
    fn a_missing_probe_is_reported_with_the_platform_by_every_shell_here() {
        let directory = tempfile::tempdir().unwrap();
        let command = serve(&[".fleet-health".to_owned(), "/nonexistent/dir".to_owned()], &embedded());
        for shell in ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/csh", "/usr/bin/fish", "/bin/busybox"] {
            if !std::path::Path::new(shell).exists() {
                continue;
            }
            let mut run = Command::new(shell);
            if shell.ends_with("busybox") {
                run.arg("sh");
            }
            let printed = run.arg("-c").arg(&command).current_dir(directory.path()).output().unwrap();
            let uname = Command::new("uname").arg("-sm").output().unwrap();
            let expected = format!("{MISSING} {}", String::from_utf8_lossy(&uname.stdout));
            assert_eq!(String::from_utf8_lossy(&printed.stdout), expected, "{shell}");
        }
    }

    #[test]
    fn a_probe_that_another_user_could_have_put_there_is_not_run() {
        use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        let probes = embedded();
        let own = probes.by_machine()[0].1.sha256.clone();
        let probe = |name: &str| place(name).join(format!("probe-{own}"));
        for name in ["ours", "foreign", "foreign-probe", "linked-probe"] {
            std::fs::create_dir(place(name)).unwrap();
            std::fs::set_permissions(place(name), std::fs::Permissions::from_mode(0o700)).unwrap();
            std::fs::write(probe(name), "#!/bin/sh\necho it ran\n").unwrap();
            std::fs::set_permissions(probe(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        symlink("ours", place("link")).unwrap();
        std::fs::remove_file(probe("linked-probe")).unwrap();
        symlink(probe("ours"), probe("linked-probe")).unwrap();
        let run = |name: &str| {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(serve(&[name.to_owned()], &probes)).current_dir(directory.path());
            String::from_utf8_lossy(&shell.output().unwrap().stdout).into_owned()
        };
        assert_eq!(run("ours"), "it ran\n");
        let mut refused = vec!["link", "linked-probe"];
        // Only root can give files away.
        if chown(place("foreign"), Some(65534), None).is_ok() {
            chown(probe("foreign"), Some(65534), None).unwrap();
            chown(probe("foreign-probe"), Some(65534), None).unwrap();
            refused.extend(["foreign", "foreign-probe"]);
        }
        for name in refused {
            assert!(run(name).starts_with(MISSING), "{name}: {}", run(name));
        }
    }

    #[test]
    fn what_cannot_be_a_directory_of_ours_is_refused_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", directory.path().join("link")).unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        for name in ["link", "file", "real"] {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(install(name, 5, "ab12", "r")).current_dir(directory.path());
            let printed = shell.stdin(std::process::Stdio::null()).output().unwrap();
            assert!(!printed.status.success());
            assert!(!String::from_utf8_lossy(&printed.stdout).contains(INSTALLED), "{name}");
        }
        assert_eq!(std::fs::read_dir(directory.path().join("real")).unwrap().count(), 0);
    }
}
