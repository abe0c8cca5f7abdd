//! Included files, receivers, windows and heartbeats.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Daily, Environment, Settings};
use model::Severity;
use proptest::prelude::*;

fn environment() -> Environment {
    Environment { home: Some("/home/ann".into()), user: "ann".into(), ..Environment::default() }
}

/// A directory with these files, each its owner's alone.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, inner) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, format!("<config>\n{inner}\n</config>")).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    directory
}

fn load(directory: &Path) -> Result<Settings, String> {
    config::load(Some(&directory.join("config.xml")), &environment()).map_err(|faults| faults.to_string())
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.clients.iter().map(|client| client.name.as_str()).collect()
}

const MAIN: &str = r#"<include file="clients/*.xml"/><include file="clients/web.xml"/><include file="none/*.xml"/>
    <defaults username="fleet" template="small"/><client name="first" ip="10.0.0.1"/>"#;

#[test]
fn files_are_read_by_name_each_once() {
    let directory = directory(&[
        ("config.xml", MAIN),
        (
            "clients/web.xml",
            r#"<include file="more/*"/><client name="web" ip="10.0.0.3" password-file="secret"/>"#,
        ),
        ("clients/db.xml", r#"<client name="db" ip="10.0.0.2" proxy-jump="first"/><template name="small"/>"#),
        ("clients/.hidden.xml", "<nonsense/>"),
        ("clients/old.xml~", "<nonsense/>"),
        ("clients/more/a", r#"<client name="deep" ip="10.0.0.4"/>"#),
    ]);
    let settings = load(directory.path()).unwrap();
    assert_eq!(names(&settings), ["first", "db", "web", "deep"]);
    let sources: Vec<_> = settings.clients.iter().map(|client| client.source.as_str()).collect();
    assert_eq!(sources, ["config.xml:3", "clients/db.xml:2", "clients/web.xml:2", "clients/more/a:2"]);
    let included: Vec<PathBuf> =
        ["db.xml", "web.xml", "more/a"].map(|name| directory.path().join("clients").join(name)).into();
    assert_eq!(settings.included, included);
    let config::Connection::Ssh(web) = &settings.clients[2].connection else { panic!("ssh") };
    let secret = config::SecretSource::File(directory.path().join("clients/secret"));
    assert_eq!(web.password, Some(secret));
    assert!(config::summary(&settings).contains("\nincluded  3: "));
}

#[test]
fn each_file_is_its_owners() {
    let directory = directory(&[
        ("config.xml", r#"<include file="~/none/*"/><include file="a.xml"/><include file="b.xml"/>"#),
        ("a.xml", r#"<client ip="10.0.0.1" password="hush"/>"#),
        ("b.xml", r#"<client ip="10.0.0.2"/>"#),
    ]);
    let set = |name: &str, mode| {
        fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set("config.xml", 0o644);
    set("b.xml", 0o644);
    assert_eq!(load(directory.path()).unwrap().clients.len(), 2);
    set("a.xml", 0o644);
    set("b.xml", 0o666);
    let told = load(directory.path()).unwrap_err();
    assert!(told.contains("a.xml:2:23: error: the file holds passwords"), "{told}");
    assert!(
        told.contains("b.xml:1:1: error: others may change this file") && !told.contains("hush"),
        "{told}"
    );
}

#[test]
fn a_file_under_two_names_includes_itself_no_less() {
    let directory = directory(&[("config.xml", r#"<include file="link.xml"/>"#)]);
    std::os::unix::fs::symlink("config.xml", directory.path().join("link.xml")).unwrap();
    assert!(load(directory.path()).unwrap_err().contains("link.xml includes itself in the end"));
    fs::write(directory.path().join("config.xml"), "<config><include file='.'/><include file='x'/></config>")
        .unwrap();
    fs::write(directory.path().join("x"), b"<config>\xff</config>").unwrap();
    let told = load(directory.path()).unwrap_err();
    assert!(
        told.contains("not a regular file") && told.contains("x:1:9: error: this is not UTF-8"),
        "{told}"
    );
}

#[test]
fn files_are_bounded_together() {
    let path = |name: usize| PathBuf::from(format!("/etc/f/{name}.xml"));
    let told = |files: &[(PathBuf, String)]| {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_path(), text.as_str())).collect();
        config::parse_all(&files, &environment()).unwrap_err().to_string()
    };
    let main = (path(0), "<config><include file='/etc/f/?*.xml'/></config>".replace("?*", "1*"));
    let mut files = vec![main.clone()];
    files.extend((0..1500).map(|n| (PathBuf::from(format!("/etc/f/1{n}.xml")), "<config/>".to_owned())));
    assert!(told(&files).contains("more than 1000 files"));
    let large = format!("<config>{}</config>", " ".repeat(9 << 20));
    assert!(told(&[main, (path(11), large.clone()), (path(12), large)]).contains("more than 16 MiB"));
    let chain: Vec<_> =
        (0..20).map(|n| (path(n), format!("<config><include file='{}.xml'/></config>", n + 1))).collect();
    assert!(told(&chain).contains("more than 16 files include one another"));
}

#[test]
fn receivers_windows_and_heartbeats() {
    let text = r#"<config>
        <mail repeat="12h" max-per-hour="20" text-only="true"/>
        <heartbeat collector-url="https://hc.example.org/hush"/>
        <receiver mail="a@example.org" time-zone="Europe/Berlin" min-severity="critical" repeat="1d"/>
        <window name="night" daily="22:00-06:00" days="mon-fri" until="2026-12-31" time-zone="UTC"/>
        </config>"#;
    let settings = config::parse(text, Path::new("config.xml"), &environment()).unwrap();
    let mailing = settings.mail.as_ref().unwrap().mailing;
    assert_eq!((mailing.repeat, mailing.max_per_hour), (Some(Duration::from_secs(43_200)), Some(20)));
    assert_eq!(mailing.text_only, Some(true));
    let receiver = &settings.receivers[0];
    assert_eq!(receiver.time_zone.map(chrono_tz::Tz::name), Some("Europe/Berlin"));
    assert_eq!(receiver.min_severity, Some(Severity::Critical));
    assert_eq!(receiver.mailing.repeat, Some(Duration::from_secs(86_400)));
    let window = &settings.windows[0];
    assert_eq!(window.daily, Some(Daily { from: 1320, until: 360 }));
    assert_eq!(window.days, (1..=5).collect());
    assert_eq!(window.until.unwrap().to_string(), "2027-01-01 00:00:00");
    assert_eq!((window.source.as_str(), receiver.source.as_str()), ("config.xml:5", "config.xml:4"));
    let summary = config::summary(&settings);
    assert!(!summary.contains("without effect"), "{summary}");
    assert!(!format!("{settings:?}{summary}").contains("hush"));
}

/// Parts of files, so that random ones are nearly right.
fn part() -> impl Strategy<Value = String> {
    let words = [
        "<include file=\"",
        "*.xml",
        "?",
        "b.xml",
        "a.xml",
        "\"",
        "/>",
        " ",
        "<client name=\"",
        "a",
        "b",
        " ip=\"h\"",
        " proxy-jump=\"a b\"",
        " proxy-jump=\"b x@h:2\"",
        " proxy-command=\"%h\"",
        " parent=\"a\"",
        " parent=\"b\"",
        "<defaults proxy-jump=\"b\" parent=\"a\"",
        "<receiver mail=\"a@b\"",
        "<window name=\"n\" daily=\"",
        "22:00-06:00",
        "days=\"sat-mon",
        "from=\"2026-02-30",
        "time-zone=\"UTC",
        "<heartbeat alerter-url=\"http://[",
        "<template name=\"t\">",
    ];
    prop_oneof![8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_files_panic(files in proptest::collection::vec(proptest::collection::vec(part(), 0..30), 1..4)) {
        let names = ["config.xml", "a.xml", "b.xml"].map(Path::new);
        let texts: Vec<_> = files.iter().map(|parts| format!("<config>{}</config>", parts.concat())).collect();
        let files: Vec<_> = names.into_iter().zip(texts.iter().map(String::as_str)).collect();
        match config::parse_all(&files, &environment()) {
            Ok(settings) => prop_assert!(!config::summary(&settings).is_empty()),
            Err(faults) => prop_assert!(faults.count() > 0 && !faults.to_string().is_empty()),
        }
    }

    #[test]
    fn no_ways_panic(
        clients in proptest::collection::vec((0..6_usize, 0..6_usize, 0..6_usize, any::<bool>()), 1..6),
        default in 0..8_usize,
    ) {
        let mut text = format!("<config><defaults proxy-jump=\"{}\"/>", ["c0", "c1", "c2 c0", "none", "x:1", "c1 c1", "c9", "x:1 c3"][default]);
        for (number, (first, second, parent, enabled)) in clients.iter().enumerate() {
            let jump = if first == second { String::new() } else { format!("proxy-jump=\"c{first} c{second}\"") };
            let _ = write!(text, "<client name=\"c{number}\" ip=\"h\" {jump} parent=\"c{parent}\" enabled=\"{enabled}\"/>");
        }
        let parsed = config::parse(&(text + "</config>"), Path::new("config.xml"), &environment());
        for client in parsed.iter().flat_map(|settings| &settings.clients) {
            // No way comes back to its client.
            if let config::Connection::Ssh(ssh) = &client.connection
                && let Some(config::Proxy::Jump(hops)) = &ssh.proxy
            {
                prop_assert!(hops.len() <= 8 && hops.iter().all(|hop| hop.name != client.name.as_str()));
            }
        }
    }
}
