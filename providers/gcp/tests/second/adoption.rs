//! Prism with Google's own discovery document judges the calls that read what others made.

use isobar_engine_model::object::{ObjectId, ObjectType};
use isobar_engine_provider::Provider as _;
use isobar_engine_provider::adoption::ObjectRef;
use isobar_tests_clouds::program::Program;

use crate::{FINE, kind, prism, provider, site};

const OBJECTS: [(&str, &str); 15] = [
    ("instance", "zones/europe-west1-b/instances/web"),
    ("instance_template", "global/instanceTemplates/web"),
    ("instance_template", "regions/europe-west1/instanceTemplates/web"),
    (
        "instance_group_manager",
        "zones/europe-west1-b/instanceGroupManagers/web",
    ),
    (
        "instance_group_manager",
        "regions/europe-west1/instanceGroupManagers/web",
    ),
    ("disk", "zones/europe-west1-b/disks/data"),
    ("disk", "regions/europe-west1/disks/data"),
    ("network", "global/networks/main"),
    ("subnetwork", "regions/europe-west1/subnetworks/a"),
    ("firewall", "global/firewalls/web"),
    ("route", "global/routes/out"),
    ("router", "regions/europe-west1/routers/nat"),
    ("address", "regions/europe-west1/addresses/web"),
    ("address", "global/addresses/web"),
    ("network", "projects/shop-1/global/networks/main"),
];

#[tokio::test]
async fn prism_finds_nothing_wrong_with_any_call_that_reads_objects() {
    let (tokens, prism) = (Program::gcplocal().await, prism().await);
    let (provider, _credentials) = provider(&prism.url, &tokens.url);
    for (of, id) in OBJECTS {
        let object = ObjectRef {
            kind: ObjectType(of.to_owned()),
            id: ObjectId(id.to_owned()),
            zone: None,
        };
        let adoption = provider.adoption().unwrap();
        // A call of one object fails as a whole where nothing could be read.
        let judged = adoption.read(&site(&prism.url), &[object]).await;
        let judged = kind(judged.and_then(|mut found| found.remove(0)));
        assert!(FINE.contains(&judged), "{id}: {judged}");
    }
}
