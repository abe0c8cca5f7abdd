//! Silences and acknowledgements.

use model::{Acknowledgement, EpisodeId, Fact, Silence};

use super::{Outcomes, Store, at, enrol, episode, fact, named};
use crate::Step;

fn silence(target: &str, from: i64, until: i64) -> Silence {
    let why = "é said so".to_owned();
    Silence { id: 0, target: target.to_owned(), metric: None, from: at(from), until: at(until), why }
}

/// It is told of as long as it is not over, also before it begins; it can end earlier, once.
pub fn a_silence_lasts_until_its_end(store: &mut dyn Store) -> Outcomes {
    let metric = Some("disk".to_owned());
    let mut made = [silence("web", 10, 20), Silence { metric, ..silence("@all", 15, 90) }];
    for silence in &mut made {
        silence.id = store.add_silence(silence)?;
    }
    assert_ne!(made[0].id, made[1].id);
    assert_eq!(store.silences(at(5))?, made);
    assert_eq!(store.silences(at(19))?, made);
    assert_eq!(store.silences(at(20))?, made[1..]);
    assert!(!store.end_silence(made[0].id, at(20))?, "it is over");
    assert!(store.end_silence(made[1].id, at(30))? && !store.end_silence(made[1].id, at(31))?);
    assert!(!store.end_silence(4711, at(1))?);
    assert_eq!(store.silences(at(29))?, [Silence { until: at(30), ..made[1].clone() }]);
    assert_eq!(store.silences(at(30))?, []);
    assert!(store.end_silence(made[1].id, at(1))?);
    assert_eq!(store.silences(at(14))?[1].until, at(15), "it ends no earlier than it begins");
    Ok(())
}

/// What waits for the end of a silence is free where that ends early; what waits for something else is not.
pub fn news_waits_no_longer_than_its_silence(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let id = store.add_silence(&silence("web", 10, 90))?;
    let problem = episode(web, "/", 5);
    let waits = |ordinal, seconds| Fact { after: at(seconds), ..fact(&problem, "a@x", ordinal) };
    let facts = vec![waits(0, 90), waits(1, 80)];
    store.commit(&Step { episodes: vec![problem.clone()], facts, ..Step::default() })?;
    assert!(store.end_silence(id, at(30))?);
    let after: Vec<_> = store.untold()?.into_iter().map(|(_, fact)| fact.after).collect();
    assert_eq!(after, [at(30), at(80)]);
    Ok(())
}

/// Through a new name; and they go with it.
pub fn silences_follow_their_client(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    for target in ["web", "db", "@web"] {
        store.add_silence(&silence(target, 10, 20))?;
    }
    store.rename(web, &named("www"))?;
    let targets = |store: &mut dyn Store| -> Result<Vec<String>, crate::StoreError> {
        Ok(store.silences(at(0))?.into_iter().map(|silence| silence.target).collect())
    };
    assert_eq!(targets(store)?, ["www", "db", "@web"]);
    store.purge(web)?;
    assert_eq!(targets(store)?, ["db", "@web"]);
    Ok(())
}

/// Of each episode; of none that is not there, and none of a client that is gone.
pub fn the_newest_acknowledgement_counts(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let (one, other) = (episode(web, "/", 9), episode(web, "/var", 9));
    store.commit(&Step { episodes: vec![one.clone(), other.clone()], ..Step::default() })?;
    let acknowledgement = |episode: &EpisodeId, from, until: Option<i64>| Acknowledgement {
        episode: episode.clone(),
        from: at(from),
        until: until.map(at),
        why: format!("since {from}"),
    };
    let none = EpisodeId("none".to_owned());
    assert!(store.acknowledge(&acknowledgement(&none, 1, None)).is_err());
    let newest = acknowledgement(&one.id, 30, Some(40));
    for each in [acknowledgement(&one.id, 30, None), acknowledgement(&one.id, 20, None), newest.clone()] {
        store.acknowledge(&each)?;
    }
    assert_eq!(store.acknowledgements(&[other.id.clone(), none])?, []);
    let of_other = acknowledgement(&other.id, 10, None);
    store.acknowledge(&of_other)?;
    let all = [other.id, one.id.clone(), one.id.clone()];
    assert_eq!(store.acknowledgements(&all)?, [newest, of_other]);
    store.purge(web)?;
    assert_eq!(store.acknowledgements(&[one.id])?, []);
    Ok(())
}
