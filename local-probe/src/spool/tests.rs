use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use envelope::Identity;
use model::wire::StoredThrough;
use model::{Body, Clock, Report};

use super::*;

pub(crate) const CLIENT: ClientUid = ClientUid([7; 16]);

pub(crate) const LIMITS: Limits =
    Limits { bytes: 64 * 1024 * 1024, records: 1000, spools: 3, patience: Duration::from_millis(50) };

pub(crate) fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    home
}

pub(crate) fn open(home: &Path, limits: Limits) -> Result<Spool, Fault> {
    Spool::open(&Directory::open(home)?, CLIENT, limits)
}

pub(crate) fn clock() -> Clock {
    Clock { wall: Timestamp(5), boottime_ms: 5, boot_id: "b".to_owned() }
}

pub(crate) fn record(mark: &str) -> Record {
    let mut report = Report::default();
    report.host.hostname = mark.to_owned();
    Record { version: 1, clock: clock(), body: Body::Report(report) }
}

fn spool_path(home: &Path) -> std::path::PathBuf {
    home.join(CLIENT.to_string())
}

fn stored(spool: &Spool, sequence: u64) -> StoredThrough {
    let entry = spool.entries().iter().find(|entry| entry.sequence == sequence).unwrap();
    let digest = envelope::digest(&spool.envelope(entry).unwrap().unwrap());
    StoredThrough { spool: spool.id(), sequence, digest }
}

fn sequences(spool: &Spool) -> Vec<u64> {
    spool.entries().iter().map(|entry| entry.sequence).collect()
}

fn bodies(spool: &Spool, identity: &Identity) -> Vec<(u64, Body)> {
    let keys = std::slice::from_ref(identity);
    let body = |entry: &Entry| {
        let (header, plain) = envelope::open(keys, &spool.envelope(entry).unwrap().unwrap()).unwrap();
        (header.sequence, Record::decode(&plain).unwrap().body)
    };
    spool.entries().iter().map(body).collect()
}

#[test]
fn a_directory_takes_no_more_spools_than_it_may_and_keeps_serving_those_it_has() {
    let home = home();
    let directory = Directory::open(home.path()).unwrap();
    let open = |client: u8| Spool::open(&directory, ClientUid([client; 16]), LIMITS).map(drop);
    for client in 1..=3 {
        open(client).unwrap();
    }
    assert!(open(4).unwrap_err().detail.contains("holds 3 spools"));
    assert!(!home.path().join(ClientUid([4; 16]).to_string()).exists());
    open(2).unwrap();
}

#[test]
fn what_is_stored_goes_but_the_newest_stays() {
    let (home, recipient) = (home(), Identity::generate(1).recipient());
    let mut spool = open(home.path(), LIMITS).unwrap();
    for mark in ["a", "b", "c"] {
        spool.append(&recipient, &record(mark)).unwrap();
    }
    let through = stored(&spool, 3);
    assert_eq!(spool.agree(&through), Ok(Agreement::Through(3)));
    spool.remove_stored(Agreement::Through(3)).unwrap();
    assert_eq!(sequences(&spool), [3]);
    drop(spool);
    let mut spool = open(home.path(), LIMITS).unwrap();
    assert_eq!(spool.append(&recipient, &record("d")), Ok(4), "the sequence goes on");
}

#[test]
fn a_record_that_is_gone_is_agreed_upon() {
    let (home, recipient) = (home(), Identity::generate(1).recipient());
    let mut spool = open(home.path(), LIMITS).unwrap();
    for mark in ["a", "b", "c"] {
        spool.append(&recipient, &record(mark)).unwrap();
    }
    let through = stored(&spool, 1);
    spool.remove_stored(Agreement::Through(2)).unwrap();
    assert_eq!(spool.agree(&through), Ok(Agreement::Through(1)));
    assert_eq!(sequences(&spool), [3]);
}

