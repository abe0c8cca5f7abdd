use config::Settings;
use model::{EpisodeEnd, Labels, Severity};

use super::*;
use crate::fixtures::{T0, episode, fact, firing};

const OPS: &str = "ops@example.org";
const BOSS: &str = "boss@example.org";

fn settings(content: &str) -> Settings {
    let environment = config::Environment { user: "ops".to_owned(), ..config::Environment::default() };
    let text = format!("<config><storage url=\"sqlite:///nonexistent/fleet.db\"/>\n{content}</config>");
    config::parse(&text, std::path::Path::new("/etc/config.xml"), &environment)
        .unwrap_or_else(|faults| panic!("{faults}"))
}

/// web1 behind gate, with a rule over disks that has these attributes.
fn rule_with(attributes: &str) -> Settings {
    settings(&format!(
        "<mail from=\"f@x.org\" transport=\"directory\" path=\"/tmp/out\"/>
         <window name=\"night\" daily=\"00:00-06:00\" time-zone=\"UTC\"/>
         <receiver mail=\"boss@example.org\" min-severity=\"critical\"/>
         <client name=\"gate\" ip=\"10.0.0.1\" connection=\"local\" mail=\"{OPS}\"/>
         <client name=\"web1\" ip=\"10.0.0.2\" parent=\"gate\" mail=\"{OPS}\">
           <alert type=\"disk\" warning=\"80%\" critical=\"90%\" {attributes}/>
         </client>"
    ))
}

fn hours(hours: i64) -> Timestamp {
    T0.plus(hours * HOUR_MS)
}

/// One open episode of web1's disk, of which OPS was told at [`T0`].
struct Case {
    settings: Settings,
    open: Vec<Episode>,
    told: Vec<Telling>,
    untold: Vec<(FactId, Fact)>,
    acknowledgements: Vec<Acknowledgement>,
    silences: Vec<Silence>,
    firing: BTreeMap<EpisodeId, Firing>,
}

impl Case {
    fn new(attributes: &str) -> Self {
        let settings = rule_with(attributes);
        let mut disk = episode("web1", "disk", Labels::one("mount", "/"), Severity::Critical);
        let rule = settings.clients[1].rules.iter().find(|rule| rule.metric == "disk").unwrap();
        disk.key.rule = rule.id.clone();
        let mut case = Self {
            settings,
            told: Vec::new(),
            open: vec![disk.clone()],
            untold: Vec::new(),
            acknowledgements: Vec::new(),
            silences: Vec::new(),
            firing: BTreeMap::from([(disk.id.clone(), firing(&disk))]),
        };
        case.tell(fact(&disk, OPS, Reason::First), 0);
        case
    }

    fn tell(&mut self, fact: Fact, at: i64) {
        self.told.push(Telling { fact, composed: Some(hours(at)), refused: false });
    }

    fn acknowledge(&mut self, from: i64, until: Option<i64>) {
        let (episode, why) = (self.open[0].id.clone(), String::new());
        self.acknowledgements =
            vec![Acknowledgement { episode, from: hours(from), until: until.map(hours), why }];
    }

    /// How the disk's alert stands.
    fn firing(&mut self) -> &mut Firing {
        self.firing.get_mut(&self.open[0].id).unwrap()
    }

    fn due(&self, now: Timestamp) -> Vec<Fact> {
        let (rules, mailings) = (Rulebook::of(&self.settings), Mailings::of(&self.settings));
        let Self { open, told, untold, acknowledgements, silences, firing, .. } = self;
        Standing {
            open,
            firing,
            told,
            untold,
            acknowledgements,
            silences,
            rules: &rules,
            mailings: &mailings,
            now,
        }
        .due()
    }

