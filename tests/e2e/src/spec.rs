//! Specs of the tests: small clusters on the local provider.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A cluster `box` of one site and up to `machines` machines of the pool `general`, with these workloads: YAML, indented
/// by two spaces.
pub fn one_site(machines: u32, workloads: &str) -> String {
    let workloads = if workloads.is_empty() { "  {}\n" } else { workloads };
    format!(
        "cluster: box\n\
         sites:\n  here: {{ provider: local, region: here }}\n\
         pools:\n  general: {{ machines: {{ min: {machines}, max: {} }} }}\n\
         workloads:\n{workloads}",
        machines.max(1)
    )
}

/// A service that asks for no machine, since it has no replica: changing it changes the cluster's generation only.
pub fn idle(image_tag: u32) -> String {
    one_site(
        0,
        &format!(
            "  web:\n    kind: {{ service: {{ replicas: 0 }} }}\n    image: localhost:5000/box:{image_tag}\n    \
             resources: {{ cpu: 100m, memory: 32MiB }}\n"
        ),
    )
}

/// Writes a spec to a new file of a folder and returns its path.
///
/// # Panics
///
/// When it cannot be written.
pub fn keep(folder: &Path, spec: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let path = folder.join(format!("spec-{}.yaml", COUNT.fetch_add(1, Ordering::Relaxed)));
    fs::write(&path, spec).expect("the folder can be written");
    path.display().to_string()
}
