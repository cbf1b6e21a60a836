//! The suite that every provider passes: named cases against a [`TestBed`], over real or simulated time.
//!
//! A case talks to the provider as the engine does: it sends the same again where the error says so, finds out by the
//! same token where the outcome is unknown, and counts "not found" only after the visibility delay. So the suite also
//! holds for a provider that fails often, behind [`crate::decorate::standard`]. Each case owns what it makes and the
//! runner deletes it, whatever the case found. Called by the tests of the providers only.

mod bed;
mod client;
mod heard;
mod identity;
mod lifecycle;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use bed::TestBed;
use client::Client;
pub use heard::Heard;

/// Why a case failed, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

/// What a case gives.
type Verdict = Result<(), Broken>;
type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// One fact that holds for every provider.
pub struct Case {
    /// The fact, as a name.
    pub name: &'static str,
    check: for<'a> fn(&'a Client<'a>) -> Running<'a>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($module:ident :: $case:ident),+ $(,)?) => {
        /// Every case.
        pub const CASES: &[Case] = &[
            $(Case { name: stringify!($case), check: |client| Box::pin($module::$case(client)) }),+
        ];
    };
}

cases![
    lifecycle::catalog_is_of_the_site_and_names_what_the_bed_asks_for,
    lifecycle::created_machine_is_visible_in_time_with_its_tags,
    lifecycle::booted_machine_runs_and_has_its_endpoints,
    lifecycle::console_is_read_in_parts,
    lifecycle::list_shows_only_the_owners_machines_in_order,
    lifecycle::deletion_is_repeated_until_not_found,
    lifecycle::unknown_handle_is_not_found,
    lifecycle::machine_killed_outside_is_seen_and_can_be_deleted,
    identity::same_request_gives_the_same_machine,
    identity::same_request_gives_the_same_machine_after_a_restart,
    identity::concurrent_duplicates_make_one_machine,
    identity::token_with_another_request_is_a_conflict,
    identity::name_under_another_token_is_a_conflict,
    identity::token_of_a_deleted_machine_makes_no_second_one,
    identity::unknown_offering_is_an_invalid_spec,
    identity::unknown_zone_is_an_invalid_spec,
    identity::unknown_image_is_an_invalid_spec,
    identity::identity_is_bounded,
];

/// The cases that failed, with what each found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failures(Vec<(&'static str, Broken)>);

impl Failures {
    /// The names of the cases that failed, in the suite's order.
    pub fn cases(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(case, _)| *case)
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} cases of provider conformance failed",
            self.0.len(),
            CASES.len()
        )?;
        self.0
            .iter()
            .try_for_each(|(case, broken)| write!(f, "\n  {case}: {broken}"))
    }
}

impl Case {
    /// Runs the case and deletes what it made. A machine that cannot be deleted fails the case too.
    pub async fn run(&self, bed: &dyn TestBed) -> Result<(), Broken> {
        let client = Client::new(bed, self.name);
        let verdict = (self.check)(&client).await;
        let cleaned = client.clean_up().await;
        verdict.and(cleaned)
    }
}

/// Runs every case, one after another, also after one failed.
pub async fn run(bed: &dyn TestBed) -> Result<(), Failures> {
    let mut failures = Vec::new();
    for case in CASES {
        if let Err(broken) = case.run(bed).await {
            failures.push((case.name, broken));
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failures(failures))
    }
}
