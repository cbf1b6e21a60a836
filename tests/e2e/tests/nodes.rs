//! Nodes that do not belong: wrong and used tokens, another engine's certificates. The endpoint is the real one; machines
//! are processes that boot nothing, so that the test can speak in their place.

use std::path::PathBuf;

use isobar_node_image_agent::dial::DialError;
use isobar_node_image_agent::identity::Home;
use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::node::{Node, identity_of};
use isobar_tests_e2e::spec;
use isobar_tests_e2e::wait::{SOON, within};

/// An engine with one machine, and what that machine was given.
fn engine_with_a_machine() -> (Engine, Home) {
    let engine = Setup::without_machines().with_machines_that_boot_nothing().start();
    engine.json(&["apply", &engine.keep_spec(&spec::one_site(1, "")), "--yes", "--detach"]);
    let machine: PathBuf = within(SOON, "the machine runs", || {
        engine
            .machine_folders()
            .into_iter()
            .next()
            .ok_or_else(|| "none".to_owned())
    });
    let mut home = identity_of(&machine);
    // The test runs on the host itself.
    home.engines = vec![engine.at().nodes.clone()];
    (engine, home)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, DialError>, why: &str) {
    match answer {
        Err(DialError::Refused(status)) => assert!(status.message().contains(why), "{status:?}"),
        other => panic!("not refused: {other:?}"),
    }
}

fn is_ready(engine: &Engine) -> bool {
    engine.json(&["query", "machines"])["machines"][0]["phase"]["phase"] == "ready"
}

#[test]
fn a_token_admits_the_first_key_that_shows_it_and_no_other() {
    let (engine, home) = engine_with_a_machine();
    let (honest, thief) = (Node::new(), Node::new());
    let mut wrong = home.clone();
    *wrong.token.last_mut().expect("a token has bytes") ^= 1;
    refused(honest.join(&wrong), "the token is unknown");

    let certificate = honest.join(&home).expect("the token is the machine's").certificate_der;
    refused(thief.join(&home), "the token was used with another key");
    // An answer that was lost can be asked for again.
    honest.join(&home).expect("the key is the one that came first");
    assert!(!is_ready(&engine), "nobody has begun a session");
    honest
        .first_word(&home, &certificate)
        .expect("the certificate is the machine's");
    within(SOON, "the machine is ready", || {
        is_ready(&engine).then_some(()).ok_or_else(|| "it is not".to_owned())
    });
}

#[test]
fn a_session_needs_a_certificate_of_this_engine_for_the_key_that_shows_it() {
    let (engine, home) = engine_with_a_machine();
    let (_other, foreign_home) = engine_with_a_machine();
    let (node, stranger) = (Node::new(), Node::new());
    let certificate = node.join(&home).expect("the token is the machine's").certificate_der;
    let foreign = stranger
        .join(&foreign_home)
        .expect("the token is that machine's")
        .certificate_der;

    // Another cluster's token says nothing here.
    let mut lost = foreign_home.clone();
    (lost.engines, lost.ca_der) = (home.engines.clone(), home.ca_der.clone());
    refused(Node::new().join(&lost), "the token is unknown");
    // Nor does a certificate that another authority signed, nor ours without its key.
    for (who, shown) in [(&stranger, &foreign), (&stranger, &certificate)] {
        let heard = who.first_word(&home, shown);
        assert!(heard.is_err(), "{heard:?}");
    }
    // And a node does not speak to an engine of another authority.
    let mut astray = home.clone();
    astray.engines.clone_from(&foreign_home.engines);
    assert!(matches!(node.join(&astray), Err(DialError::Away(_))));
    assert!(!is_ready(&engine));
    node.first_word(&home, &certificate)
        .expect("the certificate is the machine's");
}