#[test]
fn a_spool_that_was_rolled_back_gets_a_new_id_and_keeps_all() {
    let (home, recipient) = (home(), Identity::generate(1).recipient());
    let mut spool = open(home.path(), LIMITS).unwrap();
    spool.append(&recipient, &record("a")).unwrap();
    let id = spool.id();
    let known = stored(&spool, 1);
    for wrong in
        [StoredThrough { sequence: 9, ..known.clone() }, StoredThrough { digest: [0; 32], ..known.clone() }]
    {
        let before = spool.id();
        assert_eq!(spool.agree(&StoredThrough { spool: before, ..wrong }), Ok(Agreement::InDoubt));
        assert_ne!(spool.id(), before);
        assert_eq!(sequences(&spool), [1]);
    }
    assert_eq!(spool.agree(&known), Ok(Agreement::InDoubt), "of the old id nothing is known any more");
    let new = spool.id();
    assert_ne!(new, id);
    drop(spool);
    assert_eq!(open(home.path(), LIMITS).unwrap().id(), new, "the new id is kept");
}

#[test]
fn a_full_spool_tells_of_all_refusals_in_one_record() {
    let home = home();
    let identity = Identity::generate(1);
    let recipient = identity.recipient();
    let mut spool = open(home.path(), Limits { records: 2, ..LIMITS }).unwrap();
    for mark in ["a", "b"] {
        spool.append(&recipient, &record(mark)).unwrap();
    }
    assert!(spool.is_full());
    for wall in [10, 20, 30] {
        spool.refuse(Timestamp(wall)).unwrap();
    }
    spool.settle_gap(&recipient, &clock()).unwrap();
    let gap = |refused, first, last| {
        Body::Gap(model::Gap { refused, first: Timestamp(first), last: Timestamp(last) })
    };
    assert_eq!(bodies(&spool, &identity)[2], (3, gap(3, 10, 30)));
    // Frozen: the next refusals make a record of their own, before the next report.
    spool.refuse(Timestamp(40)).unwrap();
    spool.remove_stored(Agreement::Through(2)).unwrap();
    assert_eq!(spool.append(&recipient, &record("c")), Ok(5));
    let kept = bodies(&spool, &identity);
    assert_eq!(kept[..2], [(3, gap(3, 10, 30)), (4, gap(1, 40, 40))]);
}

#[test]
fn a_crash_between_gap_record_and_its_state_tells_it_once() {
    let home = home();
    let identity = Identity::generate(1);
    let recipient = identity.recipient();
    let mut spool = open(home.path(), LIMITS).unwrap();
    spool.refuse(Timestamp(1)).unwrap();
    let state = spool_path(home.path()).join("gap");
    let bytes = fs::read(&state).unwrap();
    spool.settle_gap(&recipient, &clock()).unwrap();
    drop(spool);
    fs::write(&state, bytes).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o600)).unwrap();
    let mut spool = open(home.path(), LIMITS).unwrap();
    spool.settle_gap(&recipient, &clock()).unwrap();
    assert_eq!(sequences(&spool), [1]);
    assert!(!state.exists());
}

#[test]
fn gap_records_do_not_grow_for_ever() {
    let home = home();
    let recipient = Identity::generate(1).recipient();
    let mut spool = open(home.path(), Limits { records: 1, ..LIMITS }).unwrap();
    spool.append(&recipient, &record("a")).unwrap();
    for wall in 0..300 {
        spool.refuse(Timestamp(wall)).unwrap();
        spool.settle_gap(&recipient, &clock()).unwrap();
    }
    assert_eq!(spool.entries().len(), 257);
    let pending = gap::pending(spool.directory(), Timestamp(0)).unwrap();
    assert!(pending.is_some(), "what is left waits");
}

