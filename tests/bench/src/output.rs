//! The only place that prints: lines for people while it measures, then one JSON line a figure.

#![expect(clippy::print_stdout, reason = "this is the program's output")]

use crate::figure::Figure;

/// A line for people.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Every figure in a sentence, then every figure as JSON.
pub(crate) fn figures(figures: &[Figure]) -> anyhow::Result<()> {
    println!();
    for figure in figures {
        println!("{}", figure.sentence());
    }
    println!();
    for figure in figures {
        println!("{}", serde_json::to_string(&figure.line())?);
    }
    Ok(())
}
