//! Drafts become letters.

use model::Timestamp;
use model::text::escape;

use super::account::Teller;
use super::evidence;
use super::letter::{Block, Letter};
use super::subject::heading;
use super::surroundings::Surroundings;
use super::{Letterhead, Manner, Sender};
use crate::notify::{Draft, Kind, Line};
use crate::zone::Zone;

/// How much a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How many episodes are described in full; the others have their line in the contents.
    described: usize,
    /// How many the contents list; beyond it they are counted.
    listed: usize,
    /// How many pictures travel along, of some 30 kB each.
    pictures: usize,
}

impl Extent {
    /// From all that a person may want to what fits in any case: every text in a letter is bounded.
    pub(crate) const ALL: [Self; 3] = [
        Self { described: 20, listed: 1000, pictures: 5 },
        Self { described: 10, listed: 300, pictures: 0 },
        Self { described: 3, listed: 50, pictures: 0 },
    ];
}

/// What `draft` says to a receiver who wants it in this `manner`.
pub(crate) fn letter(
    draft: &Draft,
    letterhead: Letterhead,
    manner: Manner,
    (now, extent): (Timestamp, Extent),
    around: &mut dyn FnMut(&Line) -> Surroundings,
) -> Letter {
    let mut letter = sheet(letterhead);
    // What still fires comes first, whatever client it is of.
    let (over, mut lines): (Vec<&Line>, Vec<&Line>) =
        draft.lines.iter().partition(|line| line.kind.is_over());
    lines.extend(over);
    if lines.len() > 1 {
        contents(&mut letter, &lines, extent.listed, manner.zone);
    }
    let mut shown = None;
    for line in lines.into_iter().take(extent.described) {
        let draws = !manner.text_only() && letter.pictures.len() < extent.pictures;
        let around = around(line);
        letter.blocks.push(Block::Heading(heading(line)));
        Teller { manner, now, draws }.tell(&mut letter, line, &around);
        if evidence::tell(&mut letter, line, &around, shown) {
            shown = Some(line.episode);
        }
    }
    letter
}

/// One line per episode.
fn contents(letter: &mut Letter, lines: &[&Line], listed: usize, zone: Zone) {
    let entry = |line: &&Line| {
        let mut entry = heading(line);
        // What is over may be described nowhere else.
        if line.kind == Kind::Late
            && let Some(end) = line.episode.end
        {
            entry.text = format!("{}, {}", entry.text, zone.show_span(line.episode.begin, end.at));
        }
        entry
    };
    letter.blocks.push(Block::Contents(lines.iter().take(listed).map(entry).collect()));
    if let Some(more) = lines.len().checked_sub(listed).filter(|&more| more > 0) {
        letter.say(&format!("and {more} more: fleet-alerter status lists what is open"));
    }
}

/// What says that mail works.
pub(crate) fn test(sender: Sender, manner: Manner) -> Letter {
    let mut letter = sheet(sender.letterhead);
    let hostname = escape(sender.letterhead.hostname);
    letter.say(&format!(
        "This is a test. Alerts of {hostname} will reach {} this way.",
        escape(manner.receiver)
    ));
    letter.field("Sent", manner.zone.show(sender.now));
    letter
}

/// A letter of this place without content.
pub(crate) fn sheet(letterhead: Letterhead) -> Letter {
    let signature = format!("fleet-health {} on {}", letterhead.version, escape(letterhead.hostname));
    Letter { signature, ..Letter::default() }
}
