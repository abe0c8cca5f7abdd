use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use envelope::{Identity, digest, open, split};
use model::wire::{FaultKind, StoredThrough, to_cbor};
use model::{Body, Record, SpoolId};
use proptest::prelude::*;

use super::*;
use crate::spool::tests::{CLIENT, LIMITS, clock, home, record};

/// What a collector gets to see.
#[derive(Debug, Default)]
struct Fetched {
    hello: Option<Hello>,
    envelopes: Vec<Vec<u8>>,
    fault: Option<Fault>,
    end: Option<End>,
}

/// A machine of one file, whose name is in each report.
fn machine(root: &Path, name: &str) -> Machine {
    let path = root.join("proc/sys/kernel");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("hostname"), name).unwrap();
    Machine { root: root.to_owned(), pause: Duration::ZERO, ..Machine::this(Path::new("/")) }
}

fn request(identity: &Identity, stored: Option<StoredThrough>, max_bytes: u64) -> Request {
    Request {
        client: CLIENT,
        recipient: identity.recipient(),
        stored,
        fresh: true,
        processes: Vec::new(),
        max_bytes,
        seconds: 30,
        purpose: Purpose::Collect,
    }
}

fn shipped(path: &Path, limits: Limits) -> RemoteDir<'_> {
    RemoteDir { path, limits, shipped: true }
}

fn fetch(machine: &Machine, home: &Path, limits: Limits, request: &Request) -> Fetched {
    let input = Frame::of(Kind::Request, request).to_bytes();
    let mut output = Vec::new();
    let served = serve(machine, &shipped(home, limits), &mut &input[..], &mut output, |_, _| ());
    assert!(!matches!(served, Served::Cut(_)));
    let mut rest = output.strip_prefix(MAGIC).expect("the magic comes first").to_vec();
    let (mut fetched, mut hash) = (Fetched::default(), Sha256::new());
    while let Some(frame) = Frame::take(&mut rest).unwrap() {
        assert!(fetched.end.is_none() && fetched.fault.is_none(), "something follows the end");
        match frame.kind {
            Kind::Hello => fetched.hello = Some(from_cbor(&frame.payload).unwrap()),
            Kind::Envelope => fetched.envelopes.push(frame.payload.clone()),
            Kind::Fault => fetched.fault = Some(from_cbor(&frame.payload).unwrap()),
            Kind::End => {
                let end: End = from_cbor(&frame.payload).unwrap();
                assert_eq!(end.digest, <[u8; 32]>::from(hash.clone().finalize()));
                assert_eq!(end.sent, fetched.envelopes.len() as u64);
                fetched.end = Some(end);
            }
            Kind::Request => panic!("a probe requests nothing"),
        }
        hash.update(frame.to_bytes());
    }
    assert!(rest.is_empty());
    fetched
}

fn last_of(fetched: &Fetched) -> Option<StoredThrough> {
    let last = fetched.envelopes.last()?;
    let spool = fetched.hello.as_ref()?.spool;
    Some(StoredThrough { spool, sequence: split(last).unwrap().0.sequence, digest: digest(last) })
}

#[test]
fn the_acknowledgement_travels_with_the_next_request() {
    let (home, root, identity) = (home(), tempfile::tempdir().unwrap(), Identity::generate(1));
    let machine = machine(root.path(), "one");
    let first = fetch(&machine, home.path(), LIMITS, &request(&identity, None, MAX_FETCH));
    assert_eq!(first.envelopes.len(), 1);
    let (header, plain) = open(std::slice::from_ref(&identity), &first.envelopes[0]).unwrap();
    assert_eq!((header.client, header.sequence), (CLIENT, 1));
    let Body::Report(report) = Record::decode(&plain).unwrap().body else { panic!("a report") };
    assert_eq!(report.host.hostname, "one");

    let unacknowledged = fetch(&machine, home.path(), LIMITS, &request(&identity, None, MAX_FETCH));
    assert_eq!(unacknowledged.envelopes.len(), 2, "what is not acknowledged comes again");
    assert_eq!(unacknowledged.envelopes[0], first.envelopes[0]);

    let stored = last_of(&unacknowledged);
    let second = fetch(&machine, home.path(), LIMITS, &request(&identity, stored.clone(), MAX_FETCH));
    assert_eq!(second.envelopes.len(), 1, "only the new one");
    assert!(!second.end.unwrap().more);
}

