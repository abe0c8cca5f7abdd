//! The bytes that an exec prints, as events. Pure, and the same for every cut of the bytes into pieces.

use model::Outcome;
use model::text::escape;
use model::wire::{
    End, Fault, FaultKind, Frame, Hello, Kind, MAGIC, MAGIC_STEM, MAX_FETCH, MAX_FRAME, MAX_NOISE,
    MAX_RECORDS, MISSING, from_cbor,
};
use ring::digest::{Context, SHA256};

/// What has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The probe is not there; what `uname -sm` said.
    Missing(String),
    /// The probe began.
    Hello(Hello),
    /// One envelope's bytes.
    Envelope(Vec<u8>),
    /// The stream is whole.
    End {
        /// More is spooled than one run takes.
        more: bool,
        /// Whether the spool is removed, as [`End::left`] says.
        left: Option<bool>,
    },
}

/// How a stream ended that never came to an [`Event::End`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing of ours was printed: this was.
    Silent(String),
    /// It broke off amid the frames.
    Within(Outcome),
}

/// The state of reading one exec's output.
pub(crate) struct Stream {
    buffer: Vec<u8>,
    place: Place,
    frames: Context,
    envelopes: u64,
    bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Noise,
    Hello,
    Envelopes,
    Over,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            place: Place::Noise,
            frames: Context::new(&SHA256),
            envelopes: 0,
            bytes: 0,
        }
    }

    /// Whether everything worth reading has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// Takes `piece` and hands out what it completes. After an error nothing more is to be fed.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<Vec<Event>, Outcome> {
        let mut events = Vec::new();
        if self.place == Place::Over {
            return Ok(events);
        }
        self.buffer.extend(piece);
        if self.place == Place::Noise {
            events.extend(self.skip_noise()?);
        }
        while matches!(self.place, Place::Hello | Place::Envelopes) {
            match Frame::take(&mut self.buffer) {
                Ok(None) => break,
                Ok(Some(frame)) => events.push(self.frame(&frame)?),
                Err(fault) => return Err(malformed(&format!("{fault}: {}", beginning(&self.buffer)))),
            }
        }
        Ok(events)
    }

    /// What the end of the output means where no end marker came.
    pub(crate) fn cut(&self) -> Cut {
        if self.place == Place::Noise {
            Cut::Silent(beginning(&self.buffer))
        } else {
            let detail = format!("its stream broke off after {} records{}", self.envelopes, self.rest());
            Cut::Within(Outcome::ProbeFailed { detail })
        }
    }

    fn rest(&self) -> String {
        if self.buffer.is_empty() { String::new() } else { format!(": {}", beginning(&self.buffer)) }
    }

    fn skip_noise(&mut self) -> Result<Option<Event>, Outcome> {
        let magic = find(&self.buffer, MAGIC).filter(|at| *at <= MAX_NOISE);
        let missing =
            find(&self.buffer, MISSING.as_bytes()).filter(|at| magic.is_none_or(|magic| *at < magic));
        if let Some(at) = missing {
            let line = &self.buffer[at + MISSING.len()..];
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                self.place = Place::Over;
                return Ok(Some(Event::Missing(beginning(&line[..end]))));
            }
        }
        if let Some(at) = magic {
            self.buffer.drain(..at + MAGIC.len());
            self.place = Place::Hello;
        } else if let Some(version) = other_version(&self.buffer) {
            let detail = format!("it speaks version {version} of the protocol, and this collector another");
            return Err(Outcome::NotInstalled { detail });
        } else if self.buffer.len() >= MAX_NOISE + MAGIC.len() {
            return Err(Outcome::ShellNoise { detail: beginning(&self.buffer) });
        }
        Ok(None)
    }

    fn frame(&mut self, frame: &Frame) -> Result<Event, Outcome> {
        match (frame.kind, self.place) {
            (Kind::Hello, Place::Hello) => {
                self.count(frame);
                self.place = Place::Envelopes;
                let hello =
                    from_cbor(&frame.payload).map_err(|fault| malformed(&format!("hello: {fault}")))?;
                Ok(Event::Hello(hello))
            }
            (Kind::Envelope, Place::Envelopes) => {
                self.count(frame);
                self.envelopes += 1;
                self.bytes += frame.payload.len() as u64;
                if self.envelopes > MAX_RECORDS {
                    return Err(Outcome::TooLarge { detail: format!("more than {MAX_RECORDS} records") });
                }
                if self.bytes > MAX_FETCH + MAX_FRAME as u64 {
                    return Err(Outcome::TooLarge {
                        detail: format!("more than {MAX_FETCH} bytes of records"),
                    });
                }
                Ok(Event::Envelope(frame.payload.clone()))
            }
            (Kind::End, Place::Envelopes) => self.end(frame),
            (Kind::Fault, _) => {
                let fault =
                    from_cbor(&frame.payload).map_err(|fault| malformed(&format!("fault: {fault}")))?;
                Err(outcome_of(&fault))
            }
            (kind, _) => Err(malformed(&format!("a frame {kind:?} out of its place"))),
        }
    }

    fn count(&mut self, frame: &Frame) {
        self.frames.update(&[frame.kind as u8]);
        self.frames.update(&(frame.payload.len() as u32).to_be_bytes());
        self.frames.update(&frame.payload);
    }

    fn end(&mut self, frame: &Frame) -> Result<Event, Outcome> {
        let end: End = from_cbor(&frame.payload).map_err(|fault| malformed(&format!("end: {fault}")))?;
        if end.sent != self.envelopes {
            return Err(malformed(&format!("{} records sent, {} received", end.sent, self.envelopes)));
        }
        if self.frames.clone().finish().as_ref() != end.digest {
            return Err(malformed("the digest over all frames is another"));
        }
        self.place = Place::Over;
        Ok(Event::End { more: end.more, left: end.left })
    }
}

