//! How much mail each address wants.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Mailing, Settings};
use model::Rule;

/// After how long a reminder comes where nobody says otherwise: 12 hours.
const REPEAT_MS: i64 = 12 * 3_600_000;

/// How many mails an hour brings where nobody says otherwise.
const MAX_PER_HOUR: usize = 20;

/// What config.xml says of how much mail each address wants.
#[derive(Debug, Clone, Default)]
pub struct Mailings {
    /// By the address in lower case.
    receivers: BTreeMap<String, Mailing>,
    /// What `<mail>` says.
    of_all: Mailing,
}

impl Mailings {
    /// What `settings` say.
    pub fn of(settings: &Settings) -> Self {
        let receivers = settings.receivers.iter();
        Self {
            receivers: receivers.map(|one| (one.mail.to_ascii_lowercase(), one.mailing)).collect(),
            of_all: settings.mail.as_ref().map(|mail| mail.mailing).unwrap_or_default(),
        }
    }

    /// Milliseconds until a receiver is reminded of what a rule fires; [`i64::MAX`]: never.
    pub fn repeat_ms(&self, rule: &Rule, receiver: &str) -> i64 {
        let millis = |repeat: Duration| i64::try_from(repeat.as_millis()).unwrap_or(i64::MAX);
        let said = self.said(receiver, |mailing| mailing.repeat);
        rule.repeat_ms.or(said.map(millis)).unwrap_or(REPEAT_MS)
    }

    /// Whether a receiver's mails are plain text alone.
    pub fn text_only(&self, receiver: &str) -> bool {
        self.said(receiver, |mailing| mailing.text_only).unwrap_or(false)
    }

    /// How many mails a receiver gets in an hour, but for those that cannot wait.
    pub fn max_per_hour(&self, receiver: &str) -> usize {
        self.said(receiver, |mailing| mailing.max_per_hour).unwrap_or(MAX_PER_HOUR)
    }

    fn said<T>(&self, receiver: &str, what: impl Fn(&Mailing) -> Option<T>) -> Option<T> {
        let own = self.receivers.get(&receiver.to_ascii_lowercase());
        own.and_then(&what).or_else(|| what(&self.of_all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::disk_rule;

    #[test]
    fn rule_then_receiver_then_mail_then_default() {
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        let own = Mailing { repeat: Some(hours(2)), max_per_hour: Some(3), text_only: None };
        let other = Mailing { repeat: Some(hours(4)), max_per_hour: Some(5), text_only: None };
        let mut mailings = Mailings { receivers: [("a@x".to_owned(), own)].into(), of_all: other };
        let mut rule = disk_rule();
        let seen = |mailings: &Mailings, rule: &Rule, receiver| {
            (mailings.repeat_ms(rule, receiver) / 3_600_000, mailings.max_per_hour(receiver))
        };
        assert_eq!(seen(&mailings, &rule, "A@x"), (2, 3));
        assert_eq!(seen(&mailings, &rule, "b@x"), (4, 5));
        mailings.of_all = Mailing::default();
        assert_eq!(seen(&mailings, &rule, "b@x"), (12, 20));
        rule.repeat_ms = Some(3_600_000);
        assert_eq!(seen(&mailings, &rule, "a@x"), (1, 3));
        mailings.of_all.repeat = Some(config::NEVER);
        rule.repeat_ms = None;
        assert_eq!(mailings.repeat_ms(&rule, "b@x"), i64::MAX);
    }
}
