//! Real load on this machine, which ends when it is dropped.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Bytes of one page on every machine that these tests run on; smaller than it is harmless.
const PAGE: usize = 4096;

/// Memory that is really in use.
#[derive(Debug)]
pub struct Memory(Vec<u8>);

impl Memory {
    /// Takes and touches memory until at least `percent` of the machine's is in use.
    pub fn fill_to(percent: f64) -> Self {
        let (total, used) = machine();
        let wanted = (total as f64 * percent / 100.0) as u64;
        let bytes = wanted.saturating_sub(used) as usize;
        let mut memory = vec![0_u8; bytes];
        for (number, byte) in memory.iter_mut().step_by(PAGE).enumerate() {
            *byte = number as u8 | 1;
        }
        Self(black_box(memory))
    }

    /// How much it took.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Per cent of the machine's memory that is in use now, by a reading of its own.
    pub fn used_percent() -> f64 {
        let (total, used) = machine();
        100.0 * used as f64 / total as f64
    }
}

/// Bytes of memory in all, and in use (what is not available).
fn machine() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
    let field = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a kernel since 3.14");
        1024 * line.trim_end_matches("kB").trim().parse::<u64>().expect("a number of kB")
    };
    let total = field("MemTotal:");
    (total, total - field("MemAvailable:"))
}

/// Every processor, busy.
#[derive(Debug)]
pub struct Cpu {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Cpu {
    /// Burns on as many threads as there are processors.
    pub fn burn() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..processors)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    let mut number = 1_u64;
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..10_000 {
                            number =
                                black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                        }
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
