//! `/proc/uptime`.

use crate::reading::{Reader, Reading};

/// Reads `/proc/uptime`.
pub(super) struct Uptime;

impl Reader for Uptime {
    fn name(&self) -> &'static str {
        "uptime"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let text = reading.machine.text("proc/uptime")?;
        let seconds = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
        let seconds = seconds.filter(|seconds| *seconds >= 0.0);
        reading.gauge("uptime", seconds.ok_or("/proc/uptime does not start with a number")?);
        Ok(())
    }
}
