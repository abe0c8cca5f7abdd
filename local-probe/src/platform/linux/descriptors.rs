//! `/proc/sys/fs/file-nr`: file descriptors of the whole machine.

use crate::reading::{Reader, Reading, percent};

/// Reads `/proc/sys/fs/file-nr`.
pub(super) struct Descriptors;

impl Reader for Descriptors {
    fn name(&self) -> &'static str {
        "descriptors"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let text = reading.machine.text("proc/sys/fs/file-nr")?;
        let value = parse(&text).ok_or("/proc/sys/fs/file-nr does not hold three numbers")?;
        reading.gauge("fds", value);
        Ok(())
    }
}

/// Of `allocated free maximum` (proc(5)) the share in use.
fn parse(text: &str) -> Option<f64> {
    let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().ok());
    let (allocated, free, most) = (numbers.next()??, numbers.next()??, numbers.next()??);
    percent(allocated.saturating_sub(free), most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_free_is_not_in_use() {
        assert_eq!(parse("1200\t200\t10000\n"), Some(10.0));
        assert_eq!(parse("1200\t0\t0\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            parse(&text);
        }
    }
}
