//! What a container sees of the node, and what it may do to it: nothing that it was not given.

use std::time::Duration;

use isobar_node_image_agent::runtime::{Exit, Runtime, RuntimeError};
use serde_json::json;

use super::images::{Layer, Layout, Packing, busybox};
use super::inside::{inside, output, shell, start};

#[test]
fn a_container_is_alone_and_without_privileges() {
    inside("isolation::a_container_is_alone_and_without_privileges", async |here| {
        let _registry = here.registry();
        here.push(&busybox(&here.path("oci")), "box:1");
        let runtime = here.runtime();
        let commands = "
            cat /proc/1/cmdline | head -c 11; echo
            ls /proc | grep -c '^[0-9]'
            mount -t tmpfs none /tmp 2>&1 | grep -c .
            unshare -U true 2>&1 | grep -c .
            mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk >/dev/null 2>&1 || echo no disk
            head -c 1 /proc/kcore 2>/dev/null | wc -c
            echo 1 2>/dev/null >/proc/sys/kernel/panic || echo no sysctl
            ls /sys/firmware | wc -l
            ls /proc/self/fd | wc -l
            grep -E '^(Seccomp|NoNewPrivs|CapEff):' /proc/self/status
            echo /*
            ip addr | grep -c inet6
            dmesg 2>&1 | head -1
        ";
        start(&runtime, &shell("alone", commands)).await;
        runtime.wait("alone").await.unwrap();
        let lines = output(&runtime, "alone").await;
        let expected = [
            "o isobar-node",
            // Its init, the shell, `ls`, `grep`.
            "o 4",
            "o 1",
            "o 1",
            "o no disk",
            "o 0",
            "o no sysctl",
            "o 0",
            // Three, and the folder that `ls` reads.
            "o 4",
            "o CapEff:\t00000000a80425fb",
            "o NoNewPrivs:\t1",
            "o Seccomp:\t2",
            "o /bin /data /dev /etc /proc /sys /tmp",
            "o 0",
            "o dmesg: klogctl: Operation not permitted",
        ];
        assert_eq!(lines, expected);
    });
}

#[test]
fn the_images_user_environment_and_folder_hold_unless_replaced() {
    inside(
        "isolation::the_images_user_environment_and_folder_hold_unless_replaced",
        async |here| {
            let _registry = here.registry();
            let layout = Layout::new(here.path("oci"))
                .layer(Layer::busybox(), Packing::Gzip)
                .config(json!({
                    "User": "web", "WorkingDir": "/data", "Env": ["PATH=/bin", "A=image", "B=image"],
                    "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id; pwd; echo $A $B; cat /etc/hostname"],
                }))
                .write();
            here.push(&layout, "box:1");
            let runtime = here.runtime();
            let mut spec = shell("own", "");
            spec.command.clear();
            spec.env.push(("B".into(), "asked".into()));
            start(&runtime, &spec).await;
            assert_eq!(runtime.wait("own").await, Ok(Exit::Code(0)));
            assert_eq!(
                output(&runtime, "own").await,
                [
                    "o uid=33(web) gid=34(web) groups=77(media)",
                    "o /data",
                    "o image asked",
                    "o own"
                ]
            );
        },
    );
}

#[test]
fn a_command_joins_with_the_same_rights_and_a_bound() {
    inside(
        "isolation::a_command_joins_with_the_same_rights_and_a_bound",
        async |here| {
            let _registry = here.registry();
            here.push(&busybox(&here.path("oci")), "box:1");
            let runtime = here.runtime();
            start(&runtime, &shell("host", "exec sleep 100")).await;
            let exec = async |command: &str, timeout_ms| {
                let command = ["/bin/sh", "-c", command].map(String::from);
                runtime.exec("host", &command, Duration::from_millis(timeout_ms)).await
            };
            assert_eq!(exec("exit 5", 5000).await, Ok(5));
            assert_eq!(exec("hostname | grep -qx host", 5000).await, Ok(0));
            assert_eq!(exec("grep -q '^Seccomp:.*2' /proc/self/status", 5000).await, Ok(0));
            assert_eq!(exec("grep -q '^NoNewPrivs:.*1' /proc/self/status", 5000).await, Ok(0));
            assert_eq!(exec("kill -9 $$", 5000).await, Ok(137));
            assert!(matches!(exec("sleep 100", 200).await, Err(RuntimeError::Failed(_))));
            let missing = runtime
                .exec("host", &["/no/such".to_owned()], Duration::from_secs(5))
                .await;
            assert!(matches!(missing, Err(RuntimeError::CannotStart(_))), "{missing:?}");
            assert_eq!(
                runtime
                    .exec("other", &["/bin/true".to_owned()], Duration::from_secs(5))
                    .await,
                Err(RuntimeError::NotFound)
            );
            runtime.remove("host").await.unwrap();
        },
    );
}