#[test]
fn a_spool_is_left_once_all_of_it_is_stored() {
    let (home, root, identity) = (home(), tempfile::tempdir().unwrap(), Identity::generate(1));
    let machine = machine(root.path(), "one");
    let leave = |stored, purpose, max_bytes| {
        let request = Request { purpose, ..request(&identity, stored, max_bytes) };
        fetch(&machine, home.path(), LIMITS, &request)
    };
    let left = |fetched: &Fetched| fetched.end.as_ref().and_then(|end| end.left);
    for _ in 0..3 {
        fetch(&machine, home.path(), LIMITS, &request(&identity, None, MAX_FETCH));
    }
    // A small stream each: what it brought, the next acknowledges.
    let mut stored = None;
    for round in 1..=3 {
        let visit = leave(stored, Purpose::Leave, 1);
        assert_eq!((visit.envelopes.len(), left(&visit)), (1, Some(false)), "{round}");
        stored = last_of(&visit);
    }
    // The client's own cron comes in between.
    let refused = Limits { records: 1, ..LIMITS };
    let mut spool = crate::spool::tests::open(home.path(), refused).unwrap();
    spool.refuse(model::Timestamp(7)).unwrap();
    drop(spool);
    let gap = leave(stored, Purpose::Leave, MAX_FETCH);
    assert_eq!((gap.envelopes.len(), left(&gap)), (2, Some(false)), "what was refused is told, too");
    let gone = leave(last_of(&gap), Purpose::Leave, MAX_FETCH);
    assert_eq!((gone.envelopes.len(), left(&gone)), (0, Some(true)));
    assert!(!home.path().exists(), "the last spool takes the directory along");

    assert_eq!(left(&leave(None, Purpose::Leave, MAX_FETCH)), Some(true), "a spool that is not there");
    let usual = fetch(&machine, home.path(), LIMITS, &request(&identity, None, MAX_FETCH));
    assert_eq!(left(&usual), None);
    let abandoned = leave(None, Purpose::Abandon, MAX_FETCH);
    assert_eq!((abandoned.envelopes.len(), left(&abandoned)), (0, Some(true)));
    assert!(!home.path().exists());
}

