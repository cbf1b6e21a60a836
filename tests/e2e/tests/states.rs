//! States of Terraform with several engines on one PostgreSQL: any of them is the backend, of two writers one wins, and
//! nothing is lost when the engine that keeps the states is killed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::group::Group;
use isobar_tests_e2e::wait::within;
use serde_json::json;

/// A member's lease, the time to notice its end and to read a shard.
const TAKE_OVER_MAX: Duration = Duration::from_secs(20);

/// A request as a client of the backend sends it, over a connection of its own: status and body.
fn request(engine: &Engine, method: &str, query: &str, body: &str) -> Result<(u16, String), String> {
    let token = std::fs::read_to_string(engine.data().join("token")).map_err(|error| error.to_string())?;
    let (host, length) = (&engine.at().mcp_address, body.len());
    let head = format!(
        "{method} /terraform/shop{query} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Length: \
         {length}\r\nConnection: close\r\n\r\n{body}",
        token.trim()
    );
    let exchange = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(host)?;
        connection.write_all(head.as_bytes())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or(answer)
}

fn told(engine: &Engine, method: &str, query: &str, body: &str) -> (u16, String) {
    request(engine, method, query, body).expect("it answers")
}

fn state(serial: u64, by: &str) -> String {
    let outputs = json!({"by": {"value": by, "type": "string"}});
    json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l", "outputs": outputs,
        "resources": []})
    .to_string()
}

fn lock(id: &str) -> String {
    json!({"ID": id, "Who": format!("{id}@host")}).to_string()
}

#[test]
fn any_engine_is_the_backend_of_all_states() {
    let mut group = Group::start(3, Setup::without_machines());
    {
        let [a, b, c] = &group.engines[..] else {
            panic!("three were started")
        };
        assert_eq!(told(a, "LOCK", "", &lock("one")).0, 200);
        assert_eq!(told(b, "LOCK", "", &lock("two")), (423, lock("one")));
        assert_eq!(told(c, "POST", "?ID=one", &state(1, "c")).0, 200);
        assert_eq!(told(b, "GET", "", ""), (200, state(1, "c")));
        assert_eq!(told(b, "UNLOCK", "", &lock("one")).0, 200);
    }
    for serial in 2..6 {
        let written: Vec<u16> = std::thread::scope(|scope| {
            let write = |(number, engine)| {
                let body = state(serial, &format!("engine {number}"));
                scope.spawn(move || told(engine, "POST", "", &body).0)
            };
            let writing: Vec<_> = group.engines.iter().enumerate().map(write).collect();
            writing
                .into_iter()
                .map(|one| one.join().expect("it does not panic"))
                .collect()
        });
        assert_eq!(
            written.iter().filter(|status| **status == 200).count(),
            1,
            "{written:?}"
        );
    }
    let newest = told(&group.engines[0], "GET", "", "");
    assert_eq!(told(&group.engines[0], "LOCK", "", &lock("three")).0, 200);
    // One after the other, so that the one which keeps the states is among them.
    for dying in [0, 1] {
        group.engines[dying].kill();
        let last = &group.engines[2];
        within(TAKE_OVER_MAX, "the states have an engine", || {
            match request(last, "GET", "", "")? {
                found if found == newest => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        assert_eq!(told(last, "LOCK", "", &lock("four")), (423, lock("three")));
    }
    assert_eq!(told(&group.engines[2], "POST", "?ID=three", &state(9, "three")).0, 200);
    let history = group.engines[2].json(&["terraform", "history", "shop"]);
    assert_eq!(history.as_array().map(Vec::len), Some(6));
}
