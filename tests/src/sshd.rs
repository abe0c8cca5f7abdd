//! A real sshd on a loopback address and a free port.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::child::{self, Guarded};

/// Where Debian keeps it; it wants to be called by its full path.
pub const SSHD: &str = "/usr/sbin/sshd";

/// The kinds of host keys that a new [`Sshd`] has.
pub const HOST_KEY_KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// A running server, with host keys of its own and one login key that it accepts for everyone.
#[derive(Debug)]
pub struct Sshd {
    process: Option<Guarded>,
    directory: tempfile::TempDir,
    addresses: Vec<String>,
    port: u16,
    options: String,
    own_home: bool,
}

impl Sshd {
    /// Starts one on 127.0.0.1.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts one on 127.0.0.1 for throwaway users: their shells read the start files in their homes.
    pub fn for_accounts(options: &str) -> Self {
        Self::begin(&["127.0.0.1".to_owned()], options, false)
    }

    /// Starts one on 127.0.0.1 with further lines for sshd_config, which win over the usual ones.
    pub fn with(options: &str) -> Self {
        Self::on(&["127.0.0.1".to_owned()], options)
    }

    /// Starts one on several addresses (at most 16: sshd listens on no more), with one port.
    pub fn on(addresses: &[String], options: &str) -> Self {
        Self::begin(addresses, options, true)
    }

    /// With `own_home`, logins have an empty `HOME`, so that the start files of whoever runs the tests do not matter.
    fn begin(addresses: &[String], options: &str, own_home: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for kind in ["ed25519", "ecdsa"] {
            make_key(&directory.path().join(format!("host_{kind}")), kind, "");
        }
        write_rsa_key(&directory.path().join("host_rsa"));
        std::fs::create_dir(directory.path().join("home")).expect("a directory of ours");
        make_key(&directory.path().join("login"), "ed25519", "");
        let authorized = directory.path().join("authorized_keys");
        std::fs::copy(directory.path().join("login.pub"), authorized).expect("a file of ours");
        if crate::is_root() {
            // The directory for privilege separation, which a service unit would have made.
            std::fs::create_dir_all("/run/sshd").expect("root makes directories");
            make_readable(directory.path());
        }
        let mut sshd = Self {
            process: None,
            directory,
            addresses: addresses.to_vec(),
            port: 0,
            options: options.to_owned(),
            own_home,
        };
        sshd.start_process();
        sshd
    }

    /// The address that it listens on; the first of several.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A private key (no passphrase) that it accepts for every user.
    pub fn login_key(&self) -> PathBuf {
        self.directory.path().join("login")
    }

    /// Accepts one more public key (a line of authorized_keys).
    pub fn authorize(&self, public_key: &Path) {
        let path = self.directory.path().join("authorized_keys");
        let mut keys = std::fs::read_to_string(&path).expect("a file of ours");
        keys.push_str(&std::fs::read_to_string(public_key).expect("a public key"));
        std::fs::write(path, keys).expect("a file of ours");
    }

    /// Has its login key run `command` from now on, whatever it asks for; no quoting is needed in it.
    pub fn force_command(&self, command: &str) {
        let public = std::fs::read_to_string(self.directory.path().join("login.pub")).expect("made");
        let script = self.directory.path().join("forced");
        std::fs::write(&script, format!("{command}\n")).expect("a file of ours");
        let line = format!("command=\"/bin/sh {}\" {public}", script.display());
        std::fs::write(self.directory.path().join("authorized_keys"), line).expect("a file of ours");
    }

