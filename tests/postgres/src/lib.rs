//! A PostgreSQL server of the test's own: made by `initdb` in a scratch folder, reached through a socket in it, gone with
//! the test however that ends. Never touches a server of the system. For every test that needs one.
//!
//! PostgreSQL does not run as root, so root's tests run it as `postgres`, the user that Debian's package makes.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

/// What to do where there is no PostgreSQL.
const INSTALL: &str = "PostgreSQL is not installed: `apt-get install postgresql` (15 or later), or `./dev test unit`";
/// Where Debian keeps the programs, a folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Whose server it is, and the one user in it.
const USER: &str = "postgres";
/// A server is ready, or has stopped, within so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether it is.
const LOOK: Duration = Duration::from_millis(10);

/// The server that the tests of a process share, while one of them has it.
static SHARED: Mutex<(Weak<Server>, u32)> = Mutex::new((Weak::new(), 0));

/// A running server. Stopped and removed when dropped, and killed by the kernel when the test's process dies first.
#[derive(Debug)]
pub struct Server {
    programs: PathBuf,
    folder: TempDir,
    running: Mutex<Option<Running>>,
}

/// A database in a server that tests share: empty, and nobody else's.
#[derive(Debug)]
pub struct Database {
    /// `postgres://...`
    pub url: String,
    /// Keeps the server alive.
    pub server: Arc<Server>,
}

#[derive(Debug)]
struct Running {
    pid: Pid,
    /// Started the server and waits for its end: the kernel's kill goes by the thread that starts a process.
    waiter: JoinHandle<()>,
}

/// An empty database. Panics where there is no PostgreSQL: a test that needs one has failed.
#[expect(clippy::missing_panics_doc, reason = "said in the first line")]
pub fn database() -> Database {
    let (server, number) = {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let server = shared.0.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Server::start().expect("a PostgreSQL server"));
            shared.0 = Arc::downgrade(&server);
            server
        });
        shared.1 += 1;
        (server, shared.1)
    };
    let url = server.database(&format!("test_{number}")).expect("an empty database");
    Database { url, server }
}

impl Server {
    /// Makes a server and starts it.
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("isobar-pg-").tempdir()?;
        if let Some(user) = other_user()? {
            chown(folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let server = Self {
            programs,
            folder,
            running: Mutex::new(None),
        };
        let mut initdb = server.program("initdb")?;
        initdb
            .args([
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--username",
                USER,
                "--pgdata",
            ])
            .arg(server.data());
        succeed(initdb).context("make the server's folder")?;
        server.up()?;
        Ok(server)
    }

    /// Makes an empty database and tells its URL. Its locale sorts unlike bytes do, as a real one would.
    pub fn database(&self, name: &str) -> Result<String> {
        let mut createdb = Command::new(self.programs.join("createdb"));
        createdb
            .args([
                "--template=template0",
                "--locale-provider=icu",
                "--icu-locale=en",
                "--username",
                USER,
                "--host",
            ])
            .arg(self.folder.path())
            .arg(name);
        succeed(createdb).with_context(|| format!("make the database {name}"))?;
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        Ok(format!("postgres://{USER}@{socket}/{name}"))
    }

    /// Runs SQL in a database, as another program would.
    pub fn sql(&self, database: &Database, sql: &str) -> Result<String> {
        let name = database.url.rsplit('/').next().unwrap_or_default();
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--set=ON_ERROR_STOP=1",
            "--username",
            USER,
            "--host",
        ])
        .arg(self.folder.path())
        .args(["--dbname", name, "--command", sql]);
        succeed(psql)
    }

    /// Stops it as a crash does: nothing is flushed, nobody is told.
    pub fn crash(&self) -> Result<()> {
        self.down(Signal::SIGQUIT)
    }

    /// Starts it again after a [`Self::crash`].
    pub fn up(&self) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(running.is_none(), "the server runs");
        let mut postgres = self.program("postgres")?;
        postgres
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=16MB"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.log())?);
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = thread::Builder::new().name("postgres".into()).spawn(move || {
            let child = postgres.spawn();
            let started = child.as_ref().map(Child::id).map_err(|error| error.kind());
            let heard = tell.send(started);
            if let (Ok(mut child), Ok(())) = (child, heard) {
                child.wait().ok();
            }
        })?;
        let pid = told.recv()?.map_err(std::io::Error::from).context("start postgres")?;
        *running = Some(Running {
            pid: Pid::from_raw(i32::try_from(pid)?),
            waiter,
        });
        self.wait_until_ready(running.as_ref().expect("just set"))
    }

    fn wait_until_ready(&self, running: &Running) -> Result<()> {
        let started = Instant::now();
        loop {
            // The last line of the pid file is what pg_ctl waits for.
            let status = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            let is_its_own = status.lines().next() == Some(running.pid.to_string().as_str());
            if is_its_own && status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if running.waiter.is_finished() || started.elapsed() > PATIENCE {
                bail!(
                    "postgres does not start: {}",
                    fs::read_to_string(self.log()).unwrap_or_default()
                );
            }
            thread::sleep(LOOK);
        }
    }

    fn down(&self, signal: Signal) -> Result<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { pid, waiter }) = running else {
            return Ok(());
        };
        // Its waiter has not seen it end, so the pid is still its own.
        if !waiter.is_finished() {
            kill(pid, signal)?;
        }
        let asked = Instant::now();
        while !waiter.is_finished() {
            ensure!(asked.elapsed() < PATIENCE, "postgres does not stop");
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// A program that runs as whoever the server runs as, and dies with the thread that starts it.
    fn program(&self, name: &str) -> Result<Command> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = other_user()? {
            let (uid, gid) = (user.uid, user.gid);
            command.args(["--clear-groups", &format!("--reuid={uid}"), &format!("--regid={gid}")]);
        }
        command
            .arg("--")
            .arg(self.programs.join(name))
            .current_dir(self.folder.path());
        Ok(command)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What is in there is thrown away: at once.
        let stopped = self.down(Signal::SIGQUIT);
        if !thread::panicking() {
            stopped.expect("a server that was started stops");
        }
    }
}

/// Whom to run as instead of root.
fn other_user() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    User::from_name(USER)?.context(INSTALL).map(Some)
}

/// The folder of the programs: the one on the path, else the newest of Debian's.
fn programs() -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&on_path).map(|folder| folder.join("initdb"));
    // On the path may be links: createdb and psql are where initdb really is.
    if let Some(initdb) = found.find_map(|initdb| initdb.canonicalize().ok())
        && let Some(folder) = initdb.parent()
    {
        return Ok(folder.to_owned());
    }
    let versions = fs::read_dir(DEBIAN).context(INSTALL)?;
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| Path::new(DEBIAN).join(version.to_string()).join("bin/initdb").exists())
        .max();
    let newest = newest.context(INSTALL)?;
    Ok(Path::new(DEBIAN).join(newest.to_string()).join("bin"))
}

fn succeed(mut command: Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