#[test]
fn links_fifos_and_what_is_open_to_others_are_refused() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 6] = [
        ("link", |spool| {
            std::os::unix::fs::symlink("/etc/passwd", spool.join(records::name(2))).unwrap();
        }),
        ("no plain file", |spool| {
            let fifo = spool.join(records::name(2));
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &fifo,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .unwrap();
        }),
        ("second name", |spool| fs::hard_link(spool.join(records::name(1)), spool.join("other")).unwrap()),
        ("open to others", |spool| {
            fs::set_permissions(spool.join(records::name(1)), fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("open to others", |spool| fs::set_permissions(spool, fs::Permissions::from_mode(0o770)).unwrap()),
        ("link", |spool| {
            fs::rename(spool, spool.with_extension("moved")).unwrap();
            std::os::unix::fs::symlink(spool.with_extension("moved"), spool).unwrap();
        }),
    ];
    for (why, spoil) in spoils {
        let home = home();
        open(home.path(), LIMITS).unwrap().append(&Identity::generate(1).recipient(), &record("a")).unwrap();
        spoil(&spool_path(home.path()));
        let Err(fault) = open(home.path(), LIMITS) else { panic!("{why} was not refused") };
        assert_eq!(fault.kind, FaultKind::Unsafe, "{fault:?}");
        assert!(fault.detail.contains(why), "{fault:?}");
    }
}

#[test]
fn a_state_file_that_is_a_link_is_not_followed() {
    let home = home();
    let victim = home.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let spool = open(home.path(), LIMITS).unwrap();
    std::os::unix::fs::symlink(&victim, spool_path(home.path()).join("recipient")).unwrap();
    let fault = spool.keep_recipient(&Identity::generate(1).recipient()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unsafe);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn two_at_once_are_one_after_another_or_refused() {
    let home = home();
    let first = open(home.path(), LIMITS).unwrap();
    let handle = first.lock_handle().unwrap();
    let Err(fault) = open(home.path(), LIMITS) else { panic!("two hold one lock") };
    assert_eq!(fault.kind, FaultKind::Locked);
    drop(first);
    open(home.path(), LIMITS).expect("the lock is given up though a handle of it is open");
    drop(handle);
}

#[test]
fn damaged_files_go_once_a_newer_record_is_there() {
    let (home, recipient) = (home(), Identity::generate(1).recipient());
    let mut spool = open(home.path(), LIMITS).unwrap();
    for mark in ["a", "b", "c"] {
        spool.append(&recipient, &record(mark)).unwrap();
    }
    drop(spool);
    let path = |sequence| spool_path(home.path()).join(records::name(sequence));
    fs::write(path(2), "").unwrap();
    fs::copy(path(1), path(3)).unwrap();
    let mut spool = open(home.path(), LIMITS).unwrap();
    assert_eq!((spool.newest(), spool.whole()), (3, 1));
    assert!(spool.damage().unwrap().starts_with("2 damaged"));
    assert_eq!(spool.append(&recipient, &record("d")), Ok(4));
    assert_eq!(sequences(&spool), [1, 4]);
    assert_eq!(spool.damage(), None);
    drop(spool);
    assert_eq!(sequences(&open(home.path(), LIMITS).unwrap()), [1, 4]);
}

#[test]
fn garbage_in_state_files_stops_nothing() {
    let (home, recipient) = (home(), Identity::generate(1).recipient());
    let mut spool = open(home.path(), LIMITS).unwrap();
    spool.append(&recipient, &record("a")).unwrap();
    drop(spool);
    for name in ["spool-id", "gap", "recipient", "counters", ".tmp-1-x"] {
        let path = spool_path(home.path()).join(name);
        fs::write(&path, b"\xff\x00garbage").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut spool = open(home.path(), LIMITS).unwrap();
    assert!(!spool_path(home.path()).join(".tmp-1-x").exists());
    assert_eq!(spool.recipient(), Ok(None));
    assert_eq!(spool.append(&recipient, &record("b")), Ok(3), "2 tells of what the garbage counted");
}
