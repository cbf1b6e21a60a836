//! `isobar-sim`: replays one seed, or runs many fresh ones. `./dev sim` builds and calls it.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use isobar_tests_sim::mutation::Mutation;
use isobar_tests_sim::run::run;
use isobar_tests_sim::scenario::Scenario;
use isobar_tests_sim::tally::{Outcome, Tally};

const USAGE: &str = "usage: isobar-sim --seed N [--mutation NAME] | --seeds N [--from N]

  --seed N         replays one seed and prints its history
  --seeds N        runs N seeds, fresh ones unless --from says where to begin; the last line is JSON
  --mutation NAME  with a bug at a boundary, to see it caught; `list` names them";

/// Histories of failed seeds are printed for so many; the others are one line each.
const HISTORIES_MAX: u64 = 1;

#[derive(Default)]
struct Asked {
    seed: Option<u64>,
    seeds: Option<u64>,
    from: Option<u64>,
    mutation: Option<Mutation>,
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match ask(std::env::args().skip(1)) {
        Ok(Asked {
            seed: Some(seed),
            mutation,
            ..
        }) => replay(&mut out, seed, mutation),
        Ok(Asked {
            seeds: Some(count),
            from,
            mutation,
            ..
        }) => many(&mut out, (from.unwrap_or_else(fresh), count), mutation),
        Ok(_) => writeln!(out, "{USAGE}").map(|()| false),
        Err(why) => writeln!(out, "error: {why}\n{USAGE}").map(|()| false),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // Without a reader there is nobody to tell.
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn ask(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked::default();
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{flag} asks for a value"))?;
        let number = || value.parse().map_err(|_| format!("{flag}: `{value}` is no number"));
        match flag.as_str() {
            "--seed" => asked.seed = Some(number()?),
            "--seeds" => asked.seeds = Some(number()?),
            "--from" => asked.from = Some(number()?),
            "--mutation" => {
                let known = Mutation::ALL.map(Mutation::name).join(", ");
                let found = Mutation::ALL.into_iter().find(|mutation| mutation.name() == value);
                asked.mutation = Some(found.ok_or_else(|| format!("mutations are {known}"))?);
            }
            _ => return Err(format!("unknown argument {flag}")),
        }
    }
    Ok(asked)
}

/// Seeds that nobody has run: from the time of day.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis() % u128::from(u32::MAX)).unwrap_or(0) << 20
}

fn replay(out: &mut impl Write, seed: u64, mutation: Option<Mutation>) -> io::Result<bool> {
    let scenario = Scenario::of(seed).with(mutation);
    let outcome = run(&scenario);
    writeln!(out, "seed {seed}: a {} day", scenario.day)?;
    write!(out, "{}", outcome.history)?;
    say(out, &outcome)?;
    let mut tally = Tally::default();
    tally.add(&outcome);
    writeln!(out, "{}", serde_json::to_string(&tally)?)?;
    Ok(outcome.violations.is_empty())
}

fn many(out: &mut impl Write, (first, count): (u64, u64), mutation: Option<Mutation>) -> io::Result<bool> {
    let began = Instant::now();
    let mut tally = Tally::default();
    for seed in (0..count).map(|number| first.wrapping_add(number)) {
        let outcome = run(&Scenario::of(seed).with(mutation));
        tally.add(&outcome);
        if !outcome.violations.is_empty() {
            if u64::try_from(tally.failed_seeds.len()).unwrap_or(u64::MAX) <= HISTORIES_MAX {
                write!(out, "{}", outcome.history)?;
            }
            say(out, &outcome)?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let zeros = tally.coverage.zeros();
    writeln!(
        out,
        "seeds {first} to {}: {:.0} a minute",
        first.wrapping_add(count.max(1) - 1),
        per_minute(count, seconds)
    )?;
    if !zeros.is_empty() {
        writeln!(out, "never happened, so nothing is proved of it: {}", zeros.join(", "))?;
    }
    let well = tally.violations == 0 && zeros.is_empty();
    writeln!(out, "{}", serde_json::to_string(&tally)?)?;
    Ok(well)
}

fn per_minute(count: u64, seconds: f64) -> f64 {
    let count = u32::try_from(count).map_or(f64::INFINITY, f64::from);
    count * 60.0 / seconds.max(f64::EPSILON)
}

fn say(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let seed = outcome.seed;
    for violation in &outcome.violations {
        writeln!(out, "seed {seed}: {violation}")?;
    }
    if !outcome.violations.is_empty() {
        writeln!(out, "replay it: ./dev sim --seed {seed}")?;
    }
    Ok(())
}
