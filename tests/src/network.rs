//! A network of its own for a host: a namespace (network_namespaces(7)), and a cable (veth(4)) from there to the rest of the
//! test, which can be pulled out. Only root can make it.

use crate::child::output;

/// A network with one host in it.
#[derive(Debug)]
pub struct Network {
    name: String,
    cable: String,
    outside: String,
}

impl Network {
    /// The `number`-th of this test. Addresses are of the block that is set aside for such tests (RFC 2544).
    pub fn new(number: u8) -> Self {
        let process = std::process::id();
        let network = Self {
            name: format!("fleet-{process}-{number}"),
            cable: format!("fl{}n{number}", process % 1_000_000),
            outside: format!("198.18.{number}.1"),
        };
        let Self { name, cable, outside } = &network;
        ip(&format!("netns add {name}"));
        ip(&format!("link add {cable} type veth peer name eth0 netns {name}"));
        ip(&format!("address add {outside}/30 dev {cable}"));
        ip(&format!("link set {cable} up"));
        ip(&format!("-n {name} address add 198.18.{number}.2/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} link set lo up"));
        network
    }

    /// The namespace's name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address at which those in it find the rest of the test.
    pub fn outside(&self) -> &str {
        &self.outside
    }

    /// Pulls the cable out: what is sent goes nowhere, and nobody hears that it does.
    pub fn cut(&self) {
        ip(&format!("link set {} down", self.cable));
    }

    /// Puts it back.
    pub fn heal(&self) {
        ip(&format!("link set {} up", self.cable));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cable goes with one of its ends.
        ip(&format!("netns delete {}", self.name));
    }
}

fn ip(arguments: &str) {
    output("ip", &arguments.split(' ').collect::<Vec<_>>());
}
