//! What the unit tests talk about: one rule, one client, one episode.

use model::{
    AlertKey, ClientUid, Episode, EpisodeId, Evidence, Fact, Firing, Hold, Labels, Operator, Process, Reason,
    Rule, RuleId, Severity, Threshold, Timestamp,
};

/// 2026-07-28 02:00:00 UTC.
pub(crate) const T0: Timestamp = Timestamp(1_785_204_000_000);

pub(crate) fn rule(metric: &str, warning: Option<f64>, critical: Option<f64>) -> Rule {
    Rule {
        id: RuleId(metric.to_owned()),
        metric: metric.to_owned(),
        matches: Vec::new(),
        excludes: Vec::new(),
        threshold: Threshold { operator: Operator::AtLeast, warning, critical },
        clear: None,
        floor: None,
        hold: Hold::AT_ONCE,
        aggregate: None,
        fit_ms: None,
        keep_firing_ms: 0,
        repeat_ms: None,
        escalation: None,
        mute: None,
        receivers: vec!["ops@example.org".to_owned()],
        note: None,
        source: "config.xml:12".to_owned(),
        text: format!("<alert type=\"{metric}\" warning=\"80%\" critical=\"90%\"/>"),
    }
}

pub(crate) fn disk_rule() -> Rule {
    rule("disk", Some(80.0), Some(90.0))
}

pub(crate) fn episode(client: &str, metric: &str, labels: Labels, severity: Severity) -> Episode {
    let key = AlertKey { client: ClientUid([1; 16]), rule: RuleId(metric.to_owned()), labels };
    Episode {
        id: EpisodeId(format!("{client}-{metric}-{}", key.labels.object())),
        key,
        client_name: client.to_owned(),
        metric: metric.to_owned(),
        begin: T0,
        fired: T0,
        severity,
        first_value: 91.0,
        limit: if severity == Severity::Critical { 90.0 } else { 80.0 },
        peak: 97.0,
        peak_at: T0.plus(600_000),
        last_value: 93.0,
        last_at: T0.plus(1_200_000),
        detail: String::new(),
        held: String::new(),
        evidence: Evidence {
            top_cpu: vec![process(812, "postgres", Some(180.5), 2 << 30)],
            top_memory: vec![
                process(812, "postgres", Some(180.5), 2 << 30),
                process(31, "backup", None, 300 << 20),
            ],
        },
        end: None,
    }
}

/// How the alert of an open episode stands that people were told of.
pub(crate) fn firing(episode: &Episode) -> Firing {
    Firing {
        since: episode.begin,
        severity: episode.severity,
        told: Some(episode.severity),
        episode: episode.id.clone(),
        fine_since: None,
        flapping: false,
        told_flapping: false,
        news: 1,
    }
}

fn process(pid: u32, name: &str, cpu: Option<f64>, memory: u64) -> Process {
    Process { pid, name: name.to_owned(), uid: 1000, cpu, memory }
}

pub(crate) fn fact(episode: &Episode, receiver: &str, reason: Reason) -> Fact {
    let ordinal = match reason {
        Reason::First => 0,
        Reason::Worse => 1,
        _ => 2,
    };
    Fact {
        episode: episode.id.clone(),
        receiver: receiver.to_owned(),
        ordinal,
        reason,
        severity: episode.severity,
        at: episode.fired,
        after: episode.fired,
    }
}
