use model::alert::EndReason;
use model::{ClientName, EpisodeEnd, Labels};

use super::*;
use crate::fixtures::{T0, disk_rule, episode, fact, firing};
use crate::mailings::Mailings;

const OPS: &str = "ops@example.org";

fn telling(fact: Fact, refused: bool) -> Telling {
    Telling { fact, composed: Some(T0), refused }
}

/// What is made of `untold` an hour after the beginning, with mails to spare.
fn noticed<'a>(untold: &'a [(FactId, Fact)], background: Background<'a>) -> Notices<'a> {
    let mailings = Mailings::default();
    notify(untold, background, &Budget::new(&[], &mailings, background.now))
}

/// What OPS hears of one episode: the kind, `dropped`, or nothing at all.
fn heard(untold: &[Reason], told: &[Reason], refused: &[Reason]) -> String {
    let mut disk = episode("web1", "disk", Labels::one("mount", "/var"), Severity::Critical);
    if untold.contains(&Reason::Resolved) {
        disk.end = Some(EpisodeEnd { at: disk.last_at, why: EndReason::Recovered });
    }
    heard_of(&disk, untold, told, refused)
}

fn heard_of(of: &Episode, untold: &[Reason], told: &[Reason], refused: &[Reason]) -> String {
    let facts = |reasons: &[Reason]| reasons.iter().map(|&reason| fact(of, OPS, reason)).collect::<Vec<_>>();
    let untold: Vec<(FactId, Fact)> = (1..).zip(facts(untold)).collect();
    let told: Vec<Telling> = (facts(told).into_iter().map(|fact| telling(fact, false)))
        .chain(facts(refused).into_iter().map(|fact| telling(fact, true)))
        .collect();
    let episodes = BTreeMap::from([(of.id.clone(), of.clone())]);
    let rules = Rulebook::new([]);
    let (firing, now) = (BTreeMap::new(), T0.plus(3_600_000));
    let background = Background { episodes: &episodes, firing: &firing, told: &told, rules: &rules, now };
    let notices = noticed(&untold, background);
    let counted = notices.dropped.len() + notices.drafts.iter().map(|draft| draft.facts.len()).sum::<usize>();
    assert_eq!(counted, untold.len(), "every fact is either in one draft or dropped");
    match notices.drafts.as_slice() {
        [] if notices.dropped.is_empty() => "nothing".to_owned(),
        [] => "dropped".to_owned(),
        [draft] => format!("{:?}", draft.lines[0].kind),
        _ => panic!("more than one draft for one receiver"),
    }
}

#[test]
fn what_a_receiver_hears() {
    use Reason::{Escalated, First, Flapping, Reminder, Resolved, Steady, Worse};
    for (untold, told, refused, expected) in [
        (&[][..], &[][..], &[][..], "nothing"),
        (&[First], &[], &[], "Problem"),
        (&[First, Worse], &[], &[], "Problem"),
        (&[Worse], &[First], &[], "Worse"),
        (&[Worse], &[], &[], "Problem"),
        (&[Worse], &[], &[First], "Problem"),
        (&[First, Resolved], &[], &[], "Late"),
        (&[First, Worse, Resolved], &[], &[], "Late"),
        (&[Resolved], &[First], &[], "Recovered"),
        (&[Worse, Resolved], &[First], &[], "Recovered"),
        (&[Resolved], &[], &[First], "dropped"),
        (&[Worse, Resolved], &[], &[First], "dropped"),
        (&[Resolved], &[Worse], &[First], "Recovered"),
        (&[Resolved], &[], &[], "dropped"),
        (&[Flapping], &[First], &[], "Flapping"),
        (&[First, Flapping], &[], &[], "Flapping"),
        (&[Flapping, Resolved], &[], &[], "Late"),
        (&[Steady], &[First, Flapping], &[], "Steady"),
        (&[Flapping, Steady], &[First], &[], "Steady"),
        (&[Steady], &[], &[], "Problem"),
        (&[Steady, Resolved], &[Flapping], &[], "Recovered"),
        (&[Reminder], &[First], &[], "Reminder"),
        (&[Reminder, Worse], &[First], &[], "Worse"),
        (&[Reminder, Resolved], &[First], &[], "Recovered"),
        (&[Escalated], &[], &[], "Escalated"),
        (&[Escalated, Resolved], &[], &[], "dropped"),
        (&[Resolved], &[Escalated], &[], "Recovered"),
        (&[First, Escalated], &[], &[], "Problem"),
    ] {
        assert_eq!(heard(untold, told, refused), expected, "{untold:?} {told:?} {refused:?}");
    }
}

#[test]
fn what_still_fires_is_not_said_of_what_is_over() {
    let mut disk = episode("web1", "disk", Labels::one("mount", "/var"), Severity::Critical);
    disk.end = Some(EpisodeEnd { at: disk.last_at, why: EndReason::Recovered });
    assert_eq!(heard_of(&disk, &[Reason::Reminder], &[Reason::First], &[]), "dropped");
    assert_eq!(heard_of(&disk, &[Reason::Escalated], &[], &[]), "dropped");
    let mut reboot = episode("web1", "reboot", Labels::none(), Severity::Warning);
    reboot.end = disk.end;
    assert_eq!(heard_of(&reboot, &[Reason::First], &[], &[]), "Problem", "an event is over at once");
}

