//! What tells an edited rule from what it was.

use crate::{Aggregate, Hold, Rule};

impl Rule {
    /// Tells the condition of the rule from others: when it breaches, fires and ends. Who is told of it, how often, and
    /// what it is about are no part of it. Stored beside states, so that it is the same in every version: FNV-1a (64 bits, draft-eastlake-fnv) over a text of its parts.
    pub fn condition(&self) -> u64 {
        let number = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{:x}", value.to_bits()))
        };
        let hold = match self.hold {
            Hold::Samples { needed, of } => format!("{needed} of {of}"),
            Hold::Span(millis) => format!("{millis} ms"),
        };
        let aggregate = match self.aggregate {
            None => "last",
            Some(Aggregate::Mean) => "mean",
            Some(Aggregate::Least) => "least",
            Some(Aggregate::Greatest) => "greatest",
        };
        let mut text = vec![
            self.threshold.operator.symbol().to_owned(),
            number(self.threshold.warning),
            number(self.threshold.critical),
            number(self.clear),
            number(self.floor.map(|floor| floor.warning)),
            number(self.floor.map(|floor| floor.critical)),
            hold,
            aggregate.to_owned(),
            self.keep_firing_ms.to_string(),
        ];
        text.extend(self.fit_ms.map(|span| format!("by {span} ms")));
        fnv1a(text.join("|").as_bytes())
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Escalation, Floor, Operator, Pattern, RuleId, Threshold};

    fn rule() -> Rule {
        Rule {
            id: RuleId("disk".to_owned()),
            metric: "disk".to_owned(),
            matches: Vec::new(),
            excludes: Vec::new(),
            threshold: Threshold { operator: Operator::AtLeast, warning: Some(80.0), critical: Some(90.0) },
            clear: None,
            floor: None,
            hold: Hold::AT_ONCE,
            aggregate: None,
            fit_ms: None,
            keep_firing_ms: 0,
            receivers: Vec::new(),
            repeat_ms: None,
            escalation: None,
            mute: None,
            note: None,
            source: String::new(),
            text: String::new(),
        }
    }

    #[test]
    fn the_hash_is_fnv1a() {
        // The vectors of draft-eastlake-fnv, appendix C.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_part_of_the_condition_counts_and_nothing_else() {
        let edits: [fn(&mut Rule); 11] = [
            |rule| rule.threshold.operator = Operator::Above,
            |rule| rule.threshold.warning = None,
            |rule| rule.threshold.warning = Some(81.0),
            |rule| rule.threshold.critical = Some(91.0),
            |rule| rule.clear = Some(70.0),
            |rule| rule.floor = Some(Floor { warning: 2.0, critical: 1.0 }),
            |rule| rule.hold = Hold::Samples { needed: 1, of: 2 },
            |rule| rule.hold = Hold::Span(1),
            |rule| rule.aggregate = Some(Aggregate::Mean),
            |rule| rule.keep_firing_ms = 1,
            |rule| rule.fit_ms = Some(1),
        ];
        let mut seen = vec![rule().condition()];
        for (number, edit) in edits.iter().enumerate() {
            let mut edited = rule();
            edit(&mut edited);
            assert!(!seen.contains(&edited.condition()), "edit {number}");
            seen.push(edited.condition());
        }
        let mut same = rule();
        same.excludes = vec![Pattern("/srv".to_owned())];
        same.receivers = vec!["a@example.org".to_owned()];
        same.escalation = Some(Escalation { after_ms: 1, to: vec!["b@example.org".to_owned()] });
        same.note = Some("look".to_owned());
        same.source = "config.xml:3".to_owned();
        assert_eq!(same.condition(), rule().condition());
        // It is stored: another version has to come to the same.
        assert_eq!(rule().condition(), 4_746_862_450_763_193_714);
    }
}
