//! A hop of a ProxyJump as it is written.

/// `[user@]host[:port]`, or the same as a URI; an address may stand in brackets (ssh_config(5), `ProxyJump`). What is not
/// written, ssh knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Jump<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) host: &'a str,
    pub(super) port: Option<&'a str>,
}

impl<'a> Jump<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.strip_prefix("ssh://").map_or(text, |text| text.trim_end_matches('/'));
        let (user, place) = text.rsplit_once('@').map_or((None, text), |(user, place)| (Some(user), place));
        let bracketed = place.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            // A second colon makes it an address of IPv6.
            None => match place.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (place, None),
            },
        };
        Self { user, host, port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_taken_apart() {
        let jump = |text| {
            let Jump { user, host, port } = Jump::of(text);
            (user.unwrap_or_default(), host, port.unwrap_or_default())
        };
        assert_eq!(jump("gate"), ("", "gate", ""));
        assert_eq!(jump("admin@gate:2022"), ("admin", "gate", "2022"));
        assert_eq!(jump("a@b@gate"), ("a@b", "gate", ""));
        assert_eq!(jump("admin@[fd00::1]:2022"), ("admin", "fd00::1", "2022"));
        assert_eq!(jump("[192.0.2.1]"), ("", "192.0.2.1", ""));
        assert_eq!(jump("fd00::1"), ("", "fd00::1", ""));
        assert_eq!(jump("ssh://ops@gate:22/"), ("ops", "gate", "22"));
    }
}