    /// A public host key: `ssh-ed25519 AAAA...`.
    pub fn host_key(&self, kind: &str) -> String {
        let line =
            std::fs::read_to_string(self.directory.path().join(format!("host_{kind}.pub"))).expect("made");
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Its fingerprint as OpenSSH shows it: `SHA256:...`.
    pub fn fingerprint(&self, kind: &str) -> String {
        let path = self.directory.path().join(format!("host_{kind}.pub")).display().to_string();
        let line = child::output("ssh-keygen", &["-l", "-f", &path]);
        line.split_whitespace().nth(1).expect("bits, fingerprint, comment").to_owned()
    }

    /// The name for known_hosts: `[127.0.0.1]:2222`.
    pub fn known_as(&self) -> String {
        format!("[{}]:{}", self.address(), self.port)
    }

    /// Starts again on the same port with new host keys, as a machine that was reinstalled.
    pub fn replace_host_keys(&mut self) {
        self.stop();
        for kind in HOST_KEY_KINDS {
            let path = self.directory.path().join(format!("host_{kind}"));
            std::fs::remove_file(&path).expect("a file of ours");
            make_key(&path, kind, "");
        }
        self.start_process();
    }

    /// Starts again on the same port with a host certificate for its Ed25519 key, signed by the private key `ca`.
    /// `arguments` are further ones of `ssh-keygen -s`, such as `-n` and the names.
    pub fn certify(&mut self, ca: &Path, arguments: &[&str]) {
        self.stop();
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let ca = ca.display().to_string();
        let sign = ["-q", "-s", &ca, "-I", "test", "-h"];
        child::output("ssh-keygen", &[&sign[..], arguments, &[&path("host_ed25519.pub")]].concat());
        let _ = write!(self.options, "\nHostCertificate {}\n", path("host_ed25519-cert.pub"));
        self.start_process();
    }

    /// What it logged (LogLevel VERBOSE).
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Logins that it accepted.
    pub fn accepted(&self) -> usize {
        self.log().lines().filter(|line| line.contains("Accepted ") && line.contains(" for ")).count()
    }

    /// Stops listening; [`Self::resume`] starts it again on the same port.
    pub fn stop(&mut self) {
        self.process = None;
        // A session that was just forked holds the listening socket a moment longer.
        let target = self.target(self.port);
        child::until("the port is closed", || TcpStream::connect(target).is_err());
    }

    fn target(&self, port: u16) -> SocketAddr {
        let address: IpAddr = self.address().parse().expect("an address");
        (address, port).into()
    }

    /// Starts it again.
    pub fn resume(&mut self) {
        self.start_process();
    }

    fn start_process(&mut self) {
        let _ = std::fs::remove_file(self.directory.path().join("log"));
        // A port that is free now may be taken a moment later: try again with another, unless it has to be the same.
        for _ in 0..20 {
            let port = if self.port == 0 { free_port(self.address()) } else { self.port };
            self.write_config(port);
            let config = self.directory.path().join("config").into_os_string();
            let log = self.directory.path().join("log").into_os_string();
            let arguments = ["-D".into(), "-f".into(), config, "-E".into(), log];
            let mut process = Guarded::start(Path::new(SSHD), &arguments);
            let target = self.target(port);
            child::until("sshd listens or gives up", || {
                let log = self.log();
                let listens = |address| log.contains(&format!("listening on {address} port {port}."));
                self.addresses.iter().all(listens) || log.contains(" failed: ") || !process.is_running()
            });
            if !self.log().contains(" failed: ") && process.is_running() && TcpStream::connect(target).is_ok()
            {
                self.port = port;
                self.process = Some(process);
                return;
            }
        }
        panic!("sshd does not start on {:?}:\n{}", self.addresses, self.log());
    }

    fn write_config(&self, port: u16) {
        let directory = self.directory.path().display();
        let mut config = self.options.clone();
        let _ = write!(
            config,
            "\nAuthorizedKeysFile {directory}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nLogLevel VERBOSE\n\
             MaxStartups 500:30:1000\nUseDNS no\nPrintMotd no\nPrintLastLog no\n",
        );
        if self.own_home {
            let _ = writeln!(config, "SetEnv HOME={directory}/home");
        }
        for address in &self.addresses {
            let _ = writeln!(config, "ListenAddress [{address}]:{port}");
        }
        for kind in HOST_KEY_KINDS {
            let _ = writeln!(config, "HostKey {directory}/host_{kind}");
        }
        if self.knows("PerSourcePenalties no") {
            config.push_str("PerSourcePenalties no\n");
        }
        std::fs::write(self.directory.path().join("config"), config).expect("a file of ours");
    }

    /// Whether this sshd's version knows an option.
    fn knows(&self, option: &str) -> bool {
        Command::new(SSHD)
            .args(["-t", "-f", "/dev/null", "-h"])
            .arg(self.directory.path().join("host_ed25519"))
            .args(["-o", option])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Makes a key pair at `path` and `path.pub`; an RSA key has 3072 bits.
pub fn make_key(path: &Path, kind: &str, passphrase: &str) {
    let path = path.display().to_string();
    let mut arguments = vec!["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", &path];
    if kind == "rsa" {
        arguments.extend(["-b", "3072"]);
    }
    child::output("ssh-keygen", &arguments);
}

/// An RSA key takes a second to make: the servers of one test program share theirs, until they replace it.
fn write_rsa_key(path: &Path) {
    static PAIR: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    let (private, public) = PAIR.get_or_init(|| {
        make_key(path, "rsa", "");
        (std::fs::read(path).expect("made"), std::fs::read(path.with_extension("pub")).expect("made"))
    });
    std::fs::write(path, private).expect("a file of ours");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a file of ours");
    std::fs::write(path.with_extension("pub"), public).expect("a file of ours");
}

fn free_port(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Lets sshd read authorized_keys after it has become the user who logs in.
fn make_readable(directory: &Path) {
    let readable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, readable).expect("a directory of ours");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(sshd: &Sshd) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
        ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-i"])
            .arg(sshd.login_key());
        ssh.args(["-p", &sshd.port().to_string(), sshd.address(), "echo", "hello"]);
        ssh.stdin(Stdio::null());
        ssh
    }

    #[test]
    fn openssh_logs_in_here() {
        let sshd = Sshd::start();
        let output = ssh(&sshd).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n", "{said}\n{}", sshd.log());
        assert_eq!(sshd.accepted(), 1);
    }

    #[test]
    fn a_stopped_server_listens_no_more() {
        let mut sshd = Sshd::start();
        let address = sshd.target(sshd.port());
        sshd.stop();
        assert!(TcpStream::connect(address).is_err());
        sshd.resume();
        assert!(TcpStream::connect(address).is_ok());
    }
}
