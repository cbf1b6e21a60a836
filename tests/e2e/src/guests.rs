//! Clouds on this computer whose machines boot: QEMU guests with the real node image, which find home by their cloud's
//! metadata service. For a blocking test: the runtime is in here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use isobar_engine_model::id::ResourceHandle;
use isobar_tests_cloudbox::booted::{Booted, Machine};
use isobar_tests_cloudbox::{Image, Images};
use isobar_tests_clouds::world::{Cloud, World};
use tokio::runtime::{Builder, Runtime};

use crate::image;
use crate::wait::{SOON, within};

/// AWS, Azure and GCP with guests, for as long as this lives.
pub struct Guests {
    // Nothing but the drop takes it.
    clouds: Option<Booted>,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Guests {
    /// Opens all three, whose machines are nodes.
    ///
    /// # Panics
    ///
    /// When there is no node image, or loopback has no free ports.
    pub fn open() -> Self {
        Self::of(None)
    }

    /// Opens all three, whose machines are nodes or engines'.
    ///
    /// # Panics
    ///
    /// When one of the images is not there, or loopback has no free ports.
    pub fn with_engines() -> Self {
        Self::of(Some(Image::of(&image::engine()).expect("a whole engine image")))
    }

    fn of(engine: Option<Image>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = Image::of(&image::real()).expect("a whole node image");
        let images = Images { node, engine };
        let threads = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = threads.expect("a runtime");
        let opened = runtime.block_on(Booted::open(&images, folder.path()));
        Self {
            clouds: Some(opened.expect("loopback has free ports")),
            runtime,
            _folder: folder,
        }
    }

    /// What answers the engine.
    pub fn world(&self) -> &World {
        &self.clouds().world
    }

    /// Every machine of a cloud.
    pub fn machines(&self, cloud: Cloud) -> Vec<Machine> {
        self.clouds().machines(cloud)
    }

    /// What a machine's serial console has printed.
    pub fn console(&self, cloud: Cloud, machine: &ResourceHandle) -> String {
        self.clouds().console(cloud, machine).unwrap_or_default()
    }

    fn clouds(&self) -> &Booted {
        self.clouds.as_ref().expect("nothing but the drop takes it")
    }
}

impl Drop for Guests {
    #[expect(clippy::print_stderr, reason = "a failed test shows what happened")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for cloud in Cloud::ALL {
                for machine in self.machines(cloud) {
                    let console = self.console(cloud, &machine.handle);
                    eprintln!("-- the console of {} on {cloud:?}:\n{console}", machine.handle);
                }
            }
        }
        let _inside = self.runtime.enter();
        drop(self.clouds.take());
    }
}

/// What a web server answers to `GET /`, when it does.
pub fn page(address: SocketAddr) -> Result<String, String> {
    let fails = |error: std::io::Error| format!("{address}: {error}");
    let mut connection = TcpStream::connect_timeout(&address, SOON).map_err(fails)?;
    connection.set_read_timeout(Some(SOON)).map_err(fails)?;
    connection
        .write_all(b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n")
        .map_err(fails)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).map_err(fails)?;
    Ok(answer)
}

/// Waits until a guest's process is no more.
///
/// # Panics
///
/// When it runs on.
pub fn has_ended(pid: u32) {
    let process = format!("/proc/{pid}");
    within(SOON, "the guest has ended", || match Path::new(&process).exists() {
        true => Err(format!("process {pid} runs")),
        false => Ok(()),
    });
}
