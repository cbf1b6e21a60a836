//! Starting, ending, watching, removing.

use std::time::Duration;

use isobar_node_image_agent::runtime::{Exit, Runtime, RuntimeError};

use super::images::busybox;
use super::inside::{inside, output, shell, start};

#[test]
fn a_container_runs_to_its_end_with_its_exit_code_and_output() {
    inside(
        "life::a_container_runs_to_its_end_with_its_exit_code_and_output",
        async |here| {
            let _registry = here.registry();
            here.push(&busybox(&here.path("oci")), "box:1");
            let runtime = here.runtime();
            let spec = shell("one", "echo to stdout; echo to stderr >&2; hostname; exit 7");
            start(&runtime, &spec).await;
            assert_eq!(runtime.wait("one").await, Ok(Exit::Code(7)));
            let mut lines = output(&runtime, "one").await;
            lines.sort();
            assert_eq!(lines, ["e to stderr", "o one", "o to stdout"]);
            runtime.remove("one").await.unwrap();
            assert_eq!(runtime.wait("one").await, Err(RuntimeError::NotFound));
            assert_eq!(output(&runtime, "one").await.len(), 3, "output outlives its container");
            runtime.forget("one").await;
            assert_eq!(runtime.output("one", None, 1).await, Err(RuntimeError::NotFound));
            runtime.remove("one").await.expect("removing what is gone is fine");
        },
    );
}

#[test]
fn signals_reach_the_program_and_their_effect_is_told() {
    inside(
        "life::signals_reach_the_program_and_their_effect_is_told",
        async |here| {
            let _registry = here.registry();
            here.push(&busybox(&here.path("oci")), "box:1");
            let runtime = here.runtime();
            for (id, commands, signal, exit) in [
                // As process 1 of its namespace a program without a handler would not notice.
                ("plain", "exec sleep 100", libc::SIGTERM, Exit::Signal(libc::SIGTERM)),
                (
                    "polite",
                    "trap 'exit 3' TERM; while :; do sleep 0.05; done",
                    libc::SIGTERM,
                    Exit::Code(3),
                ),
                ("killed", "exec sleep 100", libc::SIGKILL, Exit::Signal(libc::SIGKILL)),
            ] {
                start(&runtime, &shell(id, &format!("echo ready; {commands}"))).await;
                while output(&runtime, id).await.is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                runtime.signal(id, signal).await.unwrap();
                assert_eq!(runtime.wait(id).await, Ok(exit), "{id}");
                runtime.remove(id).await.unwrap();
            }
        },
    );
}
