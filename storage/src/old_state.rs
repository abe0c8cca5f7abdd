//! Alert states as schema 1 kept them, read as those of today. Pure.

use model::wire::from_cbor;
use model::{AlertPhase, AlertState, EpisodeId, Firing, Severity, Timestamp};
use serde::Deserialize;

/// The first ordinal that no news of schema 1 had: its problem, its worse and its end were 0, 1 and 2.
const FIRST_NEWS: u32 = 3;

#[derive(Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum OldState {
    Inactive,
    Pending { since: Timestamp, breaches: u32 },
    Firing { since: Timestamp, severity: Severity, worst: Severity, episode: EpisodeId },
    Resolved { at: Timestamp },
}

/// The state in a blob of schema 1. Nothing is known of the condition that it was made by (0).
pub(crate) fn decode(blob: &[u8]) -> Result<AlertState, String> {
    let (phase, breaches) = match from_cbor(blob)? {
        OldState::Inactive => (AlertPhase::Inactive, 0),
        OldState::Pending { since, breaches } => {
            // That many breaches in a row, as bits.
            let bits = u32::MAX.checked_shr(u32::BITS.saturating_sub(breaches)).unwrap_or(0);
            (AlertPhase::Pending { since }, bits)
        }
        OldState::Firing { since, severity, worst, episode } => {
            let (told, news) = (Some(worst), FIRST_NEWS);
            let firing = Firing {
                since,
                severity,
                told,
                episode,
                fine_since: None,
                flapping: false,
                told_flapping: false,
                news,
            };
            (AlertPhase::Firing(firing), 1)
        }
        OldState::Resolved { at } => (AlertPhase::Resolved { at }, 0),
    };
    Ok(AlertState { phase, breaches, ..AlertState::default() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::wire::to_cbor;
    use serde::Serialize;

    /// As schema 1 wrote it.
    #[derive(Serialize)]
    #[serde(tag = "state", rename_all = "lowercase")]
    pub(crate) enum Written {
        Pending { since: i64, breaches: u32 },
        Firing { since: i64, severity: Severity, worst: Severity, episode: &'static str },
        Resolved { at: i64 },
    }

    #[test]
    fn every_phase() {
        let read = |written: &Written| decode(&to_cbor(written)).unwrap();
        for (breaches, bits) in [(0, 0), (1, 0b1), (3, 0b111), (32, u32::MAX), (99, u32::MAX)] {
            let state = read(&Written::Pending { since: 5, breaches });
            let phase = AlertPhase::Pending { since: Timestamp(5) };
            assert_eq!(state, AlertState { phase, breaches: bits, ..AlertState::default() });
        }
        let (severity, worst) = (Severity::Warning, Severity::Critical);
        let state = read(&Written::Firing { since: 5, severity, worst, episode: "e" });
        let firing = state.firing().unwrap();
        assert_eq!((firing.since, firing.severity, firing.told), (Timestamp(5), severity, Some(worst)));
        assert_eq!((firing.episode.0.as_str(), firing.news, firing.flapping), ("e", 3, false));
        let state = read(&Written::Resolved { at: 7 });
        assert_eq!(state.phase, AlertPhase::Resolved { at: Timestamp(7) });
        assert!(decode(&[0xff]).is_err());
    }
}
