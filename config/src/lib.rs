//! config.xml, parsed into [`Settings`], every fault at once.

pub mod settings;

pub use settings::*;
