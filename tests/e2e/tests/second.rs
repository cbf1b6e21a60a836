//! The whole path, plan, apply, scale and destroy, by the real command, before judges whom others wrote: moto is the cloud
//! itself; prism stands before the strict clouds, with Microsoft's and Google's own descriptions, and lets nothing through
//! that is not as described, neither question nor answer; gcplocal is asked as far as it goes. Where one of them is wrong, the
//! test says so.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use isobar_providers_sim::SimConfig;
use isobar_tests_clouds::azure::openapi;
use isobar_tests_clouds::program::moto::Moto;
use isobar_tests_clouds::program::{Program, installed};
use isobar_tests_clouds::world::{Cloud, Pages};
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::shop::{apply, destroy, everywhere, healthy};
use isobar_tests_e2e::simulated;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

/// Between two looks at what moto runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Among the sizes that Microsoft's specification names. Prism takes no other, though they are only examples
/// (`modelAsString`; the list is called deprecated in the specification itself).
const SIZE: &str = "Standard_D2s_v3";

/// Plans, applies, doubles and ends a cluster over these sites; `machines` says how many there really are.
fn whole_path(engine: &Engine, sites: &Map<String, Value>, machines: impl Fn() -> usize) {
    let count = u32::try_from(sites.len()).unwrap();
    let each = |replicas: usize| -> BTreeMap<String, usize> {
        let of = |site: &String| (site.clone(), replicas);
        sites.keys().map(of).collect()
    };
    let first = everywhere(sites, 1, count);
    let file = engine.keep_spec(&first.to_string());
    let planned = engine.json(&["plan", &file]);
    assert_eq!(planned["plan"]["body"]["unmet"], json!([]), "{planned}");
    assert_eq!(machines(), 0, "a plan changes nothing");
    apply(engine, &first);
    assert_eq!((machines(), healthy(engine)), (sites.len(), each(1)));
    apply(engine, &everywhere(sites, 2, 2 * count));
    assert_eq!((machines(), healthy(engine)), (2 * sites.len(), each(2)));
    destroy(engine);
    assert_eq!(machines(), 0);
}

/// Runs a node for each instance that moto says it runs, with the user data that it was created with.
async fn populate(moto: Arc<Moto>) {
    let mut nodes = BTreeMap::new();
    loop {
        let running = moto.running().await;
        for id in &running {
            if !nodes.contains_key(id) {
                let node = simulated::node(&moto.user_data(id).await).expect("the engine made it");
                nodes.insert(id.clone(), tokio::spawn(node.live()));
            }
        }
        nodes.retain(|id, life| {
            let runs = running.contains(id);
            if !runs {
                life.abort();
            }
            runs
        });
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// moto ignores `ClientToken`: a request that is sent twice makes two machines. None is here, since moto loses no answers.
#[test]
fn moto_takes_the_whole_path() {
    let runtime = Runtime::new().unwrap();
    let moto = Arc::new(runtime.block_on(Moto::start()));
    let populating = runtime.spawn(populate(moto.clone()));
    let environment = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", moto.keys.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", moto.keys.secret.clone()),
    ]);
    let setup = Setup::without_machines().may_call(moto.url());
    let engine = setup.environment(environment).start();
    // It wants a size beside the root disk's name, where EC2 takes the image's own.
    let settings = json!({ "image": moto.image, "disk_gib": "8", "endpoint": moto.url() });
    let site = json!({ "provider": "aws", "region": Moto::REGION, "settings": settings });
    let sites = Map::from_iter([("aws".to_owned(), site)]);
    whole_path(&engine, &sites, || runtime.block_on(moto.running()).len());
    populating.abort();
}

/// One of the strict clouds, behind prism, which does not let `wrong` pass.
fn judged(cloud: Cloud, description: &Path, (wrong, body): (&str, &str)) {
    let sized = |of: Cloud, mut config: SimConfig| {
        if of == Cloud::Azure {
            for region in config.regions.values_mut() {
                region.shapes.truncate(2);
                for shape in &mut region.shapes {
                    SIZE.clone_into(&mut shape.instance_type);
                }
            }
        }
        config
    };
    let clouds = Emulated::open(Pages::Whole, sized);
    let runtime = Runtime::new().unwrap();
    let prism = runtime.block_on(Program::prism_before(clouds.world.endpoint(cloud), description));
    // Else its silence would say nothing.
    assert_eq!(runtime.block_on(prism.status(wrong, body)), 422, "{wrong}");
    assert_eq!(clouds.world.calls(cloud).all(), BTreeMap::new());
    let setup = Setup::without_machines().clouds(&clouds.world);
    let engine = setup.may_call(&prism.url).start();
    let mut site = clouds.world.site(cloud);
    site["settings"]["endpoint"] = json!(prism.url);
    let sites = Map::from_iter([(cloud.name().to_owned(), site)]);
    whole_path(&engine, &sites, || clouds.world.cloud(cloud).machines().len());
    clouds.are_empty();
}

#[test]
fn microsoft_s_specification_allows_the_whole_path() {
    let folder = tempfile::tempdir().unwrap();
    let specification = folder.path().join("azure.json");
    std::fs::write(&specification, openapi()).unwrap();
    let put = "PUT /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v";
    let versioned = format!("{put}?api-version=2024-07-01");
    judged(Cloud::Azure, &specification, (&versioned, r#"{"location": 1}"#));
}

#[test]
fn google_s_description_allows_the_whole_path() {
    let insert = "POST /compute/v1/projects/shop-1/zones/europe-west1-b/instances";
    let misspelt = r#"{"name": "a", "nmae": "b"}"#;
    judged(Cloud::Gcp, &installed("compute.swagger.json"), (insert, misspelt));
}

/// gcplocal has no regions, no machine types and no lists over zones: what it offers cannot be known, and the path ends where
/// it begins. What of a machine's life it does know is asked by `providers/gcp/tests/second`.
#[test]
fn gcplocal_goes_as_far_as_a_plan_that_says_why_not() {
    let clouds = Emulated::open(Pages::Whole, |_, config| config);
    let runtime = Runtime::new().unwrap();
    let gcplocal = runtime.block_on(Program::gcplocal());
    let setup = Setup::without_machines().clouds(&clouds.world);
    let engine = setup.may_call(&gcplocal.url).start();
    let mut site = clouds.world.site(Cloud::Gcp);
    site["settings"]["endpoint"] = json!(gcplocal.url);
    let sites = Map::from_iter([("gcp".to_owned(), site)]);
    let file = engine.keep_spec(&everywhere(&sites, 1, 1).to_string());
    let refused = engine.run(&["plan", &file]);
    assert_ne!(refused.code, Some(0));
    refused.says(&["what site gcp offers is not known"]);
}
