//! `/sys/class/hwmon` and `/sys/class/thermal`: temperatures.

use std::path::Path;

use crate::machine::{Machine, line};
use crate::order;
use crate::reading::{Reader, Reading};

/// The most sensors that are told of.
const MAX_SENSORS: usize = 64;

/// Files `temp1_input` to this one of each chip are asked for.
const MAX_PER_CHIP: u32 = 32;

/// Reads the temperatures of the hardware monitors; where there are none, those of the thermal zones.
pub(super) struct Sensors;

impl Reader for Sensors {
    fn name(&self) -> &'static str {
        "sensors"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let machine = reading.machine;
        let mut values = Vec::new();
        for chip in names(machine, "sys/class/hwmon", "hwmon") {
            chip_values(machine, &format!("sys/class/hwmon/{chip}"), &mut values);
        }
        if values.is_empty() {
            for zone in names(machine, "sys/class/thermal", "thermal_zone") {
                let directory = format!("sys/class/thermal/{zone}");
                let kind = machine.text(&format!("{directory}/type")).map_or(zone, |kind| line(&kind));
                values.extend(celsius(machine, &format!("{directory}/temp")).map(|value| (kind, value)));
            }
        }
        let more = values.len().saturating_sub(MAX_SENSORS);
        let mut told: Vec<String> = Vec::new();
        for (mut sensor, value) in values.into_iter().take(MAX_SENSORS) {
            // Two chips of one kind, such as two disks, are told apart by a number.
            let same = told.iter().filter(|name| **name == sensor).count();
            told.push(sensor.clone());
            if same > 0 {
                sensor = format!("{sensor} #{}", same + 1);
            }
            reading.gauge_of("temperature", "sensor", &sensor, value);
        }
        if more > 0 {
            Err(format!("{more} sensors more than the {MAX_SENSORS} that are told of"))
        } else {
            Ok(())
        }
    }
}

/// Each sensor of a chip, as `coretemp Package id 0`; sysfs-class-hwmon: `temp[1-*]_input` in thousandths.
fn chip_values(machine: &Machine, directory: &str, values: &mut Vec<(String, f64)>) {
    let chip = machine.text(&format!("{directory}/name")).map(|text| line(&text)).unwrap_or_default();
    for number in 1..=MAX_PER_CHIP {
        let Some(value) = celsius(machine, &format!("{directory}/temp{number}_input")) else { continue };
        let label = machine.text(&format!("{directory}/temp{number}_label"));
        let label = label.map_or_else(|_| format!("temp{number}"), |label| line(&label));
        values.push((format!("{chip} {label}"), value));
    }
}

/// Thousandths of a degree; values that no machine survives come of a sensor that is not connected.
fn celsius(machine: &Machine, path: &str) -> Option<f64> {
    let value = machine.number::<i64>(path)? as f64 / 1000.0;
    (-60.0..=200.0).contains(&value).then_some(value)
}

/// The names in a directory that begin with `start`, by their number.
fn names(machine: &Machine, directory: &str, start: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(machine.path(Path::new(directory))) else { return Vec::new() };
    let number = |name: &str| name.strip_prefix(start).and_then(|number| number.parse::<u32>().ok());
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| Some((number(&name)?, name)))
        .collect();
    order::sort(&mut names);
    names.into_iter().map(|(_, name)| name).collect()
}
