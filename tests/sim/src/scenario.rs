//! What happens in a run, all of it from the seed: how unreliable cloud, network, store and nodes are, what users wish
//! for and when, how engines end, and who else uses the account.

use isobar_engine_control::Bounds;
use isobar_providers_sim::{FaultRates, SimConfig};

use crate::dice::Dice;
use crate::faulty::StoreRates;
use crate::life::{Crossing, Moment, Point, Turn};
use crate::mutation::Mutation;
use crate::net::{Cut, NetRates};
use crate::nodes::NodeRates;
use crate::world::Setup;

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

/// One engine's part in a run, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Where it ends or stands still.
    pub point: Point,
    /// Which of the two.
    pub turn: Turn,
    /// At the latest, another engine takes over after so long, while this one lives on.
    pub replaced_after_ms: u64,
    /// From its end to the next engine's start.
    pub pause_ms: u64,
    /// A frozen one wakes so long after the next engine's start.
    pub thaw_after_ms: u64,
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
    /// Engines before the last one.
    pub parts: Vec<Part>,
    /// What users do, each so many ms after the one before.
    pub wishes: Vec<(u64, Wish)>,
    /// What is wished for last, once nothing goes wrong any more.
    pub last: Wish,
    /// Machines in the account that are not ours.
    pub foreign: u64,
}

/// Reconciling pauses no longer than this, so that the end comes soon.
const HEAL_PAUSE_MAX_MS: u64 = 60_000;

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
        let parts = (0..dice.within(0, 3)).map(|_| part(&dice)).collect();
        let wishes = wishes(&dice, quiet);
        let last = match dice.within(0, 3) {
            0 => Wish::Destroy,
            _ => Wish::Deploy(site(&dice), replicas(&dice)),
        };
        Self {
            seed,
            setup,
            day,
            parts,
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

/// Each kind of crossing as often as any other, rare ones early in their count.
fn part(dice: &Dice) -> Part {
    let crossing = *dice.pick(&Crossing::ALL);
    let most = match crossing {
        Crossing::TakeOver | Crossing::ReadBack => 0,
        Crossing::Scan => 8,
        Crossing::Catalog => 3,
        Crossing::Create | Crossing::Delete => 8,
        // Only what was in a list and is gone from it is asked for by itself.
        Crossing::Get => 1,
        Crossing::List => 15,
        Crossing::Commit | Crossing::Send | Crossing::Receive => 60,
        Crossing::Sleep => 200,
    };
    let nth = dice.within(0, most);
    let moment = *dice.pick(&Moment::ALL);
    let turn = if dice.happens(250) { Turn::Freeze } else { Turn::End };
    Part {
        point: Point::Nth(crossing, nth, moment),
        turn,
        replaced_after_ms: dice.within(30_000, 150_000),
        pause_ms: *dice.pick(&[0, 100, 2_000, 15_000, 40_000]),
        thaw_after_ms: dice.within(1, 60_000),
    }
}

fn site(dice: &Dice) -> Where {
    *dice.pick(&[Where::North, Where::South])
}

fn replicas(dice: &Dice) -> u32 {
    u32::try_from(dice.within(3, 6)).unwrap_or(3)
}

fn wishes(dice: &Dice, quiet: bool) -> Vec<(u64, Wish)> {
    let mut wishes = vec![(dice.within(0, 2_000), Wish::Deploy(Where::North, 4))];
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
        wishes.push((pause_ms, wish));
    }
    wishes
}
