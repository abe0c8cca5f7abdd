//! The machine as a whole: a line each for what it has.

use std::fmt::Write as _;

use model::text::escape;
use model::{Host, Unit};

use super::values::Values;
use crate::platform;

/// What the machine is.
pub(super) fn host(host: &Host, values: &Values) -> String {
    let known = |text: &str, without: &str| if text.is_empty() { without.to_owned() } else { escape(text) };
    let inside = match host.virtualization.as_str() {
        "" | "none" => String::new(),
        kind => format!("  in {}", escape(kind)),
    };
    let reboot = if values.is_set("reboot-required", "") { "  reboot required" } else { "" };
    format!(
        "{}  {}  {} {} {}{inside}  up {}{reboot}\n",
        known(&host.hostname, "(no name)"),
        known(&host.os, "(unknown system)"),
        platform::NAME,
        known(&host.kernel, "?"),
        known(&host.arch, "?"),
        values.show("uptime", ""),
    )
}

/// What it does; a line without a value is left out.
pub(super) fn machine(values: &Values) -> String {
    let swap = if values.find("swap-total", "").is_some() {
        values.phrase(&[
            ("swap", "{}"),
            ("swap-total", " of {}"),
            ("swap-in", ", {} in"),
            ("swap-out", ", {} out"),
        ])
    } else {
        "none".to_owned()
    };
    let rows = [
        (
            "cpu",
            values.phrase(&[
                ("cpu", "{} busy"),
                ("cores", ", {} cores"),
                ("cpu-busiest-core", ", busiest {}"),
            ]),
        ),
        (
            "",
            values.phrase(&[
                ("cpu-user", "user {}"),
                ("cpu-system", ", system {}"),
                ("iowait", ", iowait {}"),
                ("steal", ", steal {}"),
            ]),
        ),
        ("quota", values.phrase(&[("cpu-quota", "{} used")])),
        (
            "load",
            values.phrase(&[
                ("load", "{}"),
                ("load5", "  {}"),
                ("load15", "  {}"),
                ("load-per-core", "  ({} per core)"),
            ]),
        ),
        (
            "memory",
            values.phrase(&[
                ("memory", "{}"),
                ("memory-total", " of {}"),
                ("memory-available", ", {} available"),
            ]),
        ),
        ("swap", swap),
        ("pressure", pressure(values)),
        ("killed", killed(values)),
        (
            "processes",
            values.phrase(&[
                ("processes", "{}"),
                ("processes-running", ", {} running"),
                ("processes-blocked", ", {} blocked"),
                ("processes-zombie", ", {} zombie"),
            ]),
        ),
        ("named", named(values)),
        ("users", values.phrase(&[("users", "{} logged in")])),
        ("updates", values.phrase(&[("updates", "{}"), ("security-updates", ", {} for security")])),
        ("descriptors", values.phrase(&[("fds", "{} in use")])),
        (
            "tcp",
            values.phrase(&[
                ("tcp-sockets", "{} sockets"),
                ("tcp-established", ", {} established"),
                ("tcp-time-wait", ", {} in time-wait"),
                ("tcp-retransmits", ", {} sent again"),
                ("tcp-listen-drops", ", {} refused"),
            ]),
        ),
        ("conntrack", values.phrase(&[("conntrack", "{} in use")])),
        ("temperature", temperature(values)),
    ];
    let mut text = String::new();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "{name:<13}{value}");
    }
    text
}

fn pressure(values: &Values) -> String {
    let resource = |resource: &String| {
        let some = values.show("pressure", resource);
        match values.known("pressure-full", resource) {
            Some(full) => format!("{resource} {some} (all {full})"),
            None => format!("{resource} {some}"),
        }
    };
    values.objects(&["pressure"]).iter().map(resource).collect::<Vec<_>>().join(", ")
}

/// Only where there is something to tell.
fn killed(values: &Values) -> String {
    if values.is_set("oom", "") { values.phrase(&[("oom", "{} for want of memory")]) } else { String::new() }
}

fn named(values: &Values) -> String {
    let count = |name: &String| format!("{} {}", escape(name), values.show("process", name));
    values.objects(&["process"]).iter().map(count).collect::<Vec<_>>().join(", ")
}

fn temperature(values: &Values) -> String {
    let count = values.objects(&["temperature"]).len();
    values.highest("temperature").map_or_else(String::new, |(sensor, value)| {
        let of = if count > 1 { format!(", the hottest of {count}") } else { String::new() };
        format!("{} at {}{of}", Unit::Celsius.show(value), escape(&sensor))
    })
}