/// The version of a probe whose stream begins as ours do, and goes on as that of another version.
fn other_version(buffer: &[u8]) -> Option<String> {
    let at = find(buffer, MAGIC_STEM)? + MAGIC_STEM.len();
    let version = &buffer[at..][..buffer[at..].iter().take(8).position(|byte| *byte == b'\n')?];
    let is_number = !version.is_empty() && version.iter().all(u8::is_ascii_digit);
    is_number.then(|| String::from_utf8_lossy(version).into_owned())
}

fn outcome_of(fault: &Fault) -> Outcome {
    let detail = escape(&fault.detail);
    match fault.kind {
        FaultKind::NoSpace => Outcome::NoSpace { detail },
        FaultKind::Unsafe | FaultKind::Locked | FaultKind::Other => Outcome::ProbeFailed { detail },
    }
}

fn malformed(detail: &str) -> Outcome {
    Outcome::Malformed { detail: escape(detail) }
}

/// How `bytes` begin, safe to show.
fn beginning(bytes: &[u8]) -> String {
    escape(&String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Clock, SpoolId, Timestamp};
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello {
            version: "0.1.0".to_owned(),
            directory: String::new(),
            clock: Clock { wall: Timestamp(5), boottime_ms: 6, boot_id: "b".to_owned() },
            spool: SpoolId([4; 16]),
            spooled: 2,
        }
    }

    /// What a probe prints.
    fn printed(noise: &[u8], envelopes: &[Vec<u8>], more: bool) -> Vec<u8> {
        let mut frames = Frame::of(Kind::Hello, &hello()).to_bytes();
        for payload in envelopes {
            frames.extend(Frame { kind: Kind::Envelope, payload: payload.clone() }.to_bytes());
        }
        let digest = ring::digest::digest(&SHA256, &frames).as_ref().try_into().unwrap();
        let end =
            Frame::of(Kind::End, &End { sent: envelopes.len() as u64, digest, more, left: None }).to_bytes();
        [noise, MAGIC, &frames, &end].concat()
    }

    fn read(pieces: &[&[u8]]) -> (Result<Vec<Event>, Outcome>, Stream) {
        let mut stream = Stream::new();
        let mut events = Vec::new();
        for piece in pieces {
            match stream.feed(piece) {
                Ok(more) => events.extend(more),
                Err(outcome) => return (Err(outcome), stream),
            }
        }
        (Ok(events), stream)
    }

    proptest! {
        #[test]
        fn every_cut_reads_the_same(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            envelopes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..4),
            more: bool,
            cuts in proptest::collection::vec(0_usize..1200, 0..6),
        ) {
            let bytes = printed(&noise, &envelopes, more);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let (events, stream) = read(&pieces);
            let mut expected = vec![Event::Hello(hello())];
            expected.extend(envelopes.into_iter().map(Event::Envelope));
            expected.push(Event::End { more, left: None });
            prop_assert_eq!(events, Ok(expected));
            prop_assert!(stream.is_over());
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..64), 0..8)) {
            let mut all = vec![&MAGIC[..]];
            all.extend(pieces.iter().map(Vec::as_slice));
            let _ = read(&all);
        }

        #[test]
        fn a_changed_byte_never_ends_well(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let envelopes = [vec![1; 50], vec![2; 50]];
            let mut bytes = printed(b"", &envelopes, false);
            let end = bytes.len() - (printed(b"", &[], false).len() - MAGIC.len() - Frame::of(Kind::Hello, &hello()).to_bytes().len());
            let at = MAGIC.len() + at.index(end - MAGIC.len());
            bytes[at] ^= flip;
            let (_, stream) = read(&[&bytes]);
            prop_assert!(!stream.is_over());
        }
    }

    #[test]
    fn a_missing_probe_is_told_amid_noise_and_over_cuts() {
        let said = b"Welcome!\nlast login: fleet-health:missing Linux armv7l\n";
        for cut in 0..said.len() {
            let (events, stream) = read(&[&said[..cut], &said[cut..]]);
            assert_eq!(events, Ok(vec![Event::Missing("Linux armv7l".to_owned())]));
            assert!(stream.is_over());
        }
    }

    #[test]
    fn a_probe_of_another_protocol_is_named_over_cuts() {
        let said = b"Welcome!\n\x02fleet-health/12\n\x02....";
        for cut in 0..said.len() {
            let (read, _) = read(&[&said[..cut], &said[cut..]]);
            let Err(Outcome::NotInstalled { detail }) = read else { panic!("{read:?}") };
            assert!(detail.contains("version 12"), "{detail}");
        }
    }

    #[test]
    fn noise_has_a_bound_and_is_shown_escaped() {
        let fits = printed(&vec![b'x'; MAX_NOISE], &[], false);
        assert!(read(&[&fits]).0.is_ok());
        let mut more = vec![b'x'; MAX_NOISE + 1 + MAGIC.len()];
        more[0] = 0x1b;
        let Err(Outcome::ShellNoise { detail }) = read(&[&more]).0 else { panic!() };
        assert!(detail.starts_with("\\u{1b}xx"), "{detail}");
    }

    #[test]
    fn envelopes_without_end_are_too_many_though_they_weigh_nothing() {
        let hello = Frame::of(Kind::Hello, &hello()).to_bytes();
        let empty = Frame { kind: Kind::Envelope, payload: Vec::new() }.to_bytes();
        let most = empty.repeat(MAX_RECORDS as usize);
        let (events, _) = read(&[MAGIC, &hello, &most]);
        assert_eq!(events.unwrap().len(), 1 + MAX_RECORDS as usize);
        assert!(matches!(read(&[MAGIC, &hello, &most, &empty]).0, Err(Outcome::TooLarge { .. })));
    }

    #[test]
    fn silence_and_a_cut_are_told_apart() {
        let (_, stream) = read(&[b"sh: 1: exec: probe: Exec format error\n"]);
        assert_eq!(stream.cut(), Cut::Silent("sh: 1: exec: probe: Exec format error".to_owned()));
        let bytes = printed(b"", &[vec![1; 50]], false);
        let (_, stream) = read(&[&bytes[..bytes.len() - 1]]);
        let Cut::Within(Outcome::ProbeFailed { detail }) = stream.cut() else { panic!() };
        assert!(detail.starts_with("its stream broke off after 1 records"), "{detail}");
    }

    #[test]
    fn the_probes_own_fault_becomes_an_outcome() {
        let fault = Fault { kind: FaultKind::NoSpace, detail: "spool\x07".to_owned() };
        let bytes = [&MAGIC[..], &Frame::of(Kind::Fault, &fault).to_bytes()].concat();
        assert_eq!(read(&[&bytes]).0, Err(Outcome::NoSpace { detail: "spool\\u{7}".to_owned() }));
    }

    #[test]
    fn a_second_hello_is_out_of_place() {
        let hello = Frame::of(Kind::Hello, &hello()).to_bytes();
        assert!(matches!(read(&[MAGIC, &hello, &hello]).0, Err(Outcome::Malformed { .. })));
    }
}
