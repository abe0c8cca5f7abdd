//! What mails are made of, as an independent parser reads them.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use alerter::dry_run;
use alerter::mail::{self, Manner, Sender, Surroundings};
use alerter::mailings::Mailings;
use alerter::notify::{Draft, Kind, Line};
use common::golden::{day, fleet, machine, outline, sent};
use common::{Fleet, OPS, at, client, sample, settings};
use model::{Labels, Outcome, Process, Sample, Severity};
use storage::{AlertStore as _, History as _, MemoryStore};

#[test]
fn what_a_mail_is_made_of() {
    let mut fleet = fleet();
    let outlines = |mail: &str, fleet: &mut Fleet<MemoryStore>, minute| {
        let settings = settings(&[mail, &client("web1", OPS)].concat());
        sent(fleet, &settings, minute).iter().map(outline).collect::<Vec<_>>()
    };
    day(&mut fleet, "web1");
    fleet.collected("web1", at(5), machine(85.0, 64.0));
    let rich = ["multipart/alternative(text/plain, multipart/related(text/html, image/png))"];
    assert_eq!(outlines("", &mut fleet, 6), rich);
    fleet.collected("web1", at(10), machine(20.0, 64.0));
    assert_eq!(outlines("", &mut fleet, 11), ["multipart/alternative(text/plain, text/html)"]);
    fleet.collected("web1", at(15), machine(85.0, 64.0));
    let text_only = "<mail host=\"localhost\" tls=\"none\" text-only=\"true\"/>";
    assert_eq!(outlines(text_only, &mut fleet, 16), ["text/plain"]);
    fleet.collected("web1", at(20), machine(95.0, 64.0));
    let but_not_for_ops =
        format!("{text_only}<receiver mail=\"{OPS}\" text-only=\"false\" time-zone=\"UTC\"/>");
    assert_eq!(outlines(&but_not_for_ops, &mut fleet, 21), rich);
}

#[test]
fn the_same_news_has_the_same_bytes() {
    let (mut fleet, settings) = (fleet(), settings(&client("web1", OPS)));
    day(&mut fleet, "web1");
    fleet.collected("web1", at(5), machine(95.0, 64.0));
    let first = sent(&mut fleet, &settings, 6).remove(0);
    let mailings = Mailings::of(&settings);
    let mut composed = || {
        fleet.at_work(&settings, 6, |store, job| {
            let open = store.open_episodes().unwrap();
            let line =
                Line { kind: Kind::Problem, severity: Severity::Critical, episode: &open[0], rule: None };
            let names = vec![(&open[0].id, 0)];
            let draft = Draft { receiver: OPS, lines: vec![line], facts: Vec::new(), names };
            let installation = store.installation().unwrap();
            let (letterhead, now) = (job.letterhead, job.now);
            let sender = Sender { from: job.from, installation: &installation, now, letterhead };
            let manner = Manner::of(job.settings, &mailings, OPS, letterhead.zone);
            let around = Surroundings::read(store, &open[0], &open, now);
            mail::message(&draft, sender, manner, &mut |_| around.clone()).unwrap()
        })
    };
    assert_eq!(composed(), composed());
    assert_eq!(composed().id, first.id, "it follows from the facts");
}

/// What no client may do to a mail.
#[test]
fn hostile_clients_change_no_mail_around_them() {
    let hostile = |number: usize| {
        let nasty =
            "\r\nBcc: victim@example.org\r\n\r\n\u{202e}\x1b[31m<script>\"'&</td>\r\n--=_alternative_";
        format!("/{number}{}{nasty}", "\u{1F4A9}".repeat(40))
    };
    let mut fleet = Fleet::new();
    fleet.evidence.top_cpu =
        vec![Process { pid: 1, name: hostile(0), uid: 0, cpu: Some(f64::NAN), memory: u64::MAX }; 5];
    let settings = settings(&client("web1", OPS));
    let mut samples: Vec<Sample> = (0..3000).map(|number| sample("disk", &hostile(number), 99.0)).collect();
    samples.push(Sample {
        metric: "custom:systemd_unit_failed".to_owned(),
        labels: Labels::one("unit", &hostile(0)),
        value: 1.0,
    });
    for minute in (-1440..=0).step_by(30) {
        fleet.collected("web1", at(minute), samples.iter().take(3).cloned().collect());
    }
    fleet.collected("web1", at(1), samples);
    let detail = format!("{}\n{}", hostile(1), hostile(2));
    fleet.failed("web1", 2, Outcome::Refused { detail: detail.clone() });
    fleet.failed("web1", 3, Outcome::Refused { detail });
    let mails = sent(&mut fleet, &settings, 4);
    assert_eq!(
        outline(&mails[0]),
        "multipart/alternative(text/plain, text/html)",
        "of 3000 no picture is left"
    );
    let text = dry_run::text(&mails[0]);
    assert!(text.contains("and 2"), "the rest is counted");
    assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    assert!(!dry_run::html(&mails[0]).unwrap().contains("<script"));
}

#[test]
fn times_are_in_the_receivers_zone() {
    let (mut fleet, india) = (fleet(), format!("<receiver mail=\"{OPS}\" time-zone=\"Asia/Kolkata\"/>"));
    fleet.collected("web1", at(0), machine(85.0, 64.0));
    let mails = sent(&mut fleet, &settings(&[india.as_str(), &client("web1", OPS)].concat()), 1);
    assert!(dry_run::text(&mails[0]).contains("Since     2026-07-28 07:30 +05:30"));
}
