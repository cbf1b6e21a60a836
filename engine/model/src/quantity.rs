//! Amounts: money, time, memory, processor share. Each has one unit, and its name says which.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Money per hour in millionths of a US dollar. Integer, so that sums are exact and plans hash the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct MicroUsdPerHour(pub i64);

impl std::ops::Add for MicroUsdPerHour {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for MicroUsdPerHour {
    fn sum<I: Iterator<Item = Self>>(prices: I) -> Self {
        prices.fold(Self(0), |a, b| a + b)
    }
}

impl fmt::Display for MicroUsdPerHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, micro) = if self.0 < 0 {
            ("-", self.0.unsigned_abs())
        } else {
            ("", self.0.unsigned_abs())
        };
        write!(f, "{sign}${}.{:04}/h", micro / 1_000_000, micro % 1_000_000 / 100)
    }
}

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time and `ms` milliseconds.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Text that is not an amount of memory or of processor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct NotAQuantity {
    text: String,
    what: &'static str,
}

/// JSON Schema of a type that is written as text of one pattern.
macro_rules! text_schema {
    ($name:ident, $pattern:literal) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}
pub(crate) use text_schema;

/// Memory in MiB. Written `64MiB` or `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mebibytes(pub u32);

text_schema!(Mebibytes, r"^[1-9][0-9]*(MiB|GiB)$");

impl TryFrom<String> for Mebibytes {
    type Error = NotAQuantity;

    fn try_from(text: String) -> Result<Self, NotAQuantity> {
        let parsed = if let Some(n) = text.strip_suffix("MiB") {
            n.parse::<u32>().ok()
        } else if let Some(n) = text.strip_suffix("GiB") {
            n.parse::<u32>().ok().and_then(|n| n.checked_mul(1024))
        } else {
            None
        };
        match parsed {
            Some(mib) if mib > 0 => Ok(Self(mib)),
            Some(_) | None => Err(NotAQuantity {
                text,
                what: "an amount of memory: write `64MiB` or `2GiB`",
            }),
        }
    }
}

impl From<Mebibytes> for String {
    fn from(memory: Mebibytes) -> String {
        memory.to_string()
    }
}

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1024 && self.0.is_multiple_of(1024) {
            write!(f, "{}GiB", self.0 / 1024)
        } else {
            write!(f, "{}MiB", self.0)
        }
    }
}

/// Processor share in thousandths of one virtual CPU. Written `250m` or `2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "CpuText", into = "String")]
pub struct MilliCpus(pub u32);

/// How a processor share is written: whole CPUs as a number, or text such as `250m`.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum CpuText {
    /// Whole virtual CPUs.
    Whole(u32),
    /// Thousandths (`250m`) or whole CPUs (`2`).
    Text(#[schemars(regex(pattern = r"^[1-9][0-9]*m?$"))] String),
}

impl TryFrom<CpuText> for MilliCpus {
    type Error = NotAQuantity;

    fn try_from(written: CpuText) -> Result<Self, NotAQuantity> {
        let text = match written {
            CpuText::Whole(n) => n.to_string(),
            CpuText::Text(text) => text,
        };
        let parsed = match text.strip_suffix('m') {
            Some(n) => n.parse::<u32>().ok(),
            None => text.parse::<u32>().ok().and_then(|n| n.checked_mul(1000)),
        };
        match parsed {
            Some(milli) if milli > 0 => Ok(Self(milli)),
            Some(_) | None => Err(NotAQuantity {
                text,
                what: "a processor share: write `250m` or `2`",
            }),
        }
    }
}

impl From<MilliCpus> for String {
    fn from(cpus: MilliCpus) -> String {
        cpus.to_string()
    }
}

impl fmt::Display for MilliCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

/// What a replica needs, or what a machine has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Processor share: `250m` or `2`.
    pub cpu: MilliCpus,
    /// Memory: `64MiB` or `2GiB`.
    pub memory: Mebibytes,
}

impl Resources {
    /// Whether `need` fits into this.
    pub fn fits(&self, need: &Resources) -> bool {
        need.cpu <= self.cpu && need.memory <= self.memory
    }

    /// This less `taken`, never below zero.
    #[must_use]
    pub fn less(&self, taken: &Resources) -> Resources {
        Resources {
            cpu: MilliCpus(self.cpu.0.saturating_sub(taken.cpu.0)),
            memory: Mebibytes(self.memory.0.saturating_sub(taken.memory.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_reads_and_writes_its_unit() {
        let read = |t: &str| Mebibytes::try_from(t.to_owned()).ok().map(|m| (m.0, m.to_string()));
        assert_eq!(read("64MiB"), Some((64, "64MiB".into())));
        assert_eq!(read("2GiB"), Some((2048, "2GiB".into())));
        for bad in ["64", "0MiB", "64MB", "-1MiB", "9999999GiB"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn cpus_read_as_number_or_text() {
        let read = |json: &str| serde_json::from_str::<MilliCpus>(json).ok().map(|c| c.0);
        assert_eq!(read("2"), Some(2000));
        assert_eq!(read(r#""250m""#), Some(250));
        assert_eq!(read(r#""0""#), None);
        assert_eq!(read("0.5"), None);
    }

    #[test]
    fn prices_print_in_dollars() {
        assert_eq!(MicroUsdPerHour(1_234_500).to_string(), "$1.2345/h");
        assert_eq!(MicroUsdPerHour(-500_000).to_string(), "-$0.5000/h");
    }
}
