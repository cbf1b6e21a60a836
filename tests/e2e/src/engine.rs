//! A real engine, `isobar serve`, in a data folder of its own on free ports of loopback: started, stopped, killed and
//! started again, always on the same ports, since its machines know them.
//!
//! Everything ends with the value: the engine, and every VM of its folder. When the test fails, what engine and machines
//! wrote last is shown.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use isobar_tests_clouds::world::{Cloud, World};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::command::{self, Ended};
use crate::registry::Registry;
use crate::vms::{self, Vm};
use crate::wait::{SOON, within};
use crate::{image, spec};

/// So many lines of each log are shown when a test fails.
const TAIL_LINES: usize = 60;

/// How an engine is started.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    image: Option<PathBuf>,
    data: Option<PathBuf>,
    boots_nothing: bool,
    registries: Vec<String>,
    shared: Option<Shared>,
    crash_at: Option<String>,
    environment: BTreeMap<&'static str, String>,
    endpoints: Vec<String>,
    node_listen: Option<String>,
    advertised: Vec<String>,
}

/// What several engines share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The database: `postgres://...`
    pub store: String,
    /// The file of the key; made by whoever comes first.
    pub key_file: PathBuf,
    /// The folder of the machines.
    pub machines: PathBuf,
}

impl Setup {
    /// For tests in which no machine boots.
    pub fn without_machines() -> Self {
        Self::default()
    }

    /// With the real node image, for machines that boot.
    pub fn with_machines() -> Self {
        Self {
            image: Some(image::real()),
            ..Self::default()
        }
    }

    /// With a data folder that the caller made.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// Whose machines run and boot nothing: the test speaks for their nodes.
    #[must_use]
    pub fn with_machines_that_boot_nothing(mut self) -> Self {
        self.boots_nothing = true;
        self
    }

    /// Whose nodes pull from this registry.
    #[must_use]
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registries = vec![registry.seen_by_machines()];
        self
    }

    /// Which finds clouds here: their addresses, and its credentials by its environment. Their nodes are on this computer and
    /// find it, though it does not find itself where they are told.
    #[must_use]
    pub fn clouds(mut self, world: &World) -> Self {
        self.environment = world.environment();
        self.endpoints = Cloud::ALL.map(|cloud| world.endpoint(cloud).to_owned()).into();
        self
    }

    /// Which runs in a container under a role, whose keys end.
    #[must_use]
    pub fn under_a_role(mut self, world: &World) -> Self {
        self.environment = world.environment_of_a_role();
        self
    }

    /// With this in its environment, and nothing else.
    #[must_use]
    pub fn environment(mut self, environment: BTreeMap<&'static str, String>) -> Self {
        self.environment = environment;
        self
    }

    /// Which may send credentials there as well.
    #[must_use]
    pub fn may_call(mut self, endpoint: &str) -> Self {
        self.endpoints.push(endpoint.to_owned());
        self
    }

    /// Whose nodes find it on a free port of loopback under each of these hosts, in turn.
    ///
    /// # Panics
    ///
    /// When no port is free.
    #[must_use]
    pub fn advertised_at(mut self, hosts: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        self.node_listen = Some(address.to_string());
        self.advertised = hosts.iter().map(|host| format!("{host}:{}", address.port())).collect();
        self
    }

    /// Whose nodes are told of these registries, which need not be there.
    #[must_use]
    pub fn registries(mut self, registries: Vec<String>) -> Self {
        self.registries = registries;
        self
    }

    /// Without credentials in its environment.
    pub fn forget_environment(&mut self) {
        self.environment.clear();
    }

    /// Which may not send credentials to clouds here.
    pub fn forget_endpoints(&mut self) {
        self.endpoints.clear();
    }

    /// One of several that share a store.
    #[must_use]
    pub fn sharing(mut self, shared: &Shared) -> Self {
        self.shared = Some(shared.clone());
        self
    }

    /// Which ends itself, as `kill -9` would, at a crash point: `after-send`, or `after-send:2` for the second time.
    #[must_use]
    pub fn crash_at(mut self, point: &str) -> Self {
        self.crash_at = Some(point.to_owned());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start(self) -> Engine {
        let mut engine = self.prepare();
        engine.start();
        engine
    }

    /// An engine that does not run yet: see [`Engine::serve`] and [`Engine::start`].
    ///
    /// # Panics
    ///
    /// When the temporary folder cannot be written.
    pub fn prepare(self) -> Engine {
        let home = tempfile::Builder::new()
            .prefix("isobar-e2e.")
            .tempdir()
            .expect("a temporary folder");
        let data = self.data.clone().unwrap_or_else(|| home.path().join("data"));
        fs::create_dir_all(&data).expect("the folder can be made");
        let image = self.image.clone().unwrap_or_else(|| {
            let folder = home.path().join("image");
            image::write_empty(&folder);
            folder
        });
        Engine {
            setup: self,
            data,
            image,
            at: None,
            process: None,
            home,
        }
    }
}

