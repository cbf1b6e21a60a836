//! What is cut short: Ctrl-C while a plan is carried out, a disk that fills up.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use isobar_tests_e2e::engine::Setup;
use isobar_tests_e2e::spec;

/// A file system of its own in memory; only root can have one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("the folder can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
            .arg(folder)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "this test needs root, to mount a small file system"
        );
        Self(folder.to_owned())
    }

    /// Takes all the room that is left, and gives the file that holds it.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let mut file = File::create(&path).expect("there is room for a name");
        // Large pieces first: what is left in the end is less than the smallest.
        for bytes in [64 << 10, 4 << 10, 1] {
            while file.write_all(&vec![0; bytes]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still uses it keeps it until then.
        let _unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_changes_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = SmallDisk::mount(&folder.path().join("data"));
    let mut engine = Setup::without_machines().data(&disk.0).start();
    engine.json(&["apply", &engine.keep_spec(&spec::idle(1)), "--yes"]);
    let next = engine.keep_spec(&spec::idle(2));

    let ballast = disk.fill();
    let refused = (0..100)
        .map(|_| engine.run(&["apply", &next, "--yes"]))
        .find(|ended| ended.code != Some(0));
    let refused = refused.expect("a full disk takes no hundred changes");
    refused.ended_with(4).says(&["no room left", "hint: "]);
    // What is known is still told.
    assert_eq!(engine.json(&["query", "cluster"])["cluster"]["generation"], 1);
    // The next engine could not even say that it is the one that writes.
    engine.kill();
    engine
        .serve()
        .expect_err("there is no room to begin")
        .ended_with(3)
        .says(&["no room left", "free some room on the disk"]);

    fs::remove_file(ballast).expect("it is ours");
    engine.start();
    engine.json(&["apply", &next, "--yes"]);
    assert_eq!(
        engine.json(&["query", "cluster"])["spec"]["workloads"]["web"]["image"],
        "localhost:5000/box:2"
    );
}

#[cfg(feature = "vm")]
mod with_machines {
    use isobar_tests_e2e::command::Ended;
    use isobar_tests_e2e::registry::Registry;
    use isobar_tests_e2e::wait::{BOOT, within};
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn ctrl_c_cancels_says_what_is_done_and_the_next_apply_goes_on() {
        let registry = Registry::start();
        let engine = Setup::with_machines().registry(&registry).start();
        let web = format!(
            "  web:\n    kind: {{ service: {{ replicas: 1 }} }}\n    image: {}\n    resources: {{ cpu: 100m, memory: 32MiB }}\n",
            registry.image()
        );
        let file = engine.keep_spec(&spec::one_site(1, &web));
        let apply = engine.begin(&["apply", &file, "--yes"]);
        let pid = i32::try_from(apply.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        within(BOOT, "a machine runs", || {
            engine.vms().pop().ok_or_else(|| "none".to_owned())
        });
        kill_process(pid, Signal::INT).expect("it runs");
        let ended = Ended::of(&apply.wait_with_output().expect("it is our child"));
        ended.clone().ended_with(130).says(&["asking the engine to cancel"]);
        let told = ended.stdout + &ended.stderr;
        assert!(told.contains("cancelled") && told.contains("buy machine"), "{told}");

        // Held as it is: the machine that was bought stays, and nothing more is done.
        let cluster = engine.json(&["query", "cluster"]);
        assert_eq!(cluster["cluster"]["condition"]["condition"], "held", "{cluster}");
        let before: Vec<i32> = engine.vms().iter().map(|vm| vm.pid).collect();
        assert_eq!(before.len(), 1);

        engine.run(&["apply", &file, "--yes"]).done();
        let after: Vec<i32> = engine.vms().iter().map(|vm| vm.pid).collect();
        assert_eq!(after, before, "the machine is used, not bought again");
        engine.run(&["destroy", "--yes"]).done();
        assert!(engine.vms().is_empty());
    }
}
