//! `/proc/loadavg`.

use crate::reading::{Reader, Reading};

/// Reads `/proc/loadavg`; after the cores are counted.
pub(super) struct Load;

impl Reader for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let text = reading.machine.text("proc/loadavg")?;
        let [one, five, fifteen] = parse(&text).ok_or("/proc/loadavg does not start with three numbers")?;
        reading.gauge("load", one);
        reading.gauge("load5", five);
        reading.gauge("load15", fifteen);
        let cores = reading.counters.cores.len();
        if cores > 0 {
            reading.gauge("load-per-core", five / cores as f64);
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<[f64; 3]> {
    let mut numbers =
        text.split_whitespace().map(|word| word.parse::<f64>().ok().filter(|load| *load >= 0.0));
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_numbers_are_the_load() {
        assert_eq!(parse("0.50 1.25 2.00 3/456 789\n"), Some([0.5, 1.25, 2.0]));
        assert_eq!(parse("0.50 nan 2.00"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            parse(&text);
        }
    }
}
