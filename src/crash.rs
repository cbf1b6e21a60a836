//! Lets tests end the engine, as `kill -9` would, between a cloud write and its journal. Not in release builds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use isobar_engine_control::CrashPoint;

/// `<crash point>` or `<crash point>:<n>`: at the n-th time that the engine passes it.
const VARIABLE: &str = "ISOBAR_TEST_CRASH_AT";

/// What the engine does at its crash points.
pub(crate) type AtCrashPoint = Arc<dyn Fn(CrashPoint) + Send + Sync>;

/// What the environment asks for; nothing in a release build.
pub(crate) fn from_environment() -> Result<Option<AtCrashPoint>> {
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    let Ok(wanted) = std::env::var(VARIABLE) else {
        return Ok(None);
    };
    let (name, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    let count: u32 = count
        .parse()
        .with_context(|| format!("{VARIABLE}: `{count}` is not a number"))?;
    let point = CrashPoint::ALL
        .into_iter()
        .find(|point| point.name() == name)
        .with_context(|| format!("{VARIABLE}: there is no crash point `{name}`"))?;
    let passed = AtomicU32::new(0);
    Ok(Some(Arc::new(move |here| {
        if here == point && passed.fetch_add(1, Ordering::SeqCst) + 1 == count {
            tracing::error!(point = here.name(), "ending here, as asked");
            std::process::abort();
        }
    })))
}
