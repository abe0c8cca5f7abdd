//! A real PostgreSQL on a loopback address and a free port, for the tests of whoever keeps something in one.
//!
//! Its files lie in a directory of its own; as root it runs as the user `postgres`, since it refuses to run as root. It ends
//! with what started it: when it is dropped, also by a panic, and also when the test's own process is killed.

mod certificates;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use model::storage_url::{PgHost, PgServer, PgTls, PostgresUrl};
use rustix::process::{Pid, Signal, geteuid, kill_process};

pub use certificates::{Certificate, Certificates};

/// Whom a server runs as where the test is root, as Debian's package makes it.
const USER: &str = "postgres";

/// What a test may wait for a server to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until its standard input is closed, ends the server with the data directory `$2` if it still runs, and removes
/// the directory `$1`.
const KEEPER: &str = r#"
trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$2/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && grep -q -F "$2" "/proc/$pid/cmdline" 2>/dev/null; then
    kill -QUIT "$pid"
    for _ in 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9; do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
fi
rm -rf "$1"
"#;

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Lines of pg_hba.conf that win over the usual ones, which trust everybody.
    pub hba: String,
    /// `name=value` of postgresql.conf.
    pub settings: Vec<String>,
    /// Whether it has a certificate, and takes clients' certificates of the same authority.
    pub tls: bool,
    /// Whether what is committed survives a loss of power; costs time.
    pub durable: bool,
    /// Where its data lies, if not in a directory of its own.
    pub data: Option<PathBuf>,
    /// The address that it listens on.
    pub address: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            hba: String::new(),
            settings: Vec::new(),
            tls: false,
            durable: false,
            data: None,
            address: "127.0.0.1".to_owned(),
        }
    }
}

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As by its service unit: connections are ended, and everything is written.
    Fast,
    /// At once; the next start recovers.
    Immediate,
    /// As by a crash of the machine that it runs on.
    Killed,
}

/// A server, running or ended.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    directory: PathBuf,
    data: PathBuf,
    port: u16,
    process: Option<Child>,
    certificates: Option<Certificates>,
    keeper: Child,
}

