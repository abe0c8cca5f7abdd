//! 40 healthy clients alone, and beside 20 dead ones: how much later the last of the healthy is done.
//!
//! `cargo build --release && cargo bench -p tests --bench fairness`; docs/performance.md has the table.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use tests::mount::Mount;
use tests::silent::{BlackHole, refused_port};
use tests::site::Site;
use tests::sshd::{Sshd, make_key};
use tests::{is_root, tell};

/// Clients that answer.
const HEALTHY: usize = 40;

/// Clients that do not, of each kind.
const DEAD: usize = 5;

/// Runs of which the median counts, of each setting, in turns.
const RUNS: usize = 7;

fn main() {
    let sshd = Sshd::start();
    let (black_hole, refused) = (BlackHole::start(), refused_port());
    tell("concurrency  alone, s  beside the dead, s  ratio (bound 4/3)");
    for concurrency in [8, 16, 32, 64] {
        let [alone, beside] = [Site::new(), Site::new()];
        // What is known of a client that failed decides from its second run on.
        let full = is_root().then(|| Mount::new(beside.path("full"), "size=64k,mode=700"));
        let others = dead(&beside, &sshd, black_hole.port(), refused, full.is_some());
        for (site, others) in [(&alone, ""), (&beside, others.as_str())] {
            site.know(&sshd);
            make_key(&site.path("stranger"), "ed25519", "");
            let mut elements = format!("<defaults concurrency=\"{concurrency}\"/>\n");
            elements.extend((0..HEALTHY).map(|number| site.client(&sshd, &format!("web{number}"), "", "")));
            elements.push_str(others);
            site.configure(&elements);
            last_healthy(site);
        }
        let mut times = [vec![], vec![]];
        for _ in 0..RUNS {
            for (site, times) in [&alone, &beside].into_iter().zip(&mut times) {
                times.push(last_healthy(site));
            }
        }
        let [alone, beside] = times.map(median);
        tell(&format!("{concurrency:11}  {alone:8.2}  {beside:18.2}  {:5.2}", beside / alone));
    }
    if !is_root() {
        tell("without root no full disk was mounted: 15 dead clients instead of 20");
    }
}

/// The dead: a black hole, a closed port, a key that nobody knows, a full disk.
fn dead(site: &Site, sshd: &Sshd, black_hole: u16, refused: u16, full: bool) -> String {
    let usual = format!("port=\"{}\"", sshd.port());
    let at = |kind: &str, port: u16| -> String {
        let client = |number: usize| site.client(sshd, &format!("{kind}{number}"), "", "");
        (0..DEAD).map(client).collect::<String>().replace(&usual, &format!("port=\"{port}\""))
    };
    let mut elements = at("hole", black_hole) + &at("refused", refused);
    for number in 0..DEAD {
        let stranger = format!("identity-file=\"{}\"", site.text("stranger"));
        elements.push_str(&site.client(sshd, &format!("stranger{number}"), &stranger, ""));
        if full {
            let name = format!("full{number}");
            let usual = site.remote_dir(&name).display().to_string();
            elements.push_str(
                &site.client(sshd, &name, "", "").replace(&usual, &site.text(&format!("full/{number}"))),
            );
        }
    }
    elements
}

/// When the last of the healthy was done, in seconds from the begin of the run.
fn last_healthy(site: &Site) -> f64 {
    let collection = site.collect_with(&["--fresh"]);
    let healthy = collection.clients.iter().filter(|(name, _)| name.starts_with("web"));
    let ends: Vec<f64> = healthy
        .map(|(name, client)| {
            assert_eq!(client.outcome, "collected", "{name}: {}", client.message);
            client.ended
        })
        .collect();
    assert_eq!(ends.len(), HEALTHY);
    ends.into_iter().fold(0.0, f64::max)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
