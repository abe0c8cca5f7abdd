//! Clients from an ssh_config(5). What a file means, ssh itself says (`ssh -G HOST`); a file is read only for the names
//! that it might be asked about.

mod answers;
mod draft;
mod jump;
mod names;

use std::io;
use std::path::Path;

use config::Environment;
use model::ClientName;
use model::text::escape;

use answers::{Answers, ask};
use draft::Draft;
use jump::Jump;
pub(crate) use names::names;

/// What became of an import.
pub(crate) struct Imported {
    /// The elements, one a line.
    pub(crate) elements: String,
    /// How many of the hosts are clients.
    pub(crate) count: usize,
    /// What config.xml cannot say, or what is not there: for people.
    pub(crate) remarks: Vec<String>,
}

/// Asks ssh about `hosts` and writes down what it says, of the hops on their way too. `file` takes the place of the user's
/// and the system's files. What comes of it can be read as config.xml: a host of which that is not so is left out.
pub(crate) fn import(
    file: Option<&Path>,
    hosts: &[String],
    environment: &Environment,
) -> Result<Imported, String> {
    let nothing = ask(Some(Path::new("/dev/null")), &Jump::of("host"))?;
    let mut import = Import { file, servers: Vec::new(), remarks: Vec::new() };
    for host in hosts {
        import.add(host)?;
    }
    let mut elements = Vec::new();
    // Each may add hops behind itself.
    let mut at = 0;
    while let Some(Server { name, answers, is_hop }) = import.servers.get(at).cloned() {
        let mut remarks = Vec::new();
        let home = environment.home.as_deref();
        let mut draft =
            Draft { host: &name, answers: &answers, nothing: &nothing, home, remarks: &mut remarks };
        let hops: Vec<_> = draft.jumps().iter().map(|jump| import.hop(&name, &Jump::of(jump))).collect();
        let text = draft.element(&hops, is_hop);
        import.remarks.append(&mut remarks);
        elements.push(Element { name, is_hop, text });
        at += 1;
    }
    leave_out_faulty(&mut elements, environment, &mut import.remarks);
    Ok(Imported {
        elements: elements.iter().map(|element| &*element.text).collect(),
        count: elements.iter().filter(|element| !element.is_hop).count(),
        remarks: import.remarks,
    })
}

/// A host that becomes a client.
#[derive(Clone)]
struct Server {
    name: String,
    answers: Answers,
    /// Whether nobody asked for it, but somebody is reached through it.
    is_hop: bool,
}

/// The line of a client.
struct Element {
    name: String,
    is_hop: bool,
    text: String,
}

struct Import<'a> {
    file: Option<&'a Path>,
    servers: Vec<Server>,
    remarks: Vec<String>,
}

impl Import<'_> {
    /// Adds a host that was asked for.
    fn add(&mut self, host: &str) -> Result<(), String> {
        if host.contains(['*', '?', '!']) {
            let text = "left out: it is a pattern; name the hosts that it means";
            self.remarks.push(format!("{}: {text}", escape(host)));
        } else if let Err(fault) = host.parse::<ClientName>() {
            self.remarks.push(format!("{}: left out: {fault}", escape(host)));
        } else {
            let answers = ask(self.file, &Jump::of(host))?;
            self.servers.push(Server { name: host.to_owned(), answers, is_hop: false });
        }
        Ok(())
    }

    /// What `proxy-jump` calls a hop on the way to `host`: a client, which has its keys and its own way.
    fn hop(&mut self, host: &str, jump: &Jump<'_>) -> String {
        let shown = escape(jump.host);
        let answers = match ask(self.file, jump) {
            Ok(answers) => answers,
            Err(fault) => {
                self.remarks.push(format!("{host}: the hop {shown}: {fault}"));
                return shown;
            }
        };
        let known = self.servers.iter().find(|known| known.name.eq_ignore_ascii_case(jump.host));
        let elsewhere = match known {
            Some(known) if known.answers.place() == answers.place() => return known.name.clone(),
            Some(_) => "another login or port than the client of that name",
            None if jump.host.parse::<ClientName>().is_ok() => {
                self.remarks.push(format!("{shown}: on the way to {host}: a client with enabled=\"false\""));
                self.servers.push(Server { name: jump.host.to_owned(), answers, is_hop: true });
                return jump.host.to_owned();
            }
            None => "that is no client's name",
        };
        let place = answers.place();
        let text = format!("{elsewhere}: it is {place}, and its keys are those of <defaults>");
        self.remarks.push(format!("{host}: the hop {shown}: {text}"));
        place
    }
}

/// Removes the elements that config.xml would be refused for, and those that need them.
fn leave_out_faulty(elements: &mut Vec<Element>, environment: &Environment, remarks: &mut Vec<String>) {
    loop {
        let text: String = elements.iter().map(|element| &*element.text).collect();
        let Err(faults) = config::parse(&document(&text), Path::new("config.xml"), environment) else {
            return;
        };
        let before = elements.len();
        let mut line = 1;
        elements.retain(|element| {
            line += 1;
            let fault = faults.iter().find(|fault| fault.line() == Some(line));
            remarks.extend(fault.map(|fault| format!("{}: left out: {}", element.name, fault.brief())));
            fault.is_none()
        });
        if elements.len() == before {
            remarks.push(faults.to_string());
            return;
        }
    }
}

/// A whole file: each element is a line behind the first.
fn document(elements: &str) -> String {
    format!("<config>\n{elements}</config>\n")
}

/// Writes a file of the elements, which must not be there yet, and makes its directory where that is missing.
pub(crate) fn write(file: &Path, elements: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

    if let Some(directory) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut to = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    to.write_all(document(elements).as_bytes())
}