impl Server {
    /// One for the whole test process, as [`Server::start`] makes it; each test takes a [`Server::database`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one that trusts everybody on 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self::with(Setup::default())
    }

    /// Starts one.
    #[must_use]
    pub fn with(setup: Setup) -> Self {
        let mut server = Self::empty(setup);
        if server.setup.tls {
            server.certificates = Some(Certificates::make(&server.directory, &server.setup.address));
        }
        server.hand_over();
        let data = server.data.display().to_string();
        let arguments = ["-D", &data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"];
        output(server.tool("initdb").args(arguments));
        let hba = format!(
            "{}\nlocal all all trust\nlocal replication all trust\nhost all all all trust\nhost replication all all trust\n",
            server.setup.hba
        );
        std::fs::write(server.data.join("pg_hba.conf"), hba).expect("initdb made it");
        server.resume();
        server
    }

    /// A second server that repeats what this one does, and to which this one's commits wait to have come.
    /// [`Server::promote`] makes it one of its own.
    #[must_use]
    pub fn standby(&self) -> Self {
        let mut standby = Self::empty(Setup { data: None, ..self.setup.clone() });
        standby.certificates.clone_from(&self.certificates);
        standby.hand_over();
        let (data, port) = (standby.data.display().to_string(), self.port.to_string());
        let from = ["-h", &self.setup.address, "-p", &port, "-U", USER, "-D", &data];
        output(self.tool("pg_basebackup").args(from).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]));
        standby.resume();
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("postgres", "SELECT pg_reload_conf()");
        self.await_answer("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", "1");
        standby
    }

    /// A server that has no data yet, nor a process.
    fn empty(setup: Setup) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("fleet-postgres-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o755).create(&directory).expect("a directory of ours");
        let data = setup.data.clone().unwrap_or_else(|| directory.join("data"));
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .args([&directory, &data])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh runs");
        Self { setup, directory, data, port: 0, process: None, certificates: None, keeper }
    }

    /// Gives its directories to whom it runs as.
    fn hand_over(&self) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.data)
            .expect("a directory of ours");
        if geteuid().is_root() {
            output(Command::new("chown").arg(format!("{USER}:")).args([&self.directory, &self.data]));
        }
    }

    /// A command of the server's own programs, as whom it runs as, with nothing of the test's environment.
    fn tool(&self, name: &str) -> Command {
        let program = programs().join(name);
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TZ", "UTC")
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    /// Its address.
    pub fn address(&self) -> &str {
        &self.setup.address
    }

    /// Its port, which stays the same.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its certificates, where it has any.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("asked for by Setup::tls")
    }

    /// Where its data lies.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Makes an empty database, and says its name.
    pub fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fleet_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The URL of a database for who may do everything.
    pub fn url(&self, database: &str) -> String {
        self.url_of(USER, database)
    }

    /// The URL of a database for a role, without a password.
    pub fn url_of(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@{}:{}/{database}", self.setup.address, self.port)
    }

    /// How many bytes a database has on the disk.
    pub fn bytes(&self, database: &str) -> u64 {
        self.sql(database, "CHECKPOINT");
        let bytes = self.sql(database, &format!("SELECT pg_database_size('{database}')"));
        bytes.parse().expect("it is a number")
    }

    /// The same as a storage is told of it.
    pub fn storage(&self, database: &str) -> PostgresUrl {
        storage(&self.setup.address, self.port, database)
    }

    /// Runs SQL as who may do everything, and gives what it answers: a row a line, columns parted by `|`.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_as(USER, database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same as a role; what the server says where it does not.
    pub fn sql_as(&self, role: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.tool("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"]).arg(&self.directory);
        psql.args(["-p", &self.port.to_string(), "-U", role, "-d", database, "-f", "-"]);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = psql.spawn().map_err(|error| format!("psql does not run: {error}"))?;
        let mut input = process.stdin.take().expect("piped");
        // What psql does not take, it says why.
        let _ = input.write_all(sql.as_bytes());
        drop(input);
        let output = process.wait_with_output().expect("psql ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Asks until the server gives that answer.
    pub fn await_answer(&self, question: &str, answer: &str) {
        until(&format!("{question}: {answer}"), || {
            self.sql_as(USER, "postgres", question).is_ok_and(|given| given == answer)
        });
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// Ends it. [`Server::resume`] starts it again.
    pub fn stop(&mut self, ending: Ending) {
        let Some(mut process) = self.process.take() else { return };
        let signal = match ending {
            Ending::Fast => Signal::INT,
            Ending::Immediate => Signal::QUIT,
            Ending::Killed => Signal::KILL,
        };
        if let Some(pid) = Pid::from_raw(process.id().cast_signed()) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
        process.wait().expect("a child can be waited for");
    }

    /// Ends it so, and starts it again.
    pub fn restart(&mut self, ending: Ending) {
        self.stop(ending);
        self.resume();
    }

    /// Makes a standby a server of its own.
    pub fn promote(&self) {
        self.sql("postgres", "SELECT pg_promote()");
        self.await_answer("SELECT pg_is_in_recovery()", "f");
    }

    /// Starts it where it does not run, on the same port as before.
    pub fn resume(&mut self) {
        // A port that is free now may be taken a moment later; and the processes of a server that was killed end a moment
        // after it.
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let port = if self.port == 0 { free_port(&self.setup.address) } else { self.port };
            let mut process = self.launch(port);
            if self.is_ready(&mut process) {
                self.port = port;
                self.process = Some(process);
                return;
            }
            let _ = process.kill();
            let _ = process.wait();
            sleep(Duration::from_millis(200));
        }
        panic!("PostgreSQL does not start:\n{}", self.log());
    }

    fn launch(&self, port: u16) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("a file of ours");
        let mut settings = format!(
            "port={port}\nlisten_addresses={}\nunix_socket_directories={}\nlog_line_prefix=%m [%p] %u@%d \n",
            self.setup.address,
            self.directory.display()
        );
        settings.push_str("shared_buffers=32MB\nmax_wal_senders=4\nwal_keep_size=64MB\n");
        if !self.setup.durable {
            settings.push_str("fsync=off\nfull_page_writes=off\n");
        }
        if let Some(certificates) = &self.certificates {
            let _ = writeln!(settings, "ssl=on\nssl_ca_file={}", certificates.authority().display());
            let of_server = certificates.server();
            let _ = writeln!(settings, "ssl_cert_file={}", of_server.certificate.display());
            let _ = writeln!(settings, "ssl_key_file={}", of_server.key.display());
        }
        let mut command = self.tool("postgres");
        command.arg("-D").arg(&self.data);
        for setting in settings.lines().chain(self.setup.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let errors = log.try_clone().expect("a file of ours");
        command.stdout(log).stderr(errors).spawn().expect("PostgreSQL runs")
    }

    /// Waits until the server says in its postmaster.pid that it takes connections; `false` where it gives up.
    fn is_ready(&self, process: &mut Child) -> bool {
        let mine = process.id().to_string();
        let mut ended = false;
        until("PostgreSQL starts or gives up", || {
            ended = process.try_wait().is_ok_and(|status| status.is_some());
            let said = std::fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
            let lines: Vec<&str> = said.lines().map(str::trim).collect();
            let ready = lines.first() == Some(&mine.as_str())
                && lines.get(7).is_some_and(|state| ["ready", "standby"].contains(state));
            ended || ready
        });
        !ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Ending::Immediate);
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// A database of a server that runs, for who may do everything, as a storage is told of it.
pub fn storage(address: &str, port: u16, database: &str) -> PostgresUrl {
    PostgresUrl {
        servers: vec![PgServer { host: PgHost::Name(address.to_owned()), port }],
        database: Some(database.to_owned()),
        user: Some(USER.to_owned()),
        tls: PgTls::Disable,
        ca_file: None,
        client_certificate: None,
        client_key: None,
        connect_timeout: Duration::from_secs(10),
    }
}

/// Where PostgreSQL's programs are: Debian keeps those of each version apart, the newest wins; else the first in PATH.
fn programs() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = versions
            .filter_map(|entry| {
                Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
            })
            .filter(|(_, directory)| directory.join("initdb").exists())
            .max();
        let path = std::env::var_os("PATH").unwrap_or_default();
        newest
            .map(|(_, directory)| directory)
            .or_else(|| std::env::split_paths(&path).find(|directory| directory.join("initdb").exists()))
            .expect("PostgreSQL is needed: apt-get install -y --no-install-recommends postgresql")
    })
}

/// What `command` prints; it has to succeed.
pub(super) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < PATIENCE, "a minute went by, and still not: {what}");
        sleep(Duration::from_millis(20));
    }
}

fn free_port(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

#[cfg(test)]
mod tests;
