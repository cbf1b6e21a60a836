//! What happens in a run, all of it from the seed: how unreliable cloud, network, store and nodes are, what users wish
//! for and when, how engines end, and who else uses the account.

use std::time::Duration;

use isobar_engine_control::Bounds;
use isobar_engine_model::id::SiteName;
use isobar_engine_provider::ResourceKind;
use isobar_providers_sim::{FaultRates, SimConfig};

use crate::clock::{HOST_SKEW_MAX_PPM, Skew};
use crate::dice::Dice;
use crate::faulty::{CutOff, StoreRates};
use crate::life::{Crossing, Moment, Point, Turn};
use crate::mutation::Mutation;
use crate::net::{Cut, NetRates};
use crate::nodes::NodeRates;
use crate::shop::Stall;
use crate::world::Setup;
use crate::world::start::Place;

/// Where the cluster's service may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Region north.
    North,
    /// Region south.
    South,
}

impl Where {
    /// Its site's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::North => "north",
            Self::South => "south",
        }
    }

    /// It.
    pub fn site(self) -> SiteName {
        SiteName::new(self.name()).expect("a name")
    }
}

/// What a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The shop, with so many replicas of its service.
    Deploy(Where, u32),
    /// So many replicas of its service.
    Scale(u32),
    /// The service elsewhere.
    Move(Where),
    /// A machine is emptied and replaced.
    Drain,
    /// Everything goes.
    Destroy,
    /// A plan is made and not accepted.
    Look(u32),
    /// What runs is cancelled.
    Cancel,
    /// Not a user's: a machine stops.
    LoseMachine,
    /// Not a user's: somebody takes a machine away at the cloud's own console.
    RemoveMachine,
}

/// One process's part in a run, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it ends or stands still.
    pub point: Point,
    /// Which of the two.
    pub turn: Turn,
    /// It wakes after so long.
    pub thaw_after_ms: u64,
    /// When it does not reach the store.
    pub cut: Option<CutOff>,
    /// If nothing befell it by then, it is told to stop.
    pub stays_ms: u64,
    /// From its end to the next one's start.
    pub pause_ms: u64,
}

/// A host, on which one process runs at a time.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where its process listens.
    pub address: String,
    /// How wrong its clock is.
    pub skew: Skew,
    /// Its first process starts so late.
    pub starts_after_ms: u64,
    /// Its processes before the last one.
    pub parts: Vec<Part>,
}

impl Host {
    /// Where a process of it runs.
    pub fn place(&self, cut: Option<CutOff>) -> Place {
        Place {
            address: self.address.clone(),
            skew: self.skew,
            cut,
        }
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it follows from.
    pub seed: u64,
    /// The world.
    pub setup: Setup,
    /// How bad a day it is, in a word.
    pub day: &'static str,
    /// Where processes run.
    pub hosts: Vec<Host>,
    /// What users do, each so many ms after the one before.
    pub wishes: Vec<(u64, Stall, Wish)>,
    /// What is wished for last, once nothing goes wrong any more.
    pub last: Vec<(Stall, Wish)>,
    /// Machines in the account that are not ours.
    pub foreign: u64,
}

/// Reconciling pauses no longer than this, so that the end comes soon.
const HEAL_PAUSE_MAX_MS: u64 = 60_000;

/// Hosts' clocks differ by at most so much.
const HOSTS_APART_MAX_MS: u64 = 2_000;

/// An orphan is left alone for so long.
const ORPHAN_GRACE_MS: u64 = 120_000;

impl Scenario {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed, "scenario");
        let (day, faults) = day(&dice);
        let mut cloud = SimConfig::of_regions(seed, &["north", "south"]).with_faults(faults);
        cloud.timing.death_ms = (1_000, 300_000);
        if dice.happens(300) {
            cloud.token_validity_ms = 60_000;
        }
        if Dice::new(seed, "memory").happens(500) {
            cloud.remembers_ms = 3_600_000;
        }
        networks(&Dice::new(seed, "networks"), &mut cloud);
        let quiet = day == "quiet";
        let setup = Setup {
            bounds: Bounds {
                heal_pause_max_ms: HEAL_PAUSE_MAX_MS,
                orphan_grace_ms: ORPHAN_GRACE_MS,
                ..Bounds::default()
            },
            net: net(&dice, quiet),
            cuts: if quiet { Vec::new() } else { cuts(&dice) },
            nodes: NodeRates {
                falls: if day == "hostile" || day == "littering" {
                    dice.within(0, 60)
                } else {
                    0
                },
                skew_max_ppm: dice.within(0, 10_000),
                flaw: None,
            },
            store: store(&dice, quiet),
            ..Setup::of(cloud)
        };
        let stalls = match dice.within(0, 19) {
            0..=16 => 1,
            17 | 18 => 2,
            _ => Stall::ALL.len(),
        };
        let stalls = &Stall::ALL[..stalls];
        let last = stalls.iter().map(|stall| match dice.within(0, 3) {
            0 => (*stall, Wish::Destroy),
            _ => (*stall, Wish::Deploy(site(&dice), replicas(&dice))),
        });
        let last = last.collect();
        let wishes = wishes(&dice, quiet, stalls);
        Self {
            seed,
            setup,
            day,
            hosts: hosts(&dice, quiet),
            wishes,
            last,
            foreign: dice.within(0, 3),
        }
    }

    /// The same run with a bug at a boundary.
    #[must_use]
    pub fn with(mut self, mutation: Option<Mutation>) -> Self {
        self.setup.mutation = mutation;
        self
    }
}