#[test]
fn a_request_that_names_too_much_is_refused_and_makes_nothing() {
    let (home, root, identity) = (home(), tempfile::tempdir().unwrap(), Identity::generate(1));
    let machine = machine(root.path(), "one");
    for processes in [vec!["x".to_owned(); 101], vec!["x".repeat(257)]] {
        let request = Request { processes, ..request(&identity, None, MAX_FETCH) };
        let fetched = fetch(&machine, home.path(), LIMITS, &request);
        assert!(fetched.fault.unwrap().detail.contains("processes"));
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_long_spool_drains_over_several_runs() {
    let (home, root, identity) = (home(), tempfile::tempdir().unwrap(), Identity::generate(1));
    let machine = machine(root.path(), "one");
    for _ in 0..3 {
        fetch(&machine, home.path(), LIMITS, &request(&identity, None, MAX_FETCH));
    }
    let first = fetch(&machine, home.path(), LIMITS, &request(&identity, None, 1));
    assert_eq!(first.envelopes.len(), 1, "at least one, however little is asked for");
    assert!(first.end.as_ref().unwrap().more);
    assert_eq!(first.hello.as_ref().unwrap().spooled, 4);
    let second = fetch(&machine, home.path(), LIMITS, &request(&identity, last_of(&first), MAX_FETCH));
    assert_eq!(second.envelopes.len(), 4);
}

#[test]
fn a_record_of_this_moment_is_new_enough() {
    let (home, identity) = (home(), Identity::generate(1));
    let machine = Machine::this(Path::new("/"));
    let mut again = request(&identity, None, MAX_FETCH);
    fetch(&machine, home.path(), LIMITS, &again);
    again.fresh = false;
    assert_eq!(fetch(&machine, home.path(), LIMITS, &again).envelopes.len(), 1);
    again.fresh = true;
    assert_eq!(fetch(&machine, home.path(), LIMITS, &again).envelopes.len(), 2);
}

#[test]
fn a_spool_that_is_not_ours_is_a_fault_with_a_text() {
    let (home, root, identity) = (home(), tempfile::tempdir().unwrap(), Identity::generate(1));
    std::os::unix::fs::symlink(root.path(), home.path().join(CLIENT.to_string())).unwrap();
    let machine = machine(root.path(), "one");
    let fetched = fetch(&machine, home.path(), LIMITS, &request(&identity, None, MAX_FETCH));
    let fault = fetched.fault.unwrap();
    assert_eq!(fault.kind, FaultKind::Unsafe);
    assert!(fault.detail.contains(&CLIENT.to_string()), "{fault:?}");
}

#[test]
fn what_is_no_request_is_a_fault() {
    let (home, machine) = (home(), Machine::this(Path::new("/")));
    let other = Frame { kind: Kind::End, payload: vec![] }.to_bytes();
    let huge = [1, 0xff, 0xff, 0xff, 0xff];
    for input in [&b""[..], b"\x01\x00\x00", &other, &huge, &[1, 0, 0, 0, 1, 0x80]] {
        let mut output = Vec::new();
        let served = serve(&machine, &shipped(home.path(), LIMITS), &mut &input[..], &mut output, |_, _| ());
        assert!(matches!(served, Served::Faulty(_)), "{input:?}");
    }
}

#[test]
fn a_collector_that_goes_away_is_no_panic() {
    struct Gone(usize);
    impl Write for Gone {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (home, root, identity) = (home(), tempfile::tempdir().unwrap(), Identity::generate(1));
    let machine = machine(root.path(), "one");
    let input = Frame::of(Kind::Request, &request(&identity, None, MAX_FETCH)).to_bytes();
    for writes in 0..3 {
        let served =
            serve(&machine, &shipped(home.path(), LIMITS), &mut &input[..], &mut Gone(writes), |_, _| ());
        assert!(matches!(served, Served::Cut(_)));
    }
    let all = fetch(&machine, home.path(), LIMITS, &request(&identity, None, MAX_FETCH));
    assert_eq!(all.envelopes.len(), 3, "a stream that was cut after its record was written lost nothing");
}

/// A collector's storage: what it has of each spool, and what it will acknowledge.
#[derive(Default)]
struct Storage {
    records: BTreeMap<(SpoolId, u64), Body>,
    through: Option<StoredThrough>,
}

impl Storage {
    /// Stores the first `count` envelopes; another body under a known name would be a record lost.
    fn store(&mut self, identity: &Identity, fetched: &Fetched, count: usize) {
        let Some(hello) = &fetched.hello else { return };
        for bytes in fetched.envelopes.iter().take(count) {
            let (header, plain) = open(std::slice::from_ref(identity), bytes).unwrap();
            let body = Record::decode(&plain).unwrap().body;
            let known = self.records.insert((hello.spool, header.sequence), body.clone());
            assert!(known.is_none_or(|known| known == body), "two records of one name");
            let through =
                StoredThrough { spool: hello.spool, sequence: header.sequence, digest: digest(bytes) };
            let known = self.through.as_ref().filter(|known| known.spool == through.spool);
            if known.is_none_or(|known| known.sequence < through.sequence) {
                self.through = Some(through);
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let name = |body: &Body| match body {
            Body::Report(report) => Some(report.host.hostname.clone()),
            Body::Gap(_) => None,
        };
        self.records.values().filter_map(name).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// The client's own cron.
    Sample,
    /// A run of the collector that fetches so much and stores so many of the records before it is killed.
    Run { max_bytes: u64, stored: usize },
    /// A probe that was killed while it wrote.
    Litter,
    /// A snapshot of the client is made.
    Snapshot,
    /// The client goes back to it.
    RollBack,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Sample),
        4 => (prop_oneof![Just(1_u64), Just(700), Just(MAX_FETCH)], 0_usize..6)
            .prop_map(|(max_bytes, stored)| Step::Run { max_bytes, stored }),
        1 => Just(Step::Litter),
        1 => Just(Step::Snapshot),
        1 => Just(Step::RollBack),
    ];
    proptest::collection::vec(step, 1..25)
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.is_symlink() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, every report that was told of is stored in the end, or counted as refused,
    /// and no spool is removed before; but for those that a roll-back took from the client's disk before they were fetched.
    #[test]
    fn nothing_that_was_reported_is_lost(steps in steps(), leaves: bool) {
        let (home, root, snapshot) = (home(), tempfile::tempdir().unwrap(), home());
        let identity = Identity::generate(1);
        let machine = machine(root.path(), "collected");
        let spool_path = home.path().join(CLIENT.to_string());
        let limits = Limits { records: 6, ..LIMITS };
        let directory = Directory::open(home.path()).unwrap();
        let mut storage = Storage::default();
        let (mut on_disk, mut in_snapshot): (Vec<String>, Option<Vec<String>>) = (Vec::new(), None);
        let (mut refused, mut rolled_back) = (0_u64, false);
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Sample => {
                    let mut spool = Spool::open(&directory, CLIENT, limits).unwrap();
                    if spool.is_full() {
                        spool.refuse(clock().wall).unwrap();
                        refused += 1;
                    } else {
                        let name = format!("own {at}");
                        spool.append(&identity.recipient(), &record(&name)).unwrap();
                        on_disk.push(name);
                    }
                }
                Step::Run { max_bytes, stored } => {
                    let newest = Spool::open(&directory, CLIENT, limits).unwrap().newest();
                    let fetched = fetch(&machine, home.path(), limits, &request(&identity, storage.through.clone(), *max_bytes));
                    prop_assert!(fetched.fault.is_none());
                    let after = Spool::open(&directory, CLIENT, limits).unwrap().newest();
                    prop_assert!(after >= newest, "the sequence never goes back");
                    storage.store(&identity, &fetched, *stored);
                }
                Step::Litter if spool_path.exists() => {
                    fs::write(spool_path.join(format!(".tmp-{at}-x")), "half a rec").unwrap();
                }
                Step::Snapshot if spool_path.exists() => {
                    copy(&spool_path, snapshot.path());
                    in_snapshot = Some(on_disk.clone());
                }
                Step::RollBack => {
                    if let Some(names) = &in_snapshot {
                        copy(snapshot.path(), &spool_path);
                        on_disk.clone_from(names);
                        rolled_back = true;
                    }
                }
                Step::Litter | Step::Snapshot => {}
            }
        }
        // The collector comes until the spool is drained, or gone.
        let mut left = None;
        for _ in 0..3 {
            let purpose = if leaves { Purpose::Leave } else { Purpose::Collect };
            let request = Request { purpose, ..request(&identity, storage.through.clone(), MAX_FETCH) };
            let fetched = fetch(&machine, home.path(), limits, &request);
            prop_assert_eq!(fetched.end.as_ref().map(|end| end.more), Some(false));
            left = fetched.end.as_ref().and_then(|end| end.left);
            storage.store(&identity, &fetched, usize::MAX);
        }
        prop_assert_eq!(left, leaves.then_some(true));
        prop_assert_eq!(spool_path.exists(), !leaves);
        let names = storage.names();
        for name in &on_disk {
            prop_assert!(names.contains(name), "{name} was lost");
        }
        if !rolled_back {
            for name in names.iter().filter(|name| name.starts_with("own")) {
                prop_assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{} came twice", name);
            }
            let told: u64 = storage.records.values().map(|body| match body {
                Body::Gap(gap) => gap.refused,
                Body::Report(_) => 0,
            }).sum();
            prop_assert!(told >= refused, "{} refusals, {} told", refused, told);
        }
    }
}

#[test]
fn a_request_survives_its_own_form() {
    let request = request(&Identity::generate(3), None, 5);
    assert_eq!(from_cbor::<Request>(&to_cbor(&request)), Ok(request));
}
