//! One of several hosts that share a storage: a management host with a name of its own, by which the others know it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};

use crate::network::Network;
use crate::programs;
use crate::site::{Run, Site};

/// Says its name inside a UTS namespace (uts_namespaces(7)), then becomes the program.
const NAMED: &str = r#"hostname "$1" && shift && exec "$@""#;

/// A host.
#[derive(Debug)]
pub struct Host {
    name: String,
    site: Site,
    /// The network namespace that it is in, if not the test's own.
    network: Option<String>,
}

/// A program that runs on a [`Host`]; it is killed with its drop.
#[derive(Debug)]
pub struct Running<'a> {
    host: &'a Host,
    program: Child,
}

impl Host {
    /// One that is called `name`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), site: Site::new(), network: None }
    }

    /// The same in a network of its own.
    pub fn within(name: &str, network: &Network) -> Self {
        Self { network: Some(network.name().to_owned()), ..Self::new(name) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Writes config.xml, mode 0600: `<storage>` with these attributes beside a state directory, and `elements`.
    pub fn configure(&self, storage: &str, elements: &str) {
        self.site.configure_shared(storage, elements);
    }

    /// A command of `program` here. It becomes that program itself: its process id is that of the program.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = match &self.network {
            Some(network) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", network, "unshare"]);
                command
            }
            None => Command::new("unshare"),
        };
        command.arg("--uts");
        if !crate::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["/bin/sh", "-c", NAMED, "named", &self.name]).arg(program).args(arguments);
        self.site.prepare(&mut command);
        command
    }

    /// Runs `fleet-collector`.
    pub fn collector(&self, arguments: &[&str]) -> Run {
        self.start(&programs::collector(), arguments).wait()
    }

    /// Runs `fleet-alerter`.
    pub fn alerter(&self, arguments: &[&str]) -> Run {
        self.start(&programs::alerter(), arguments).wait()
    }

    /// Starts a program.
    pub fn start(&self, program: &Path, arguments: &[&str]) -> Running<'_> {
        let file = |name: &str| File::create(self.site.path(name)).expect("a file of ours");
        let mut command = self.command(program, arguments);
        command.stdout(file("stdout")).stderr(file("stderr"));
        Running { host: self, program: command.spawn().expect("unshare runs") }
    }
}

impl Running<'_> {
    /// Waits until it has ended.
    pub fn wait(mut self) -> Run {
        let status = self.program.wait().expect("a child can be waited for");
        let text = |name: &str| {
            let bytes = std::fs::read(self.host.site.path(name)).expect("a file of ours");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Run { code: status.code(), stdout: text("stdout"), stderr: text("stderr") }
    }

    /// Whether it still runs.
    pub fn goes_on(&mut self) -> bool {
        self.program.try_wait().expect("a child can be waited for").is_none()
    }

    /// `kill -9`
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
