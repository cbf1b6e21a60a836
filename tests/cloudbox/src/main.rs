//! `isobar-cloudbox FOLDER`: AWS, Azure and GCP on this computer, whose machines boot the node image in `ISOBAR_IMAGE`, or
//! the engine image in `ISOBAR_ENGINE_IMAGE`, if there is one, where they ask for that. For programs that are not Rust:
//! `tools/demo-clouds.sh`.
//!
//! First it prints what an engine needs to find the clouds, a line of JSON: the variables of its environment, the sites of
//! a spec, how their machines see this computer, and what each cloud calls the engine image. Then it answers each line of its standard input with one: `dry
//! CLOUD` (it has no room for any further machine), `room CLOUD` (it has again), `machines` (what each cloud really has). At the
//! end of input, or on SIGTERM or SIGINT, every guest ends, then the program.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use isobar_tests_cloudbox::booted::Booted;
use isobar_tests_cloudbox::{HOST_SEEN_BY_GUESTS, Image, Images};
use isobar_tests_clouds::world::Cloud;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// So many commands wait at most.
const QUEUE_MAX_LINES: usize = 16;
/// Room for machines in each zone of a cloud that has room.
const ROOM_MACHINES: u32 = 1_000;

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Who does not read errors has its exit code.
            let _told = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder =
        folder.ok_or_else(|| io::Error::other("which folder? give one to keep credentials and consoles in"))?;
    let images = images()?;
    let clouds = Booted::open(&images, Path::new(&folder)).await?;
    tell(&json!({
        "environment": clouds.world.environment(),
        "host": HOST_SEEN_BY_GUESTS,
        "sites": clouds.world.sites(),
        "engine_images": images.engine.map(|_| engine_images()),
    }))?;
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut commands = commands();
    loop {
        tokio::select! {
            biased;
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            line = commands.recv() => match line {
                Some(line) => tell(&answer(&clouds, &line))?,
                None => return Ok(()),
            },
        }
    }
}

/// What machines boot, from the environment.
fn images() -> io::Result<Images> {
    let folder = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let node = folder("ISOBAR_IMAGE")
        .ok_or_else(|| io::Error::other("which image? ISOBAR_IMAGE names the folder of a node image"))?;
    // The place of one that nobody has built is named too.
    let engine = folder("ISOBAR_ENGINE_IMAGE").filter(|engine| engine.join("manifest.json").is_file());
    let engine = engine.map(|engine| Image::of(&engine));
    Ok(Images {
        node: Image::of(&node)?,
        engine: engine.transpose()?,
    })
}

/// What each cloud calls the engine image.
fn engine_images() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from(Cloud::ALL.map(|cloud| (cloud.name(), cloud.engine_image())))
}

/// The lines of standard input. A thread of its own reads them: nothing else can leave a read that waits.
fn commands() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(QUEUE_MAX_LINES);
    std::thread::spawn(move || {
        let read = io::stdin().lock().lines().map_while(Result::ok);
        for line in read {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn answer(clouds: &Booted, line: &str) -> Value {
    let (verb, name) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let cloud = Cloud::ALL.into_iter().find(|cloud| cloud.name() == name);
    match (verb, cloud) {
        ("machines", None) => {
            let machines: Vec<_> = Cloud::ALL
                .into_iter()
                .flat_map(|cloud| clouds.machines(cloud))
                .collect();
            json!({ "machines": machines })
        }
        ("dry", Some(cloud)) => {
            clouds.world.set_room(cloud, 0);
            json!({ "dry": name })
        }
        ("room", Some(cloud)) => {
            clouds.world.set_room(cloud, ROOM_MACHINES);
            json!({ "room": name })
        }
        _ => json!({ "error": format!("what is `{line}`? `dry`, `room` and a cloud's name, or `machines`") }),
    }
}

fn tell(what: &Value) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{what}")?;
    output.flush()
}