/// Some clouds have machines in networks that somebody must make first, and some of those know no tokens for them.
fn networks(dice: &Dice, cloud: &mut SimConfig) {
    if dice.happens(500) {
        return;
    }
    cloud.network = vec![
        ResourceKind::Network,
        ResourceKind::Gateway,
        ResourceKind::Subnet,
        ResourceKind::Firewall,
    ];
    if dice.happens(500) {
        cloud.network_token_validity_ms = 0;
    }
}

fn day(dice: &Dice) -> (&'static str, FaultRates) {
    let (day, faults) = match dice.within(0, 9) {
        0 | 1 => ("quiet", FaultRates::none()),
        2..=5 => ("rough", FaultRates::rough()),
        _ => ("hostile", FaultRates::hostile()),
    };
    if day == "hostile" && dice.happens(500) {
        return ("littering", faults.littering());
    }
    (day, faults)
}

fn net(dice: &Dice, quiet: bool) -> NetRates {
    let delay_max_ms = dice.within(1, 200);
    if quiet {
        return NetRates {
            delay_max_ms,
            ..NetRates::default()
        };
    }
    NetRates {
        lost: dice.within(0, 20),
        twice: dice.within(0, 50),
        overtakes: dice.within(0, 100),
        delay_max_ms,
    }
}

fn cuts(dice: &Dice) -> Vec<Cut> {
    let cut = |_| {
        let from_ms = dice.within(5_000, 240_000);
        Cut {
            from_ms,
            until_ms: from_ms + dice.within(1_000, 60_000),
            every: dice.within(1, 3),
        }
    };
    (0..dice.within(0, 2)).map(cut).collect()
}

fn store(dice: &Dice, quiet: bool) -> StoreRates {
    if quiet || dice.happens(500) {
        return StoreRates::default();
    }
    StoreRates {
        away: dice.within(0, 20),
        full: dice.within(0, 10),
        unknown_lost: dice.within(0, 20),
        unknown_written: dice.within(0, 30),
    }
}

/// Each with fewer parts the more there are.
fn hosts(dice: &Dice, quiet: bool) -> Vec<Host> {
    let count = *dice.pick(&[1, 1, 2, 2, 3]);
    let host = |number| Host {
        address: format!("host-{number}:7421"),
        skew: Skew {
            ahead_ms: dice.within(0, HOSTS_APART_MAX_MS),
            ppm: dice.within(1_000_000 - HOST_SKEW_MAX_PPM, 1_000_000 + HOST_SKEW_MAX_PPM),
        },
        starts_after_ms: if number == 1 { 0 } else { dice.within(0, 60_000) },
        parts: (0..dice.within(0, 4 - count)).map(|_| part(dice, quiet)).collect(),
    };
    (1..=count).map(host).collect()
}

/// Each kind of crossing as often as any other, rare ones early in their count.
fn part(dice: &Dice, quiet: bool) -> Part {
    let crossing = *dice.pick(&Crossing::ALL);
    let most = match crossing {
        Crossing::Beat | Crossing::Claim => 10,
        Crossing::Look => 20,
        Crossing::ReadBack => 0,
        Crossing::Scan => 90,
        Crossing::Catalog => 3,
        Crossing::Delete => 1,
        Crossing::Create => 6,
        // Only what was in a list and is gone from it is asked for by itself.
        Crossing::Get => 0,
        Crossing::List => 15,
        Crossing::Commit | Crossing::Send | Crossing::Receive => 40,
        Crossing::Sleep => 1_000,
    };
    let nth = dice.within(0, most);
    let moment = *dice.pick(&Moment::ALL);
    let turn = if dice.happens(300) { Turn::Freeze } else { Turn::End };
    let is_cut = dice.happens(200) && !quiet;
    let from = Duration::from_millis(dice.within(1_000, 90_000));
    let cut = CutOff {
        from,
        until: from + Duration::from_millis(dice.within(1_000, 60_000)),
    };
    Part {
        point: Point::Nth(crossing, nth, moment),
        turn,
        thaw_after_ms: dice.within(1, 60_000),
        cut: is_cut.then_some(cut),
        stays_ms: dice.within(30_000, 150_000),
        pause_ms: *dice.pick(&[0, 100, 2_000, 15_000, 40_000]),
    }
}

fn site(dice: &Dice) -> Where {
    *dice.pick(&[Where::North, Where::South])
}

fn replicas(dice: &Dice) -> u32 {
    u32::try_from(dice.within(3, 6)).unwrap_or(3)
}

fn wishes(dice: &Dice, quiet: bool, stalls: &[Stall]) -> Vec<(u64, Stall, Wish)> {
    let first = |stall: &Stall| (dice.within(0, 2_000), *stall, Wish::Deploy(Where::North, 4));
    let mut wishes: Vec<_> = stalls.iter().map(first).collect();
    for _ in 0..dice.within(1, 4) {
        let pause_ms = dice.within(1_000, 60_000);
        let wish = match dice.within(0, 14) {
            0 => Wish::Deploy(site(dice), replicas(dice)),
            1 | 2 => Wish::Scale(replicas(dice)),
            3..=6 => Wish::Move(site(dice)),
            7 => Wish::Drain,
            8 => Wish::Destroy,
            9 | 10 => Wish::Look(replicas(dice)),
            11 => Wish::Cancel,
            12 | 13 if !quiet => Wish::LoseMachine,
            14 if !quiet => Wish::RemoveMachine,
            _ => Wish::Move(site(dice)),
        };
        wishes.push((pause_ms, *dice.pick(stalls), wish));
    }
    wishes
}
