//! `isobar-cloudbox` as other programs run it: a line of JSON for each line that it is told. No machine boots in these: what
//! is started for one only says how it was started. And the metadata service of its machines, without these.

mod callers;
mod credentials;
mod engines;
mod running;

use serde_json::json;

use running::Program;

#[test]
fn it_says_how_its_clouds_are_found_and_ends_with_its_input() {
    let mut program = Program::start();
    let told = program.hear();
    assert_eq!(told["host"], "10.0.2.2");
    assert!(told["environment"]["AWS_ACCESS_KEY_ID"].is_string(), "{told}");
    assert_eq!(told["engine_images"], json!(null), "there is none");
    for cloud in ["aws", "azure", "gcp"] {
        let site = &told["sites"][cloud];
        assert_eq!(site["provider"], cloud);
        let endpoint = site["settings"]["endpoint"].as_str().expect("an address");
        assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
    }
    assert!(program.ends().success());
}

#[test]
fn it_answers_each_command_and_says_which_there_are() {
    let mut program = Program::start();
    program.hear();
    assert_eq!(program.ask("machines"), json!({ "machines": [] }));
    assert_eq!(program.ask("dry gcp"), json!({ "dry": "gcp" }));
    assert_eq!(program.ask("room gcp"), json!({ "room": "gcp" }));
    for wrong in ["", "dry", "dry mars", "machines aws", "stop"] {
        let answer = program.ask(wrong);
        assert!(
            answer["error"].as_str().is_some_and(|error| error.contains("`dry`")),
            "{wrong}: {answer}"
        );
    }
}
