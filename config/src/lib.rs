//! config.xml, parsed into [`Settings`], every fault at once.
//!
//! In stages: bytes -> text -> trees whose parts know their places (`tree`, `include`) -> what each element says (`client`,
//! `alert`, `mail`, ...) -> settings, inherited and resolved (`fleet`, `proxy`, `parent`, `file`). Each stage goes on
//! behind a fault as far as that makes sense, so that one pass tells them all.

mod alert;
mod client;
mod environment;
mod fault;
mod file;
mod files;
mod fleet;
mod grammar;
mod heartbeat;
mod host_key;
mod include;
mod mail;
mod markup;
mod mask;
mod nearest;
mod opening;
mod parent;
mod postgres;
mod proxy;
mod reading;
mod receiver;
mod rule_text;
#[cfg(test)]
mod schema;
mod secret;
pub mod settings;
mod source;
mod storage;
mod summary;
mod template;
mod tree;
mod value;
mod window;

pub use environment::Environment;
pub use fault::{Fault, Faults};
pub use file::{load, load_to_alert, parse, parse_all};
pub use nearest::nearest;
pub use rule_text::rule_text;
pub use settings::*;
pub use storage::storage_url;
pub use summary::summary;
