//! Images: what arrives, what is refused, and what each refusal means to the supervisor.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use isobar_node_image_agent::runtime::{Exit, Runtime, RuntimeError};
use tar::EntryType;

use super::images::{Layer, Layout, Packing, busybox, digest};
use super::inside::{REGISTRY, Surroundings, inside, output, run, shell, start};

#[test]
fn layers_of_every_packing_stack_with_their_deletions() {
    inside(
        "pulls::layers_of_every_packing_stack_with_their_deletions",
        async |here| {
            let _registry = here.registry();
            let layout = Layout::new(here.path("oci"))
                .layer(
                    Layer::busybox()
                        .file("data/kept", 0o644, b"1")
                        .file("data/deleted", 0o644, b"1")
                        .folder("data/opaque")
                        .file("data/opaque/old", 0o644, b"1")
                        .file("data/becomes-folder", 0o644, b"1"),
                    Packing::Zstd,
                )
                .layer(
                    Layer::new()
                        .file("data/.wh.deleted", 0, b"")
                        .file("data/opaque/.wh..wh..opq", 0, b"")
                        .file("data/opaque/new", 0o4755, b"2")
                        .file("data/becomes-folder/in", 0o600, b"2")
                        .link(EntryType::Link, "data/hard", "data/opaque/new"),
                    Packing::Gzip,
                )
                .layer(Layer::new().file("data/kept", 0o644, b"three"), Packing::Plain)
                .write();
            here.push(&layout, "box:1");
            let runtime = here.runtime();
            let commands = "cd /data; ls *; cat kept; echo; stat -c '%a %h' hard; rm -r opaque; echo 4 >kept; ls";
            start(&runtime, &shell("stack", commands)).await;
            assert_eq!(runtime.wait("stack").await, Ok(Exit::Code(0)));
            let first = output(&runtime, "stack").await.join("\n");
            let expected = [
                "hard",
                "kept",
                "",
                "becomes-folder:",
                "in",
                "",
                "opaque:",
                "new",
                "three",
                "4755 2",
                "becomes-folder",
                "hard",
                "kept",
            ];
            assert_eq!(first, expected.map(|line| format!("o {line}")).join("\n"));
            start(&runtime, &shell("again", commands)).await;
            runtime.wait("again").await.unwrap();
            assert_eq!(
                output(&runtime, "again").await.join("\n"),
                first,
                "what a container writes stays its own"
            );
        },
    );
}

#[test]
fn layers_that_reach_outside_or_lie_are_refused() {
    inside("pulls::layers_that_reach_outside_or_lie_are_refused", async |here| {
        let _registry = here.registry();
        let runtime = here.runtime();
        let secret = here.path("secret");
        fs::write(&secret, "untouched").unwrap();
        let secret_folder = here.path("").display().to_string();
        let dots = format!("{}{}", "../".repeat(10), &secret.display().to_string()[1..]);
        for (name, layer) in [
            ("climbs", Layer::new().file(&dots, 0o644, b"x")),
            ("climbs-late", Layer::new().folder("a").file("a/../../b", 0o644, b"x")),
            ("hard-link-climbs", Layer::new().link(EntryType::Link, "a", &dots)),
            ("device", Layer::new().entry((EntryType::Block, 0o666), "disk", "", b"")),
        ] {
            push_raw(here, name, layer);
            let refused = runtime.pull(&format!("{REGISTRY}/{name}:1")).await;
            assert!(matches!(refused, Err(RuntimeError::BadImage(_))), "{name}: {refused:?}");
        }
        // What a link leads to is looked for inside of the layer: there, the first leads nowhere.
        for (name, fits, layer) in [
            (
                "absolute-link",
                false,
                Layer::new()
                    .link(EntryType::Symlink, "out", &secret_folder)
                    .file("out/secret", 0o644, b"x"),
            ),
            (
                "link-to-root",
                true,
                Layer::new()
                    .link(EntryType::Symlink, "out", "/")
                    .file("out/secret", 0o644, b"x"),
            ),
            (
                "absolute-name",
                true,
                Layer::new().file(&secret.display().to_string(), 0o644, b"x"),
            ),
            (
                "link-over-link",
                true,
                Layer::new()
                    .link(EntryType::Symlink, "a", &secret.display().to_string())
                    .file("a", 0o644, b"x"),
            ),
        ] {
            push_raw(here, name, layer);
            let pulled = runtime.pull(&format!("{REGISTRY}/{name}:1")).await;
            assert_eq!(pulled.is_ok(), fits, "{name}: {pulled:?}");
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "untouched");

        let honest = Layout::new(here.path("lies"));
        let layer = honest
            .layer_called(b"not even an archive", Packing::Gzip, digest(b"something else"))
            .write();
        here.push(&layer, "lies:1");
        let refused = runtime.pull(&format!("{REGISTRY}/lies:1")).await;
        assert!(matches!(refused, Err(RuntimeError::BadImage(_))), "{refused:?}");
        assert_eq!(
            fs::read_dir(here.path("images/layers")).unwrap().count(),
            3,
            "of the harmless images; no half layer is kept"
        );
    });
}

fn push_raw(here: &Surroundings, name: &str, layer: Layer) {
    here.push(
        &Layout::new(here.path(name)).layer(layer, Packing::Gzip).write(),
        &format!("{name}:1"),
    );
}

