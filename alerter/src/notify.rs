//! Facts that nobody was told become drafts: one message per receiver and run, worst first.
//!
//! Pure: no I/O, no clock, no log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use model::alert::EndReason;
use model::rule::is_event;
use model::{Episode, EpisodeId, Fact, FactId, Firing, Reason, Rule, Severity, Timestamp};
use storage::Telling;

use crate::attention::Budget;
use crate::rulebook::Rulebook;

/// What a line of a message says of an episode. In order of urgency within one severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It fires.
    Problem,
    /// It was told, and is worse now.
    Worse,
    /// It still fires, and nobody took it on: told to others.
    Escalated,
    /// It fires and is over again and again; until that ends, reminders alone tell of it.
    Flapping,
    /// It does not change so often any more, and fires.
    Steady,
    /// It was told, and still fires.
    Reminder,
    /// It was told, and is over.
    Recovered,
    /// It was told, and is not looked at any more: its rule was edited or is gone, or nobody reports it. Nothing says that
    /// it is well.
    Closed,
    /// It was over before anybody was told: problem and end at once.
    Late,
}

impl Kind {
    /// Whether it tells of what is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Recovered | Self::Closed | Self::Late)
    }

    /// Whether a critical of it is told at once, however many mails there were.
    fn cannot_wait(self) -> bool {
        matches!(self, Self::Problem | Self::Worse | Self::Escalated)
    }
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
        (self.kind.is_over(), Reverse(self.severity), self.kind)
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

impl Draft<'_> {
    fn cannot_wait(&self) -> bool {
        self.lines.iter().any(|line| line.severity == Severity::Critical && line.kind.cannot_wait())
    }
}

/// What is to be done about the untold facts. Those that it does not name wait.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Notices<'a> {
    /// The messages to send.
    pub drafts: Vec<Draft<'a>>,
    /// Messages that wait: their receivers have had as many within the last hour as they want.
    pub postponed: Vec<Draft<'a>>,
    /// Facts that nobody wants to hear of: the end of a problem that its receiver never heard of or refused to hear of,
    /// and that something still fires which is over.
    pub dropped: Vec<FactId>,
}

/// What is known of the episodes that the untold facts are about.
#[derive(Debug, Clone, Copy)]
pub struct Background<'a> {
    /// The episodes.
    pub episodes: &'a BTreeMap<EpisodeId, Episode>,
    /// How the alerts stand of what fires.
    pub firing: &'a BTreeMap<EpisodeId, Firing>,
    /// What was told of them or is on its way.
    pub told: &'a [Telling],
    /// The rules.
    pub rules: &'a Rulebook<'a>,
    /// When the run began.
    pub now: Timestamp,
}

/// Makes drafts of `untold`. What is not to be told yet ([`Fact::after`]) waits, and so does all else of its episode: its
/// end says how it stands.
pub fn notify<'a>(untold: &'a [(FactId, Fact)], background: Background<'a>, budget: &Budget) -> Notices<'a> {
    let mut news: BTreeMap<(&str, &EpisodeId), Vec<&'a (FactId, Fact)>> = BTreeMap::new();
    for numbered in untold {
        let fact = &numbered.1;
        news.entry((&fact.receiver, &fact.episode)).or_default().push(numbered);
    }
    news.retain(|_, facts| facts.iter().all(|(_, fact)| fact.after <= background.now));
    let history = History::new(background);
    let mut drafts: BTreeMap<&str, Draft> = BTreeMap::new();
    let mut notices = Notices::default();
    for ((receiver, episode), facts) in news {
        let ids = facts.iter().map(|(id, _)| *id);
        let Some(line) = line(background, &history, receiver, episode, &facts) else {
            notices.dropped.extend(ids);
            continue;
        };
        let empty = || Draft { receiver, lines: Vec::new(), facts: Vec::new(), names: Vec::new() };
        let draft = drafts.entry(receiver).or_insert_with(empty);
        draft.lines.push(line);
        draft.facts.extend(ids);
        draft.names.extend(facts.iter().map(|(_, fact)| (&fact.episode, fact.ordinal)));
    }
    for mut draft in drafts.into_values() {
        draft.names.sort_unstable();
        arrange(&mut draft.lines);
        let waits = budget.is_spent(draft.receiver) && !draft.cannot_wait();
        if waits { &mut notices.postponed } else { &mut notices.drafts }.push(draft);
    }
    notices
}

/// What one receiver is told of one episode; `None`: nothing.
fn line<'a>(
    background: Background<'a>,
    history: &History<'a>,
    receiver: &'a str,
    episode: &'a EpisodeId,
    facts: &[&'a (FactId, Fact)],
) -> Option<Line<'a>> {
    let episode = background.episodes.get(episode)?;
    let reasons: Vec<Reason> = facts.iter().map(|(_, fact)| fact.reason).collect();
    let of_its_own =
        |reason: &Reason| !matches!(reason, Reason::Reminder | Reason::Escalated | Reason::Resolved);
    let has_problem = reasons.iter().any(of_its_own);
    let (knows, refuses) = (history.knows(receiver, episode), history.refuses(receiver, episode));
    // The end of an event is not told, so that it can be over and news.
    let is_over = episode.end.is_some() && !is_event(&episode.metric);
    let firing = background.firing.get(&episode.id);
    let kind = if is_over || reasons.contains(&Reason::Resolved) {
        match (reasons.contains(&Reason::Resolved) && knows, has_problem && !knows && !refuses) {
            (true, _) if episode.end.is_some_and(|end| end.why != EndReason::Recovered) => Kind::Closed,
            (true, _) => Kind::Recovered,
            (_, true) => Kind::Late,
            _ => return None,
        }
    } else {
        let flaps = firing.is_some_and(|firing| firing.flapping);
        match self::firing(&reasons, knows) {
            Kind::Reminder if flaps => Kind::Flapping,
            kind => kind,
        }
    };
    let rule = background.rules.of_episode(episode);
    let firing = firing.filter(|_| !kind.is_over());
    let severity = firing.map_or(episode.severity, |firing| firing.severity);
    Some(Line { kind, severity, episode, rule })
}

/// What is said of what fires.
fn firing(reasons: &[Reason], knows: bool) -> Kind {
    let latest = |wanted: Reason| reasons.iter().rposition(|reason| *reason == wanted);
    let has = |reason| reasons.contains(&reason);
    if latest(Reason::Flapping) > latest(Reason::Steady) {
        Kind::Flapping
    } else if has(Reason::First) || has(Reason::Worse) {
        if knows { Kind::Worse } else { Kind::Problem }
    } else if has(Reason::Steady) {
        if knows { Kind::Steady } else { Kind::Problem }
    } else if has(Reason::Escalated) {
        Kind::Escalated
    } else {
        Kind::Reminder
    }
}

/// Who was told of which problem.
struct History<'a> {
    told: BTreeSet<(&'a str, &'a EpisodeId)>,
    refused: BTreeSet<(&'a str, &'a EpisodeId)>,
}

impl<'a> History<'a> {
    fn new(background: Background<'a>) -> Self {
        let names = |wanted: fn(&Telling) -> bool| {
            let wanted = background.told.iter().filter(|telling| wanted(telling));
            wanted.map(|telling| (telling.fact.receiver.as_str(), &telling.fact.episode)).collect()
        };
        let tells = |telling: &Telling| {
            telling.fact.reason != Reason::Resolved && telling.composed.is_some() && !telling.refused
        };
        Self { told: names(tells), refused: names(|telling| telling.refused) }
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
mod tests;