#[test]
fn an_end_in_a_window_waits_for_its_end() {
    let mut disk = episode("web1", "disk", Labels::one("mount", "/var"), Severity::Critical);
    disk.end = Some(EpisodeEnd { at: disk.last_at, why: EndReason::Recovered });
    let after = T0.plus(7_200_000);
    let end = Fact { after, ..fact(&disk, OPS, Reason::Resolved) };
    let untold = [(1, fact(&disk, OPS, Reason::First)), (2, end)];
    let episodes = BTreeMap::from([(disk.id.clone(), disk)]);
    let rules = Rulebook::new([]);
    let (firing, now) = (BTreeMap::new(), after.plus(-1));
    let background = Background { episodes: &episodes, firing: &firing, told: &[], rules: &rules, now };
    assert_eq!(noticed(&untold, background), Notices::default());
    assert_eq!(noticed(&untold, Background { now: after, ..background }).drafts[0].lines[0].kind, Kind::Late);
}

#[test]
fn beyond_the_budget_only_what_cannot_wait_is_told() {
    let mailings = Mailings::default();
    let now = T0.plus(3_600_000);
    let sent: Vec<_> = (0..20).map(|minute| (OPS.to_owned(), now.plus(-60_000 * minute))).collect();
    for (severity, reason, kept, passes) in [
        (Severity::Warning, Reason::First, 20, false),
        (Severity::Warning, Reason::First, 19, true),
        (Severity::Critical, Reason::First, 20, true),
        (Severity::Critical, Reason::Worse, 20, true),
        (Severity::Critical, Reason::Escalated, 20, true),
        (Severity::Critical, Reason::Reminder, 20, false),
        (Severity::Critical, Reason::Flapping, 20, false),
        (Severity::Critical, Reason::Resolved, 20, false),
    ] {
        let mut disk = episode("web1", "disk", Labels::one("mount", "/var"), severity);
        let resolved = reason == Reason::Resolved;
        disk.end = resolved.then_some(EpisodeEnd { at: disk.last_at, why: EndReason::Recovered });
        let told = [telling(fact(&disk, OPS, Reason::First), false)];
        let (untold, episodes) = ([(1, fact(&disk, OPS, reason))], BTreeMap::from([(disk.id.clone(), disk)]));
        let rules = Rulebook::new([]);
        let firing = BTreeMap::new();
        let background = Background { episodes: &episodes, firing: &firing, told: &told, rules: &rules, now };
        let notices = notify(&untold, background, &Budget::new(&sent[..kept], &mailings, now));
        let counts = (notices.drafts.len(), notices.postponed.len(), notices.dropped.len());
        assert_eq!(counts, if passes { (1, 0, 0) } else { (0, 1, 0) }, "{severity} {reason:?} {kept}");
    }
}

#[test]
fn one_draft_per_receiver_worst_client_first() {
    let mount = |mount| Labels::one("mount", mount);
    let episodes = [
        episode("db2", "disk", mount("/"), Severity::Warning),
        episode("web1", "disk", mount("/var"), Severity::Warning),
        episode("web1", "disk", mount("/"), Severity::Critical),
        Episode {
            end: Some(EpisodeEnd { at: T0, why: EndReason::Recovered }),
            ..episode("app3", "disk", mount("/"), Severity::Warning)
        },
    ];
    let mut untold: Vec<Fact> = episodes.iter().map(|episode| fact(episode, OPS, Reason::First)).collect();
    untold.push(fact(&episodes[3], OPS, Reason::Resolved));
    untold.push(fact(&episodes[0], "dev@example.org", Reason::First));
    let untold: Vec<(FactId, Fact)> = (1..).zip(untold).collect();
    let episodes = episodes.map(|episode| (episode.id.clone(), episode)).into();
    let rules = Rulebook::new([]);
    let (firing, now) = (BTreeMap::new(), T0.plus(3_600_000));
    let background = Background { episodes: &episodes, firing: &firing, told: &[], rules: &rules, now };
    let notices = noticed(&untold, background);
    let line = |line: &Line| {
        let episode = line.episode;
        let object = episode.key.labels.object();
        format!("{} {:?} {} {object}", episode.client_name, line.kind, line.severity)
    };
    let shown: Vec<_> = notices
        .drafts
        .iter()
        .map(|draft| (draft.receiver, draft.lines.iter().map(line).collect::<Vec<_>>().join(", ")))
        .collect();
    let of_ops =
        "web1 Problem critical /, web1 Problem warning /var, db2 Problem warning /, app3 Late warning /";
    assert_eq!(shown, [("dev@example.org", "db2 Problem warning /".to_owned()), (OPS, of_ops.to_owned())]);
}

#[test]
fn a_problem_is_told_at_its_present_severity() {
    let mut disk = episode("web1", "disk", Labels::one("mount", "/"), Severity::Critical);
    disk.last_value = 92.0;
    // By the free space, say.
    let firing = Firing { severity: Severity::Warning, ..firing(&disk) };
    let firing = BTreeMap::from([(disk.id.clone(), firing)]);
    let untold = [(1, fact(&disk, OPS, Reason::First))];
    let episodes = BTreeMap::from([(disk.id.clone(), disk)]);
    let (name, rules): (ClientName, _) = ("web1".parse().unwrap(), [disk_rule()]);
    let rules = Rulebook::new([(&name, rules.as_slice())]);
    let now = T0.plus(3_600_000);
    let background = Background { episodes: &episodes, firing: &firing, told: &[], rules: &rules, now };
    assert_eq!(noticed(&untold, background).drafts[0].lines[0].severity, Severity::Warning);
}
