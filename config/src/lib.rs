//! config.xml, parsed into [`Settings`], every fault at once.
//!
//! In stages: bytes -> text -> a tree whose parts know their places (`tree`) -> what each element says (`client`,
//! `alert`, `mail`, `storage`, `template`) -> settings, inherited and resolved (`fleet`, `file`). Each stage goes on
//! behind a fault as far as that makes sense, so that one pass tells them all.

mod alert;
mod client;
mod environment;
mod fault;
mod file;
mod fleet;
mod grammar;
mod host_key;
mod mail;
mod markup;
mod nearest;
mod parent;
mod proxy;
mod reading;
mod secret;
pub mod settings;
mod source;
mod storage;
mod summary;
mod template;
mod tree;
mod value;

pub use environment::Environment;
pub use fault::{Fault, Faults};
pub use file::{load, parse};
pub use nearest::nearest;
pub use settings::*;
pub use summary::summary;
