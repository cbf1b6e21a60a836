//! Faults of a simulated cloud: their kinds, their rates and how often each happened.
//!
//! Decides nothing by itself: the world draws from the seeded generator in call order.

use std::collections::BTreeMap;

use crate::random::SplitMix64;

/// A rate, in thousandths of the cases.
pub type Permille = u16;

/// What was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `Provider::catalog`
    Catalog,
    /// `Provider::create`
    Create,
    /// `Provider::get`
    Get,
    /// `Provider::list`
    List,
    /// `Provider::delete`
    Delete,
    /// `Console::read`
    Console,
    /// `Networks::needs`
    Needs,
    /// `Networks::connect`
    Connect,
    /// `Adoption::account`
    Account,
    /// `Adoption::read`
    Read,
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The provider is away and says so: nothing is done.
    Refused,
    /// The request never arrives and the caller cannot know it.
    LostRequest,
    /// It is done, and the answer is lost.
    LostAnswer,
    /// A create that arrives after its caller gave up.
    LateRequest,
    /// The credentials do not count at this moment: nothing is done.
    Unauthorized,
    /// Too many calls.
    Throttled,
    /// The zone has no machine left, and stays so for a while.
    NoCapacity,
    /// The account may have no more.
    OverQuota,
    /// A new machine is hidden from `get`, `list` and `delete` for a while.
    LateVisibility,
    /// An answer that shows the past.
    StaleRead,
    /// A deletion that takes long.
    SlowDelete,
    /// A running machine that dies by itself.
    Death,
    /// A create that ends half-way: some parts of a machine without the machine, or a machine without its disk, which
    /// never runs.
    PartialCreate,
    /// A deletion that takes the machine and leaves one of its parts.
    LeftBehind,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Refused,
        Self::LostRequest,
        Self::LostAnswer,
        Self::LateRequest,
        Self::Unauthorized,
        Self::Throttled,
        Self::NoCapacity,
        Self::OverQuota,
        Self::LateVisibility,
        Self::StaleRead,
        Self::SlowDelete,
        Self::Death,
        Self::PartialCreate,
        Self::LeftBehind,
    ];
}

/// How often each fault happens. Rates that concern one call add up: keep their sum under 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultRates {
    /// Of all calls.
    pub refused: Permille,
    /// Of all calls.
    pub lost_request: Permille,
    /// Of all calls.
    pub lost_answer: Permille,
    /// Of creates.
    pub late_request: Permille,
    /// Of all calls.
    pub unauthorized: Permille,
    /// Of all calls.
    pub throttled: Permille,
    /// Of creates.
    pub no_capacity: Permille,
    /// Of creates.
    pub over_quota: Permille,
    /// Of new machines.
    pub late_visibility: Permille,
    /// Of `get`s and of pages.
    pub stale_read: Permille,
    /// Of deletes.
    pub slow_delete: Permille,
    /// Of machines that come to run.
    pub death: Permille,
    /// Of creates.
    pub partial_create: Permille,
    /// Of deletes.
    pub left_behind: Permille,
}

impl FaultRates {
    /// A cloud that never fails.
    pub const fn none() -> Self {
        Self {
            refused: 0,
            lost_request: 0,
            lost_answer: 0,
            late_request: 0,
            unauthorized: 0,
            throttled: 0,
            no_capacity: 0,
            over_quota: 0,
            late_visibility: 0,
            stale_read: 0,
            slow_delete: 0,
            death: 0,
            partial_create: 0,
            left_behind: 0,
        }
    }

    /// A bad day: what concerns single calls and what they show, at rates at which a short test meets every kind.
    /// Machines stay alive and there is room for them.
    pub const fn rough() -> Self {
        Self {
            refused: 50,
            lost_request: 50,
            lost_answer: 100,
            late_request: 50,
            throttled: 50,
            late_visibility: 300,
            stale_read: 150,
            slow_delete: 100,
            ..Self::none()
        }
    }

    /// The same, and what leaves parts of machines behind: whoever makes and deletes machines on such a day must sweep.
    #[must_use]
    pub const fn littering(self) -> Self {
        Self {
            partial_create: 40,
            left_behind: 60,
            ..self
        }
    }

    /// [`Self::rough`], and credentials, capacity, quota and machines fail too.
    pub const fn hostile() -> Self {
        Self {
            unauthorized: 20,
            no_capacity: 80,
            over_quota: 30,
            death: 50,
            ..Self::rough()
        }
    }

    fn of_call(&self, operation: Operation) -> Vec<(Fault, Permille)> {
        let mut rates = vec![
            (Fault::Refused, self.refused),
            (Fault::LostRequest, self.lost_request),
            (Fault::LostAnswer, self.lost_answer),
            (Fault::Unauthorized, self.unauthorized),
            (Fault::Throttled, self.throttled),
        ];
        match operation {
            Operation::Catalog
            | Operation::Console
            | Operation::Needs
            | Operation::Connect
            | Operation::Account
            | Operation::Read => {}
            Operation::Create => rates.extend([
                (Fault::LateRequest, self.late_request),
                (Fault::NoCapacity, self.no_capacity),
                (Fault::OverQuota, self.over_quota),
                (Fault::PartialCreate, self.partial_create),
            ]),
            Operation::Get | Operation::List => rates.push((Fault::StaleRead, self.stale_read)),
            Operation::Delete => rates.extend([
                (Fault::SlowDelete, self.slow_delete),
                (Fault::LeftBehind, self.left_behind),
            ]),
        }
        rates
    }

    /// The fault of one call, if any. Always one draw.
    pub(crate) fn draw(&self, operation: Operation, random: &mut SplitMix64) -> Option<Fault> {
        let mut rolled = random.within((0, 999));
        for (fault, rate) in self.of_call(operation) {
            match rolled.checked_sub(u64::from(rate)) {
                None => return Some(fault),
                Some(rest) => rolled = rest,
            }
        }
        None
    }
}

/// Whether something of rate `rate` happens. Always one draw.
pub(crate) fn happens(rate: Permille, random: &mut SplitMix64) -> bool {
    random.within((0, 999)) < u64::from(rate)
}

/// What a simulated cloud was asked and how often it failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls that reached the provider's door, by kind.
    pub calls: BTreeMap<Operation, u64>,
    /// Faults that took effect, by kind. Capacity and quota count whether drawn or real.
    pub faults: BTreeMap<Fault, u64>,
    /// Machines made.
    pub machines_made: u64,
    /// Creates that a known token answered.
    pub replays: u64,
    /// Parts of networks that came to be.
    pub parts_made: u64,
}

impl Counters {
    /// How often `fault` happened.
    pub fn of(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn called(&mut self, operation: Operation) {
        *self.calls.entry(operation).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_of_all_always_fails_and_a_rate_of_none_never() {
        let mut random = SplitMix64::new(3);
        let always = FaultRates {
            throttled: 1000,
            ..FaultRates::none()
        };
        for _ in 0..200 {
            assert_eq!(always.draw(Operation::Get, &mut random), Some(Fault::Throttled));
            assert_eq!(FaultRates::none().draw(Operation::Get, &mut random), None);
        }
    }

    #[test]
    fn a_kind_never_hits_a_call_that_it_does_not_concern() {
        let mut random = SplitMix64::new(4);
        let rates = FaultRates {
            no_capacity: 1000,
            ..FaultRates::none()
        };
        assert_eq!(rates.draw(Operation::Delete, &mut random), None);
        assert_eq!(rates.draw(Operation::Create, &mut random), Some(Fault::NoCapacity));
    }
}
