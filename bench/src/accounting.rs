//! What processes cost, from the kernel's own books.

use std::fs;
use std::io;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// What some processes have used so far, or between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Time on a CPU, in nanoseconds, the kernel's work for them included.
    pub(crate) cpu_ns: u64,
    /// Times that they waited for something.
    pub(crate) voluntary: u64,
    /// Times that they were made to wait for a CPU.
    pub(crate) involuntary: u64,
}

impl Usage {
    /// Of a process and its threads. Nothing once it has ended.
    pub(crate) fn of(pid: u32) -> Self {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Self::default() };
        let usages = tasks.flatten().map(|task| {
            let path = task.path();
            let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
            let status = read("status");
            Self {
                cpu_ns: first_number(&read("schedstat")).unwrap_or(0),
                voluntary: field(&status, "voluntary_ctxt_switches:"),
                involuntary: field(&status, "nonvoluntary_ctxt_switches:"),
            }
        });
        usages.fold(Self::default(), Self::add)
    }

    /// Of several processes.
    pub(crate) fn of_all(pids: &[u32]) -> Self {
        pids.iter().map(|&pid| Self::of(pid)).fold(Self::default(), Self::add)
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
        }
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

/// Memory that a process has resident, in KiB.
pub(crate) fn rss_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// The most memory that a process has had resident since [`forget_peak`], in KiB.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, name: &str) -> u64 {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), name)
}

/// Has the peak of a process counted from now on.
pub(crate) fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// Time that all CPUs together have worked, for this machine or, under a hypervisor, for others.
pub(crate) fn machine_busy_ns() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|&place| ticks.get(place)).sum::<u64>();
    Ok(busy * TICK_NS)
}

/// Time on a CPU of the children of this process that it has waited for.
pub(crate) fn ended_children_ns() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // After the name, which may have spaces, comes field 3.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let number = |place: usize| {
        fields.split_whitespace().nth(place - 3).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok((number(16) + number(17)) * TICK_NS)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn field(status: &str, name: &str) -> u64 {
    status.lines().find_map(|line| first_number(line.strip_prefix(name)?)).unwrap_or(0)
}

/// The kernel counts in hundredths of a second towards programs, whatever it does inside.
const TICK_NS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn work_is_booked_on_the_process_that_does_it() {
        let pid = std::process::id();
        let before = Usage::of(pid);
        // Until it shows: what is running is booked at the next tick.
        let mut sum = 0_u64;
        while (Usage::of(pid) - before).cpu_ns < 20_000_000 {
            (0..1_000_000).for_each(|number| sum = black_box(sum).wrapping_add(number));
        }
        assert!(rss_kib(pid) > 100);
        assert!(machine_busy_ns().unwrap() > 0);
        assert_eq!(Usage::of(u32::MAX), Usage::default(), "nobody");
    }
}