/// Where an engine listens.
#[derive(Debug, Clone)]
pub struct Listening {
    /// The MCP endpoint's URL.
    pub mcp: String,
    /// `host:port` for MCP.
    pub mcp_address: String,
    /// `host:port` for nodes.
    pub nodes: String,
}

/// An engine, running or not.
#[derive(Debug)]
pub struct Engine {
    setup: Setup,
    data: PathBuf,
    image: PathBuf,
    at: Option<Listening>,
    process: Option<Child>,
    // Last: removed when everything in it has ended.
    home: tempfile::TempDir,
}

impl Engine {
    /// Runs `isobar serve`, and returns when it listens; its end comes back as an error.
    pub fn serve(&mut self) -> Result<&Listening, Ended> {
        assert!(self.process.is_none(), "it runs already");
        let (told, log) = (self.home.path().join("serve.json"), self.home.path().join("engine.log"));
        let errors = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the folder can be written");
        let begins = usize::try_from(errors.metadata().map_or(0, |found| found.len())).expect("a log fits in memory");
        let mut command = command::command(&self.data, self.arguments());
        command
            .stdout(File::create(&told).expect("the folder can be written"))
            .stderr(errors);
        if self.setup.boots_nothing {
            let folder = image::write_qemu_that_boots_nothing(&self.home.path().join("bin"));
            let others = std::env::var_os("PATH").unwrap_or_default();
            let paths = std::iter::once(folder).chain(std::env::split_paths(&others));
            command.env("PATH", std::env::join_paths(paths).expect("paths of PATH"));
        }
        command.envs(&self.setup.environment);
        if let Some(point) = &self.setup.crash_at {
            command.env("ISOBAR_TEST_CRASH_AT", point);
        }
        let mut process = command.spawn().expect("the command can be run");
        let listening = within(SOON, "the engine listens", || {
            if let Some(status) = process.try_wait().expect("it is our child") {
                let stderr = fs::read_to_string(&log).unwrap_or_default();
                let stderr = stderr.get(begins..).unwrap_or_default().to_owned();
                return Ok(Err(Ended {
                    code: status.code(),
                    stdout: String::new(),
                    stderr,
                }));
            }
            let text = fs::read_to_string(&told).unwrap_or_default();
            serde_json::from_str(&text)
                .map(|told: Value| Ok(listening(&told)))
                .map_err(|_| format!("it said `{text}`"))
        })?;
        self.process = Some(process);
        Ok(self.at.insert(listening))
    }

    /// Runs it.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[track_caller]
    pub fn start(&mut self) {
        if let Err(ended) = self.serve() {
            panic!("the engine did not start: {ended:?}");
        }
    }

