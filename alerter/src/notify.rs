//! Facts that nobody was told become drafts: one message per receiver and run, worst first.
//!
//! Pure: no I/O, no clock, no log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use model::{Episode, EpisodeId, Fact, FactId, Reason, Rule, Severity};

use crate::rulebook::Rulebook;

/// What a line of a message says of an episode. In order of urgency within one severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It fires.
    Problem,
    /// It was told, and is worse now.
    Worse,
    /// It was told, and is over.
    Recovered,
    /// It was over before anybody was told: problem and end at once.
    Late,
}

/// One episode in a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// What is said.
    pub kind: Kind,
    /// How bad it is now; of what is over, how bad it was at worst.
    pub severity: Severity,
    /// The episode.
    pub episode: &'a Episode,
    /// The rule, where it is still configured.
    pub rule: Option<&'a Rule>,
}

impl Line<'_> {
    /// Smaller is worse: what fires by severity, then what is over.
    fn urgency(&self) -> (bool, Reverse<Severity>, Kind) {
        (matches!(self.kind, Kind::Recovered | Kind::Late), Reverse(self.severity), self.kind)
    }
}

/// A message for one receiver, not composed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft<'a> {
    /// The address.
    pub receiver: &'a str,
    /// What it says: grouped by client, the client with the worst news first.
    pub lines: Vec<Line<'a>>,
    /// The facts that it tells, by the store's ids.
    pub facts: Vec<FactId>,
    /// The same facts by name (episode and ordinal), sorted: what the Message-ID is made of.
    pub names: Vec<(&'a EpisodeId, u32)>,
}

/// What is to be done about the untold facts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notices<'a> {
    /// The messages to send.
    pub drafts: Vec<Draft<'a>>,
    /// Facts that nobody wants to hear of: the end of a problem that its receiver has refused to hear of.
    pub dropped: Vec<FactId>,
}

/// What is known of the episodes that the untold facts are about.
#[derive(Debug, Clone, Copy)]
pub struct Background<'a> {
    /// The episodes.
    pub episodes: &'a BTreeMap<EpisodeId, Episode>,
    /// Facts that were told or are on their way.
    pub told: &'a [Fact],
    /// Those of them whose message was refused for good.
    pub refused: &'a [Fact],
    /// The rules.
    pub rules: &'a Rulebook<'a>,
}

/// Makes drafts of `untold`.
pub fn notify<'a>(untold: &'a [(FactId, Fact)], background: Background<'a>) -> Notices<'a> {
    let mut news: BTreeMap<(&str, &EpisodeId), Vec<&'a (FactId, Fact)>> = BTreeMap::new();
    for numbered in untold {
        let fact = &numbered.1;
        news.entry((&fact.receiver, &fact.episode)).or_default().push(numbered);
    }
    let history = History::new(background);
    let mut notices = Notices::default();
    for ((receiver, episode), facts) in news {
        let ids = facts.iter().map(|(id, _)| *id);
        let Some(line) = line(background, &history, receiver, episode, &facts) else {
            notices.dropped.extend(ids);
            continue;
        };
        // The map is sorted by receiver, so a receiver's draft is the last one or a new one.
        if notices.drafts.last().is_none_or(|draft| draft.receiver != receiver) {
            notices.drafts.push(Draft { receiver, lines: Vec::new(), facts: Vec::new(), names: Vec::new() });
        }
        if let Some(draft) = notices.drafts.last_mut() {
            draft.lines.push(line);
            draft.facts.extend(ids);
            draft.names.extend(facts.iter().map(|(_, fact)| (&fact.episode, fact.ordinal)));
        }
    }
    for draft in &mut notices.drafts {
        draft.names.sort_unstable();
        arrange(&mut draft.lines);
    }
    notices
}

/// What one receiver is told of one episode; `None`: nothing.
fn line<'a>(
    background: Background<'a>,
    history: &History<'a>,
    receiver: &'a str,
    episode: &'a EpisodeId,
    facts: &[&(FactId, Fact)],
) -> Option<Line<'a>> {
    let episode = background.episodes.get(episode)?;
    let is_new = |reason| facts.iter().any(|(_, fact)| fact.reason == reason);
    let (has_problem, knows) =
        (is_new(Reason::First) || is_new(Reason::Worse), history.knows(receiver, episode));
    let kind = match (is_new(Reason::Resolved), knows) {
        (true, true) => Kind::Recovered,
        (true, false) if !has_problem || history.refuses(receiver, episode) => return None,
        (true, false) => Kind::Late,
        (false, true) => Kind::Worse,
        (false, false) => Kind::Problem,
    };
    let rule = background.rules.of_episode(episode);
    let now = rule.and_then(|rule| rule.threshold.severity(episode.last_value));
    let severity = match kind {
        Kind::Problem | Kind::Worse => now.unwrap_or(episode.severity),
        Kind::Recovered | Kind::Late => episode.severity,
    };
    Some(Line { kind, severity, episode, rule })
}

/// Who was told of which problem.
struct History<'a> {
    told: BTreeSet<(&'a str, &'a EpisodeId)>,
    refused: BTreeSet<(&'a str, &'a EpisodeId)>,
}

