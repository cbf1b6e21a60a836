//! Several engines on one PostgreSQL of their own, sharing key and machines, as `isobar serve --store` is meant to be used.
//!
//! Everything ends with the value, machines and database included.

use crate::engine::{Engine, Setup, Shared};
use crate::vms;
use crate::wait::{SOON, within};

/// Engines that share a database of their own, and what they share.
#[derive(Debug)]
pub struct Group {
    /// In the order of their starts.
    pub engines: Vec<Engine>,
    /// What they share.
    pub shared: Shared,
    _folder: tempfile::TempDir,
    /// Their database.
    pub database: isobar_tests_postgres::Database,
}

impl Group {
    /// Starts so many, each set up so, and waits until they have shared the work.
    ///
    /// # Panics
    ///
    /// When they do not come up, or there is no PostgreSQL.
    pub fn start(count: usize, setup: Setup) -> Self {
        let database = isobar_tests_postgres::database();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shared = Shared {
            store: database.url.clone(),
            key_file: folder.path().join("key"),
            machines: folder.path().join("machines"),
        };
        let engines: Vec<Engine> = (0..count).map(|_| setup.clone().sharing(&shared).start()).collect();
        let group = Self {
            engines,
            shared,
            _folder: folder,
            database,
        };
        group.balanced(0, count);
        group
    }

    /// Waits until so many engines, asked through one of them, have every shard between them.
    ///
    /// # Panics
    ///
    /// When they do not in time.
    pub fn balanced(&self, ask: usize, count: usize) {
        within(SOON, "every shard has an engine", || {
            let discovery = self.engines[ask].json(&["status"]);
            let engines = discovery["engines"].as_array().cloned().unwrap_or_default();
            let shards: u64 = engines.iter().filter_map(|engine| engine["shards"].as_u64()).sum();
            let done = engines.len() == count && shards == 8;
            if done {
                Ok(())
            } else {
                Err(discovery["engines"].to_string())
            }
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Engines first: one that lives would start what is killed here again.
        self.engines.clear();
        vms::kill_all(&self.shared.machines);
    }
}
