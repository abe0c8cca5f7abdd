//! The ways to clients: bastions, commands, parents, policies.

use std::path::Path;

use config::{Client, Connection, Environment, HostKeyPolicy, Mode, Proxy, Settings, Ssh};

fn settings(inner: &str) -> Settings {
    let environment =
        Environment { home: Some("/home/ann".into()), user: "ann".into(), ..Environment::default() };
    let text = format!("<config>{inner}</config>");
    config::parse(&text, Path::new("/etc/fleet/config.xml"), &environment)
        .unwrap_or_else(|faults| panic!("{faults}"))
}

fn client<'s>(settings: &'s Settings, name: &str) -> &'s Client {
    settings.clients.iter().find(|client| client.name.as_str() == name).expect(name)
}

fn ssh<'s>(settings: &'s Settings, name: &str) -> &'s Ssh {
    match &client(settings, name).connection {
        Connection::Ssh(ssh) => ssh,
        Connection::Local | Connection::Unsaid => panic!("{name} is local"),
    }
}

/// The hops of a way, the one that is dialled first; a command in parentheses.
fn way(ssh: &Ssh) -> String {
    match &ssh.proxy {
        None => "direct".to_owned(),
        Some(Proxy::Command(command)) => format!("({command})"),
        Some(Proxy::Jump(hops)) => {
            let own = |ssh: &Ssh| if ssh.proxy.is_some() { format!("{} ", way(ssh)) } else { String::new() };
            hops.iter().map(|hop| own(&hop.ssh) + &hop.name).collect::<Vec<_>>().join(" > ")
        }
    }
}

fn parent(settings: &Settings, name: &str) -> String {
    client(settings, name).parent.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

const FLEET: &str = r#"
    <defaults username="fleet" identity-file="~/.ssh/fleet" port="2200" proxy-jump="gate inner"/>
    <client name="gate" ip="gate.example.org" port="22" username="jump" host-key-policy="accept-new" enabled="false"/>
    <client name="inner" ip="10.0.0.1"/>
    <client name="web" ip="10.0.1.1"/>
    <client name="direct" ip="10.0.1.2" proxy-jump="none"/>
    <client name="other" ip="10.0.1.3" proxy-jump="ops@[fe80::1]:22, GATE"/>
    <client name="behind" ip="10.0.1.4" proxy-jump="web deep.example.org"/>
    <client name="command" ip="fe80::2" username="o'ps" proxy-command="nc -X 5 %h %p # %r 100%%"/>
    <client name="both" ip="10.0.1.5" proxy-jump="command"/>
    <client name="here" connection="local"/>"#;

#[test]
fn ways_are_laid_end_to_end() {
    let settings = settings(FLEET);
    let way = |name| way(ssh(&settings, name));
    assert_eq!(way("web"), "gate > inner");
    // An inherited list ends before the client that it names.
    assert_eq!(way("inner"), "gate");
    assert_eq!(way("direct"), "direct");
    // Only the first hop goes its own way, as with ssh -J.
    assert_eq!(way("other"), "ops@[fe80::1]:22 > gate");
    assert_eq!(way("behind"), "gate > inner > web > fleet@deep.example.org:2200");
    assert_eq!(way("command"), r"(nc -X 5 fe80::2 2200 # 'o'\''ps' 100%)");
    assert_eq!(way("both"), format!("{} command", way("command")));
}

#[test]
fn hops_log_in_as_their_clients_do() {
    let settings = settings(FLEET);
    let Some(Proxy::Jump(hops)) = &ssh(&settings, "behind").proxy else { panic!("hops") };
    let gate = &hops[0];
    assert_eq!((gate.ssh.username.as_str(), gate.ssh.port), ("jump", 22));
    assert_eq!(gate.ssh.identity_files, [Path::new("/home/ann/.ssh/fleet")]);
    assert_eq!(gate.ssh.host_key_policy, HostKeyPolicy::AcceptNew);
    assert_eq!(gate.source, "config.xml:3");
    assert_eq!(hops[3].ssh.identity_files, gate.ssh.identity_files);
    assert_eq!(hops[3].source, "config.xml:8");
}

#[test]
fn parents_are_the_last_clients_on_the_way() {
    let settings = settings(FLEET);
    assert_eq!(parent(&settings, "web"), "inner");
    assert_eq!(parent(&settings, "behind"), "web");
    // The gate is disabled: nobody learns whether it is reachable.
    assert_eq!(parent(&settings, "inner"), "none");
    assert_eq!(parent(&settings, "here"), "none");
    let written = self::settings(
        r#"<defaults parent="router"/><client name="router" ip="a"/><client name="x" ip="b"/>
           <client name="y" ip="c" parent="none" proxy-jump="x"/><client name="z" ip="d" parent="X"/>
           <client name="off" ip="e" enabled="false"/><client name="w" ip="f" parent="off"/>"#,
    );
    let parents = ["router", "x", "y", "z", "w"].map(|name| parent(&written, name));
    assert_eq!(parents, ["none", "router", "none", "x", "none"]);
}

#[test]
fn parents_by_the_way_close_no_circle() {
    let settings =
        settings(r#"<client name="gate" ip="a" parent="web"/><client name="web" ip="b" proxy-jump="gate"/>"#);
    assert_eq!((parent(&settings, "gate"), parent(&settings, "web")), ("web".to_owned(), "none".to_owned()));
}

#[test]
fn modes_and_processes() {
    let settings = settings(
        r#"<defaults mode="installed"/><client name="a" ip="a" processes="sshd, kworker/0:1 sshd"/>
           <client name="b" ip="b" mode="ship"/><client name="c" connection="local"/>"#,
    );
    assert_eq!(client(&settings, "a").mode, Mode::Installed);
    assert_eq!(client(&settings, "a").processes, ["sshd", "kworker/0:1"]);
    assert_eq!(client(&settings, "b").mode, Mode::Ship);
}

#[test]
fn a_wrong_name_in_the_defaults_is_told_once() {
    let clients: String = (0..5000)
        .fold(String::new(), |text, n| text + &format!("<client ip='10.1.{}.{}'/>", n / 250, n % 250));
    let text = format!("<config><defaults proxy-jump='gate' parent='gate'/>{clients}</config>");
    let faults = config::parse(&text, Path::new("config.xml"), &Environment::default()).unwrap_err();
    assert_eq!(faults.count(), 2, "{faults}");
}

#[test]
fn the_summary_shows_the_ways() {
    insta::assert_snapshot!(config::summary(&settings(FLEET)).split("\n\n").nth(1).unwrap());
}