#[test]
fn each_refusal_of_a_registry_says_what_to_do_next() {
    inside("pulls::each_refusal_of_a_registry_says_what_to_do_next", async |here| {
        let registry = here.registry();
        here.push(&busybox(&here.path("oci")), "box:1");
        let runtime = here.runtime();
        let pull = async |name: &str| runtime.pull(name).await.map(|image| image.digest);
        let here_already = pull(&format!("{REGISTRY}/box:1")).await.unwrap();
        for name in [
            format!("{REGISTRY}/box:2"),
            format!("{REGISTRY}/nowhere:1"),
            "Not A Name".into(),
        ] {
            let refused = pull(&name).await;
            assert!(
                matches!(refused, Err(RuntimeError::NoSuchImage(_))),
                "{name}: {refused:?}"
            );
        }
        let damaged = Layout::new(here.path("damaged"))
            .layer(Layer::new().file("damaged", 0o644, b"x"), Packing::Plain)
            .write();
        here.push(&damaged, "damaged:1");
        damage_last_blob(here);
        let refused = pull(&format!("{REGISTRY}/damaged:1")).await;
        assert!(matches!(refused, Err(RuntimeError::BadImage(_))), "{refused:?}");

        drop(registry);
        let refused = pull(&format!("{REGISTRY}/box:2")).await;
        assert!(matches!(refused, Err(RuntimeError::RegistryAway(_))), "{refused:?}");
        assert_eq!(
            pull(&format!("{REGISTRY}/box:1")).await,
            Ok(here_already.clone()),
            "the image that is here serves"
        );
        assert_eq!(
            pull(&format!("{REGISTRY}/box@{here_already}")).await,
            Ok(here_already),
            "a digest needs no asking"
        );
        for (status, away) in [
            ("503 x", true),
            ("429 x", true),
            ("401 x", false),
            ("403 x", false),
            ("404 x", false),
        ] {
            let server = one_answer(status);
            let refused = pull(&format!("{REGISTRY}/other:1")).await;
            match refused {
                Err(RuntimeError::RegistryAway(_)) if away => {}
                Err(RuntimeError::NoSuchImage(_)) if !away => {}
                other => panic!("{status}: {other:?}"),
            }
            drop(server);
        }
    });
}

#[test]
fn a_full_disk_is_told_from_a_bad_image() {
    inside("pulls::a_full_disk_is_told_from_a_bad_image", async |here| {
        let _registry = here.registry();
        here.push(&busybox(&here.path("oci")), "box:1");
        let images = here.path("images");
        fs::create_dir_all(&images).unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=1m", "none", images.to_str().unwrap()],
        );
        let runtime = here.runtime();
        let refused = runtime.pull(&format!("{REGISTRY}/box:1")).await;
        assert!(matches!(refused, Err(RuntimeError::Full(_))), "{refused:?}");
        run("mount", &["-o", "remount,size=64m", images.to_str().unwrap()]);
        runtime
            .pull(&format!("{REGISTRY}/box:1"))
            .await
            .expect("with room it works");
    });
}

#[test]
fn a_moved_tag_is_noticed_and_idle_images_go() {
    inside("pulls::a_moved_tag_is_noticed_and_idle_images_go", async |here| {
        let _registry = here.registry();
        let runtime = here.runtime();
        let mut digests = Vec::new();
        for version in ["1", "2", "3", "4", "5", "6", "7"] {
            let layer = Layer::new().file("version", 0o644, version.as_bytes());
            let layout = Layout::new(here.path(version)).layer(layer, Packing::Plain).write();
            here.push(&layout, "moving:latest");
            digests.push(runtime.pull(&format!("{REGISTRY}/moving:latest")).await.unwrap().digest);
        }
        digests.dedup();
        assert_eq!(digests.len(), 7);
        let layers = fs::read_dir(here.path("images/layers")).unwrap().count();
        assert!(layers < 7, "{layers} layers of 7 idle images are here");
    });
}

/// Flips the newest layer in the registry's own storage.
fn damage_last_blob(here: &Surroundings) {
    let blobs = here.path("registry/docker/registry/v2/blobs/sha256");
    for prefix in fs::read_dir(blobs).unwrap() {
        for blob in fs::read_dir(prefix.unwrap().path()).unwrap() {
            let data = blob.unwrap().path().join("data");
            let bytes = fs::read(&data).unwrap();
            if bytes.len() > 512 && bytes.starts_with(b"damaged\0") {
                let other = [b"D", &bytes[1..]].concat();
                fs::write(&data, other).unwrap();
                return;
            }
        }
    }
    panic!("the layer is not in the registry's storage");
}

/// A server in the registry's place that says the same to everybody.
fn one_answer(status: &'static str) -> impl Drop {
    struct Server(
        std::sync::Arc<std::sync::atomic::AtomicBool>,
        Option<std::thread::JoinHandle<()>>,
    );
    impl Drop for Server {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
            let _ = std::net::TcpStream::connect(REGISTRY);
            self.1.take().unwrap().join().unwrap();
        }
    }
    let listener = TcpListener::bind(REGISTRY).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(std::sync::atomic::Ordering::SeqCst) {
                return;
            }
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
            );
        }
    });
    Server(stop, Some(thread))
}
