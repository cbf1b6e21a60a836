//! What the provider is told: where it keeps machines, what it boots, what it rents at which nominal price.

use std::path::PathBuf;

use isobar_engine_model::id::ProviderId;
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources};

/// Where machines live, what they boot, and what they are taken to cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// The name specs use.
    pub id: ProviderId,
    /// Folder of the machines. Made if absent; one provider at a time works in it, several are safe.
    pub data: PathBuf,
    /// Folder of the node image, as `isobar-image build --out` leaves it.
    pub image: PathBuf,
    /// QEMU's program: a path, or a name that is looked up.
    pub qemu: PathBuf,
    /// How processors are emulated.
    pub acceleration: Acceleration,
    /// What can be rented, the same in every region.
    pub shapes: Vec<Shape>,
    /// What the kernel and the agent take of every machine.
    pub reserved: Resources,
    /// All machines together have at most so much memory.
    pub memory_max: Mebibytes,
}

/// How processors are emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// In software: slow, and works everywhere.
    Software,
    /// By the host's processor where a machine really comes up with it, else in software. Found out once, within a
    /// bound: that `/dev/kvm` exists says nothing.
    HostIfItWorks,
}

/// An instance type. Its price is nominal: local machines cost nothing, but plans compare prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Name of the instance type.
    pub name: String,
    /// Whole virtual processors.
    pub cpus: u32,
    /// Memory in all.
    pub memory: Mebibytes,
    /// Nominal price.
    pub price: MicroUsdPerHour,
}

impl LocalConfig {
    /// The usual three shapes, in software, in at most three quarters of the host's memory.
    pub fn new(id: ProviderId, data: PathBuf, image: PathBuf) -> Self {
        Self {
            id,
            data,
            image,
            qemu: PathBuf::from("qemu-system-x86_64"),
            acceleration: Acceleration::Software,
            shapes: vec![
                Shape::new("local.small", 1, 512, 5_000),
                Shape::new("local.medium", 1, 1024, 10_000),
                Shape::new("local.large", 2, 2048, 20_000),
            ],
            reserved: Resources {
                cpu: MilliCpus(100),
                memory: Mebibytes(128),
            },
            memory_max: Mebibytes(host_memory_mib() / 4 * 3),
        }
    }
}

impl Shape {
    /// A shape with memory in MiB and a price in micro-dollars an hour.
    pub fn new(name: &str, cpus: u32, memory_mib: u32, price_micro_usd_hour: i64) -> Self {
        Self {
            name: name.to_owned(),
            cpus,
            memory: Mebibytes(memory_mib),
            price: MicroUsdPerHour(price_micro_usd_hour),
        }
    }

    /// What the machine has in all.
    pub fn total(&self) -> Resources {
        Resources {
            cpu: MilliCpus(self.cpus.saturating_mul(1000)),
            memory: self.memory,
        }
    }
}

/// The host's memory in MiB; 0 where it cannot be read, which rents nothing.
fn host_memory_mib() -> u32 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    mem_total_kib(&text).map_or(0, |kib| kib / 1024)
}

fn mem_total_kib(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_memory_is_read_in_kib() {
        assert_eq!(
            mem_total_kib("MemFree: 1 kB\nMemTotal:       16384000 kB\n"),
            Some(16_384_000)
        );
        assert_eq!(mem_total_kib(""), None);
    }
}
