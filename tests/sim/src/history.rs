//! A run's history: one line an event, with virtual time, who and what. No random bytes in it: one seed gives the same
//! text on every machine.

use std::fmt::{Display, Write};

use tokio::time::Instant;

/// Lines beyond so many are counted and not kept.
const LINES_MAX: usize = 200_000;

/// See the module.
#[derive(Debug)]
pub struct History {
    began: Instant,
    text: String,
    lines: usize,
}

impl History {
    /// An empty history that begins now.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            text: String::new(),
            lines: 0,
        }
    }

    /// Virtual time since the begin, in ms.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a line.
    pub fn note(&mut self, who: impl Display, what: impl Display) {
        self.lines += 1;
        if self.lines <= LINES_MAX {
            let (s, ms) = (self.now_ms() / 1000, self.now_ms() % 1000);
            let who = who.to_string();
            writeln!(self.text, "{s:>6}.{ms:03}  {who:<14}  {what}").expect("a string takes everything");
        }
    }

    /// All lines.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}