impl<'a> History<'a> {
    fn new(background: Background<'a>) -> Self {
        let names = |facts: &mut dyn Iterator<Item = &'a Fact>| {
            facts.map(|fact| (fact.receiver.as_str(), &fact.episode)).collect::<BTreeSet<_>>()
        };
        let delivered = |fact: &&Fact| fact.reason != Reason::Resolved && !background.refused.contains(fact);
        Self {
            told: names(&mut background.told.iter().filter(delivered)),
            refused: names(&mut background.refused.iter()),
        }
    }

    fn knows(&self, receiver: &'a str, episode: &'a Episode) -> bool {
        self.told.contains(&(receiver, &episode.id))
    }

    fn refuses(&self, receiver: &'a str, episode: &'a Episode) -> bool {
        self.refused.contains(&(receiver, &episode.id))
    }
}

/// Groups by client; the client with the worst line first, and within a client the worst line first.
fn arrange(lines: &mut [Line]) {
    let mut worst = BTreeMap::new();
    for line in lines.iter() {
        let client = line.episode.client_name.clone();
        let urgency = worst.entry(client).or_insert(line.urgency());
        *urgency = line.urgency().min(*urgency);
    }
    lines.sort_by_cached_key(|line| {
        let episode = line.episode;
        let client = episode.client_name.clone();
        (
            worst.get(&client).copied(),
            client,
            line.urgency(),
            episode.metric.clone(),
            episode.key.labels.clone(),
            episode.begin,
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{disk_rule, episode, fact};
    use model::alert::EndReason;
    use model::{ClientName, EpisodeEnd, Labels};

    const OPS: &str = "ops@example.org";

    /// What OPS hears of one episode: the kind, `dropped`, or nothing at all.
    fn heard(untold: &[Reason], told: &[Reason], refused: &[Reason]) -> String {
        let mut disk = episode("web1", "disk", Labels::one("mount", "/var"), Severity::Critical);
        if untold.contains(&Reason::Resolved) {
            disk.end = Some(EpisodeEnd { at: disk.last_at, why: EndReason::Recovered });
        }
        let facts =
            |reasons: &[Reason]| reasons.iter().map(|&reason| fact(&disk, OPS, reason)).collect::<Vec<_>>();
        let untold: Vec<(FactId, Fact)> = (1..).zip(facts(untold)).collect();
        let refused = facts(refused);
        let told = [facts(told), refused.clone()].concat();
        let episodes = BTreeMap::from([(disk.id.clone(), disk.clone())]);
        let rules = Rulebook::new([]);
        let background = Background { episodes: &episodes, told: &told, refused: &refused, rules: &rules };
        let notices = notify(&untold, background);
        let counted =
            notices.dropped.len() + notices.drafts.iter().map(|draft| draft.facts.len()).sum::<usize>();
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
        use Reason::{First, Resolved, Worse};
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
        ] {
            assert_eq!(heard(untold, told, refused), expected, "{untold:?} {told:?} {refused:?}");
        }
    }

    #[test]
    fn one_draft_per_receiver_worst_client_first() {
        let mount = |mount| Labels::one("mount", mount);
        let episodes = [
            episode("db2", "disk", mount("/"), Severity::Warning),
            episode("web1", "disk", mount("/var"), Severity::Warning),
            episode("web1", "disk", mount("/"), Severity::Critical),
            episode("app3", "disk", mount("/"), Severity::Warning),
        ];
        let mut untold: Vec<Fact> =
            episodes.iter().map(|episode| fact(episode, OPS, Reason::First)).collect();
        untold.push(fact(&episodes[3], OPS, Reason::Resolved));
        untold.push(fact(&episodes[0], "dev@example.org", Reason::First));
        let untold: Vec<(FactId, Fact)> = (1..).zip(untold).collect();
        let episodes = episodes.map(|episode| (episode.id.clone(), episode)).into();
        let rules = Rulebook::new([]);
        let background = Background { episodes: &episodes, told: &[], refused: &[], rules: &rules };
        let notices = notify(&untold, background);
        let shown: Vec<_> = notices
            .drafts
            .iter()
            .map(|draft| {
                let line = |line: &Line| {
                    let episode = line.episode;
                    format!(
                        "{} {:?} {} {}",
                        episode.client_name,
                        line.kind,
                        line.severity,
                        episode.key.labels.object()
                    )
                };
                (draft.receiver, draft.lines.iter().map(line).collect::<Vec<_>>().join(", "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("dev@example.org", "db2 Problem warning /".to_owned()),
                (
                    OPS,
                    "web1 Problem critical /, web1 Problem warning /var, db2 Problem warning /, app3 Late warning /"
                        .to_owned()
                ),
            ]
        );
    }

    #[test]
    fn a_problem_is_told_at_its_present_severity() {
        let mut disk = episode("web1", "disk", Labels::one("mount", "/"), Severity::Critical);
        disk.last_value = 85.0;
        let untold = [(1, fact(&disk, OPS, Reason::First))];
        let episodes = BTreeMap::from([(disk.id.clone(), disk)]);
        let (name, rules): (ClientName, _) = ("web1".parse().unwrap(), [disk_rule()]);
        let rules = Rulebook::new([(&name, rules.as_slice())]);
        let background = Background { episodes: &episodes, told: &[], refused: &[], rules: &rules };
        assert_eq!(notify(&untold, background).drafts[0].lines[0].severity, Severity::Warning);
    }
}