    /// Runs it again after an end, without the crash point that the last one had.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.setup.crash_at = None;
        self.start();
    }

    /// Asks it to stop, and returns how it ended.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }

    /// Waits for its end, at a crash point for instance.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn ended(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("it runs");
        let status = within(SOON, "the engine ends", || {
            process
                .try_wait()
                .expect("it is our child")
                .ok_or_else(|| "it runs".to_owned())
        });
        self.process = None;
        status
    }

    /// Stops its process where it is, as a frozen host would.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process
            .as_mut()
            .is_none_or(|process| process.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Runs a command on its data folder.
    pub fn run(&self, args: &[&str]) -> Ended {
        command::run(&self.data, args)
    }

    /// The result of a command that must succeed.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        command::run(&self.data, args.iter().chain(&["--output", "json"]))
            .done()
            .json()
    }

    /// Begins a command on its data folder, with what it writes kept for [`Child::wait_with_output`].
    ///
    /// # Panics
    ///
    /// When it cannot be run.
    pub fn begin(&self, args: &[&str]) -> Child {
        let mut command = command::command(&self.data, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the command can be run")
    }

    /// Keeps a spec in a file, to be named in commands.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn keep_spec(&self, spec: &str) -> String {
        spec::keep(self.home.path(), spec)
    }

    /// Where it listens, or did last.
    ///
    /// # Panics
    ///
    /// When it never ran.
    pub fn at(&self) -> &Listening {
        self.at.as_ref().expect("it ran")
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A folder that ends with it, for what a test writes beside.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The VMs that really run.
    pub fn vms(&self) -> Vec<Vm> {
        vms::of(&self.data)
    }

    /// The folders of its machines, running or not, by name.
    pub fn machine_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = self.vms().into_iter().map(|vm| vm.folder).collect();
        folders.sort();
        folders
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        let pid = i32::try_from(process.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        // A child that was not waited for keeps its id; one that ended meanwhile takes no signal, and need not.
        let _ended = kill_process(pid, signal);
    }

    fn arguments(&self) -> Vec<String> {
        let any = || "127.0.0.1:0".to_owned();
        let first = || (any(), self.setup.node_listen.clone().unwrap_or_else(any));
        let again = |at: &Listening| (at.mcp_address.clone(), at.nodes.clone());
        let (mcp, nodes) = self.at.as_ref().map_or_else(first, again);
        let image = self.image.display().to_string();
        let mut arguments = [
            "serve",
            "--output",
            "json",
            "--log",
            "info",
            "--image",
            &image,
            "--listen",
            &mcp,
            "--node-listen",
            &nodes,
        ]
        .map(str::to_owned)
        .to_vec();
        for registry in &self.setup.registries {
            arguments.extend(["--insecure-registry".to_owned(), registry.clone()]);
        }
        for endpoint in &self.setup.endpoints {
            arguments.extend(["--allow-endpoint".to_owned(), endpoint.clone()]);
        }
        for address in &self.setup.advertised {
            arguments.extend(["--advertise".to_owned(), address.clone()]);
        }
        if let Some(shared) = &self.setup.shared {
            let [key, machines] = [&shared.key_file, &shared.machines].map(|path| path.display().to_string());
            let options = ["--store", &shared.store, "--key-file", &key, "--machines", &machines];
            arguments.extend(options.map(str::to_owned));
        }
        arguments
    }
}

impl Drop for Engine {
    #[expect(clippy::print_stderr, reason = "a failed test shows what happened")]
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Ended already is as good.
            let _ended = process.kill();
            let _reaped = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("-- the engine's log:\n{}", tail(&self.home.path().join("engine.log")));
            for vm in self.vms() {
                eprintln!(
                    "-- the console of {}:\n{}",
                    vm.name(),
                    tail(&vm.folder.join("console.log"))
                );
            }
        }
        vms::kill_all(&self.data);
    }
}

fn listening(told: &Value) -> Listening {
    let text = |name: &str| {
        told[name]
            .as_str()
            .expect("the engine says where it listens")
            .to_owned()
    };
    let mcp = text("mcp");
    let address = mcp
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    Listening {
        mcp_address: address,
        nodes: text("nodes"),
        mcp,
    }
}

fn tail(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
