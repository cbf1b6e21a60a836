//! Addresses, published ports, and what is kept apart, with a second network namespace as the world outside.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use isobar_node_image_agent::runtime::{Runtime, RuntimeError};

use super::images::busybox;
use super::inside::{inside, output, run, shell, start};

const NODE: &str = "192.0.2.1";
const OUTSIDE: &str = "192.0.2.2";
const METADATA: &str = "169.254.169.254";
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another machine on the node's network, which is also where the metadata address leads.
fn world() {
    run("ip", &["netns", "add", "world"]);
    run(
        "ip",
        &[
            "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", "world",
        ],
    );
    run("ip", &["addr", "add", &format!("{NODE}/24"), "dev", "wire0"]);
    run("ip", &["link", "set", "wire0", "up"]);
    run("ip", &["route", "add", "default", "via", OUTSIDE]);
    for arguments in [
        vec!["link", "set", "lo", "up"],
        vec!["addr", "add", "192.0.2.2/24", "dev", "wire1"],
        vec!["addr", "add", "169.254.169.254/32", "dev", "lo"],
        vec!["link", "set", "wire1", "up"],
        vec!["route", "add", "10.88.0.0/16", "via", NODE],
    ] {
        run("ip", &[vec!["-n", "world"], arguments].concat());
    }
}

/// A web server, on the node or in the world, that says who it is.
fn server(place: &str, port: u16, folder: &std::path::Path) -> Running {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("index.html"), place).unwrap();
    let mut command = match place {
        "world" => Command::new("ip"),
        _ => Command::new("busybox"),
    };
    if place == "world" {
        command.args(["netns", "exec", "world", "busybox"]);
    }
    let port = port.to_string();
    let child = command
        .args(["httpd", "-f", "-p", &port, "-h"])
        .arg(folder)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Running(child)
}

fn get(address: &str, port: u16) -> Option<String> {
    let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.rsplit("\r\n").next().map(str::to_owned)
}

fn get_soon(address: &str, port: u16) -> String {
    let begun = Instant::now();
    loop {
        if let Some(answer) = get(address, port) {
            return answer;
        }
        assert!(begun.elapsed() < ANSWER_MAX, "{address}:{port} does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same from the world.
fn get_from_world(address: &str, port: u16) -> Option<String> {
    let url = format!("http://{address}:{port}/");
    let got = Command::new("ip")
        .args([
            "netns", "exec", "world", "busybox", "timeout", "1", "busybox", "wget", "-q", "-O", "-", &url,
        ])
        .output()
        .unwrap();
    got.status
        .success()
        .then(|| String::from_utf8_lossy(&got.stdout).into_owned())
}

#[test]
fn a_published_port_leads_in_and_nothing_else_does() {
    inside(
        "network::a_published_port_leads_in_and_nothing_else_does",
        async |here| {
            world();
            let _registry = here.registry();
            here.push(&busybox(&here.path("oci")), "box:1");
            let runtime = here.runtime();
            let mut spec = shell(
                "web",
                "echo container >/data/index.html; httpd -p 80 -h /data; exec httpd -f -p 81 -h /data",
            );
            spec.published = vec![(80, 8080)];
            let address = start(&runtime, &spec).await.to_string();
            for node in ["127.0.0.1", NODE] {
                assert_eq!(get_soon(node, 8080).trim(), "container", "{node}");
            }
            assert_eq!(get_from_world(NODE, 8080).as_deref().map(str::trim), Some("container"));
            assert_eq!(
                get_soon(&address, 81).trim(),
                "container",
                "the node itself checks health there"
            );
            assert_eq!(get_from_world(&address, 80), None, "an address is not a published port");
            assert_eq!(get_from_world(&address, 81), None);

            let mut taken = shell("late", "exec sleep 9");
            taken.published = vec![(80, 8080)];
            let image = runtime.pull(&taken.image).await.unwrap();
            let refused = runtime.start(&taken, &image).await;
            assert_eq!(
                refused,
                Err(RuntimeError::CannotStart("node port 8080 is taken by web".into()))
            );
            taken.published = vec![(80, 22)];
            let refused = runtime.start(&taken, &image).await;
            assert_eq!(
                refused,
                Err(RuntimeError::CannotStart("node port 22 is taken by the node".into()))
            );

            runtime.remove("web").await.unwrap();
            assert_eq!(get(NODE, 8080), None);
            taken.published = vec![(80, 8080)];
            assert_eq!(
                runtime.start(&taken, &image).await.unwrap().to_string(),
                address,
                "addresses are used again"
            );
            runtime.remove("late").await.unwrap();
        },
    );
}

#[test]
fn a_container_reaches_the_world_and_its_neighbours_but_not_the_node() {
    inside(
        "network::a_container_reaches_the_world_and_its_neighbours_but_not_the_node",
        async |here| {
            world();
            let _registry = here.registry();
            here.push(&busybox(&here.path("oci")), "box:1");
            let runtime = here.runtime();
            let _world = server("world", 80, &here.path("world"));
            let _node = server("node", 9000, &here.path("node"));
            assert_eq!(get_soon(OUTSIDE, 80), "world");
            assert_eq!(get_soon(METADATA, 80), "world", "the node itself may ask for metadata");
            assert_eq!(get_soon(NODE, 9000), "node");
            let mut web = shell("web", "echo neighbour >/data/index.html; exec httpd -f -p 80 -h /data");
            web.published = vec![(80, 8080)];
            let neighbour = start(&runtime, &web).await;
            get_soon(NODE, 8080);
            let asks = [
                format!("{OUTSIDE}:80"),
                format!("{neighbour}:80"),
                format!("{NODE}:8080"),
                format!("{METADATA}:80"),
                format!("{NODE}:9000"),
                "10.88.0.1:9000".into(),
                "127.0.0.1:9000".into(),
            ];
            let commands =
                asks.map(|url| format!("timeout 1 wget -q -O - http://{url}/ 2>/dev/null || echo nothing; echo;"));
            start(&runtime, &shell("asks", &commands.concat())).await;
            runtime.wait("asks").await.unwrap();
            let mut lines = output(&runtime, "asks").await;
            lines.retain(|line| line != "o ");
            assert_eq!(
                lines,
                [
                    "o world",
                    "o neighbour",
                    "o neighbour",
                    "o nothing",
                    "o nothing",
                    "o nothing",
                    "o nothing"
                ]
            );
            for id in ["web", "asks"] {
                runtime.remove(id).await.unwrap();
            }
        },
    );
}
