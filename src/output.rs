//! Everything that the command prints: results to standard output, words about them to standard error.
//!
//! Colours only where a person looks and `NO_COLOR` is not set (anstream takes them away otherwise). Whoever closes the
//! pipe has read enough: the error comes back as `BrokenPipe` and ends the command quietly.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::cli::Format;

/// The style of errors.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// The style of warnings and of what is under way.
pub(crate) const SOME: Style = AnsiColor::Yellow.on_default();
/// The style of what is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// The style of headings.
pub(crate) const HEAD: Style = Style::new().bold();
/// The style of what matters less.
pub(crate) const DIM: Style = Style::new().dimmed();

/// Where results and words go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// In a format.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(&self) -> bool {
        match self.format {
            Format::Text => false,
            Format::Json => true,
        }
    }

    /// Whether a person follows: progress is drawn, questions can be asked.
    pub(crate) fn is_watched(&self) -> bool {
        !self.is_json() && io::stderr().is_terminal()
    }

    /// The result: the document for programs, the words for people.
    pub(crate) fn result<T: Serialize>(&self, value: &T, words: impl FnOnce() -> String) -> io::Result<()> {
        if self.is_json() {
            self.document(value)
        } else {
            self.text(&words())
        }
    }

    /// A JSON document as the result.
    pub(crate) fn document<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, value)?;
        writeln!(out)
    }

    /// Words as the result.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        let mut out = anstream::stdout().lock();
        if text.is_empty() || text.ends_with('\n') {
            write!(out, "{text}")
        } else {
            writeln!(out, "{text}")
        }?;
        out.flush()
    }

    /// Words beside the result; none for programs.
    pub(crate) fn note(&self, text: &str) -> io::Result<()> {
        if self.is_json() {
            Ok(())
        } else {
            writeln!(anstream::stderr().lock(), "{text}")
        }
    }

    /// An error in words.
    pub(crate) fn error(&self, text: &str) -> io::Result<()> {
        writeln!(anstream::stderr().lock(), "{BAD}error:{BAD:#} {text}")
    }

    /// An error as a JSON document.
    pub(crate) fn json_error<T: Serialize>(&self, error: &T) -> io::Result<()> {
        let mut out = io::stderr().lock();
        serde_json::to_writer_pretty(&mut out, &serde_json::json!({ "error": error }))?;
        writeln!(out)
    }

    /// Asks a person; only `y` or `yes` is a yes.
    pub(crate) fn ask(&self, question: &str) -> io::Result<bool> {
        write!(anstream::stderr().lock(), "{HEAD}{question}{HEAD:#} [y/N] ")?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Whether there is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        self.is_watched() && io::stdin().is_terminal()
    }
}