    /// Who is told what after so many hours.
    fn at(&self, after: i64) -> String {
        let facts = self.due(hours(after));
        let shown = facts.iter().map(|fact| {
            let name = fact.receiver.split('@').next().unwrap_or_default();
            format!("{name} {:?} {}", fact.reason, fact.ordinal)
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn a_reminder_comes_after_the_time_that_was_asked_for() {
    for (attributes, before, at) in [("", 11, 12), ("repeat=\"2h\"", 1, 2)] {
        let case = Case::new(attributes);
        assert_eq!(case.at(before), "", "{attributes}");
        assert_eq!(case.at(at), "ops Reminder 1000000", "{attributes}");
    }
    assert_eq!(Case::new("repeat=\"never\"").at(1_000_000), "");
}

#[test]
fn a_reminder_is_due_once_and_then_again() {
    let mut case = Case::new("");
    let reminder = case.due(hours(12)).remove(0);
    assert_eq!((reminder.severity, reminder.at, reminder.after), (Severity::Critical, hours(12), hours(12)));
    case.untold.push((7, reminder.clone()));
    assert_eq!(case.at(13), "", "it waits to be told");
    case.untold.clear();
    case.tell(reminder, 14);
    assert_eq!(case.at(25), "");
    assert_eq!(case.at(26), "ops Reminder 1000001");
}

#[test]
fn other_news_is_a_reminder_too_and_a_refused_mail_is_none() {
    let mut case = Case::new("");
    let worse = fact(&case.open[0], OPS, Reason::Worse);
    case.untold.push((7, worse.clone()));
    assert_eq!(case.at(12), "", "the news is told with it");
    case.untold.clear();
    case.tell(worse, 6);
    assert_eq!(case.at(17), "");
    case.told.iter_mut().for_each(|telling| telling.refused = true);
    assert_eq!(case.at(99), "", "it never heard of it");
    let mut dropped = Case::new("");
    dropped.told[0].composed = None;
    assert_eq!(dropped.at(99), "");
}

#[test]
fn nobody_is_reminded_of_what_holds_still() {
    let mut case = Case::new("");
    case.open[0].metric = "oom".to_owned();
    assert_eq!(case.at(12), "");
    // T0 is 02:00 UTC.
    let case = Case::new("mute=\"night\"");
    assert_eq!((case.at(25).as_str(), case.at(28).as_str()), ("", "ops Reminder 1000000"));
    let mut case = Case::new("");
    let silence = |target: &str, metric: Option<&str>| Silence {
        id: 1,
        target: target.to_owned(),
        metric: metric.map(str::to_owned),
        from: hours(1),
        until: hours(20),
        why: String::new(),
    };
    case.silences = vec![silence("web1", None)];
    assert_eq!((case.at(19).as_str(), case.at(20).as_str()), ("", "ops Reminder 1000000"));
    case.silences = vec![silence("web1", Some("cpu")), silence("gate", None)];
    assert_eq!(case.at(19), "ops Reminder 1000000");
}

#[test]
fn what_flaps_is_told_again_too() {
    let mut case = Case::new("");
    case.firing().flapping = true;
    assert_eq!((case.at(11).as_str(), case.at(12).as_str()), ("", "ops Reminder 1000000"));
}

#[test]
fn whom_the_rule_names_only_now_hears_of_it_once() {
    let mut case = Case::new("");
    case.told[0].fact.receiver = "old@example.org".to_owned();
    assert_eq!(case.at(0), "ops First 1000000");
    case.firing().flapping = true;
    assert_eq!(case.at(0), "ops Flapping 1000000");
    case.firing().told = None;
    assert_eq!(case.at(0), "", "the news is held back");
    case.firing().told = Some(Severity::Critical);
    let first = case.due(T0).remove(0);
    case.untold.push((7, first));
    assert_eq!(case.at(1), "");
}

#[test]
fn what_nobody_can_see_reminds_nobody() {
    let other = |client: &str, uid, metric: &str| {
        let mut other = episode(client, metric, Labels::none(), Severity::Critical);
        other.key.client = uid;
        other
    };
    let mut case = Case::new("");
    let own = case.open[0].key.client;
    for (episode, expected) in [
        (other("web1", own, UNREACHABLE), ""),
        (other("gate", ClientUid([2; 16]), UNREACHABLE), ""),
        (other("", ClientUid::FLEET, ISOLATED), ""),
        (other("", ClientUid::FLEET, COLLECTOR_STALE), ""),
        (other("db2", ClientUid([3; 16]), UNREACHABLE), "ops Reminder 1000000"),
        (other("web1", own, "cpu"), "ops Reminder 1000000"),
    ] {
        case.open.truncate(1);
        case.open.push(episode);
        assert_eq!(case.at(12), expected, "{:?}", case.open[1].id);
    }
    // But of that itself.
    let rules: Vec<_> = case.settings.clients[1].rules.iter().map(|rule| (&rule.metric, &rule.id)).collect();
    let id = rules.iter().find(|(metric, _)| *metric == UNREACHABLE).unwrap().1.clone();
    let mut down = other("web1", own, UNREACHABLE);
    down.key.rule = id;
    case.told = vec![Telling { fact: fact(&down, OPS, Reason::First), composed: Some(T0), refused: false }];
    case.open = vec![down];
    assert_eq!(case.at(12), "ops Reminder 1000000");
}

#[test]
fn who_took_it_on_is_left_alone_until_that_expires() {
    let mut case = Case::new("escalate-after=\"1h\" escalate-to=\"boss@example.org\"");
    case.acknowledge(0, None);
    assert_eq!(case.at(99), "");
    case.acknowledge(0, Some(3));
    assert_eq!(case.at(2), "");
    assert_eq!(case.at(3), "boss Escalated 1000000, ops Reminder 1000000", "at once");
    case.tell(fact(&case.open[0], OPS, Reason::Reminder), 3);
    case.tell(fact(&case.open[0], BOSS, Reason::Escalated), 3);
    assert_eq!(case.at(4), "");
}

#[test]
fn others_are_told_once_of_what_nobody_took_on() {
    let mut case = Case::new("escalate-after=\"2h\" escalate-to=\"boss@example.org, ops@example.org\"");
    assert_eq!(case.at(1), "");
    assert_eq!(case.at(2), "boss Escalated 1000000", "ops knows of it");
    let escalated = case.due(hours(2)).remove(0);
    case.untold.push((7, escalated.clone()));
    assert_eq!(case.at(3), "");
    case.untold.clear();
    case.tell(escalated, 3);
    assert_eq!(case.at(4), "");
    assert_eq!(case.at(12), "ops Reminder 1000000");
    assert_eq!(case.at(15), "boss Reminder 1000001, ops Reminder 1000000", "they are reminded as well");
    case.firing().severity = Severity::Warning;
    assert_eq!(case.at(15), "ops Reminder 1000000", "but not of a mere warning, where they do not want that");
}

#[test]
fn the_first_mail_counts_even_where_it_was_refused() {
    let mut case = Case::new("escalate-after=\"2h\" escalate-to=\"boss@example.org\"");
    case.told[0].refused = true;
    assert_eq!(case.at(2), "boss Escalated 1000000");
    let untold = case.told.remove(0).fact;
    case.untold.push((7, untold));
    assert_eq!(case.at(99), "", "nothing was sent yet");
}

#[test]
fn what_ended_or_lost_its_rule_reminds_nobody() {
    let mut case = Case::new("");
    case.open[0].client_name = "gone".to_owned();
    assert_eq!(case.at(99), "");
    let mut case = Case::new("");
    let end = EpisodeEnd { at: T0, why: model::alert::EndReason::Recovered };
    let ended = Episode { end: Some(end), ..case.open.remove(0) };
    case.tell(fact(&ended, OPS, Reason::First), 1);
    assert_eq!(case.at(99), "");
}

#[test]
fn a_clock_that_was_wrong_silences_nobody_for_ever() {
    let mut case = Case::new("");
    case.told[0].composed = Some(hours(9));
    assert_eq!(case.at(8), "", "a step back of an hour");
    case.told[0].composed = Some(hours(24 * 365));
    assert_eq!(case.at(8), "ops Reminder 1000000");
}

#[test]
fn an_hour_brings_so_many_mails() {
    let mailings = Mailings::of(&settings(
        "<mail from=\"f@x.org\" transport=\"directory\" path=\"/tmp/out\" max-per-hour=\"2\"/>
         <receiver mail=\"Boss@example.org\" max-per-hour=\"1\"/>",
    ));
    let now = hours(5);
    let sent = |receiver: &str, minutes_ago: i64| (receiver.to_owned(), now.plus(-60_000 * minutes_ago));
    let sent = [sent(OPS, 60), sent(OPS, 59), sent(OPS, -1), sent(BOSS, 0)];
    let budget = Budget::new(&sent, &mailings, now);
    assert!(!budget.is_spent(OPS) && budget.is_spent(BOSS) && !budget.is_spent("dev@example.org"));
    let budget = Budget::new(&sent, &mailings, now.plus(60_000));
    assert!(!budget.is_spent(OPS), "one fell out of the hour, another came");
}
