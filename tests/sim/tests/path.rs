//! The whole path on a good day: buy, run, move, heal, destroy.

use isobar_engine_control::api::QueryWhat;
use isobar_engine_model::id::{ClusterName, SiteName, WorkloadName};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::observed::ReplicaPhase;
use isobar_engine_model::operation::OperationState;
use isobar_tests_sim::World;
use isobar_tests_sim::mortal::Life;
use isobar_tests_sim::shop::shop;

fn shop_name() -> ClusterName {
    shop().cluster
}

fn deploy() -> Intent {
    Intent::Deploy { spec: Box::new(shop()) }
}

fn move_web() -> Intent {
    Intent::Move {
        cluster: shop_name(),
        workload: WorkloadName::new("web").expect("a name"),
        to: vec![SiteName::new("south").expect("a name")],
        from: vec![SiteName::new("north").expect("a name")],
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_cluster_is_bought_runs_moves_heals_and_goes() {
    let world = World::new(1);
    let engine = world.start(Life::long()).await.unwrap();

    let applied = world.apply(&engine, deploy()).await.unwrap();
    let end = world.wait(&engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    world.converge(&engine, &shop_name()).await;
    world.check(&engine, &shop_name()).await;
    let again = world.plan(&engine, deploy()).await.unwrap();
    assert!(again.converged, "{:?}", again.outline);
    let replicas = world
        .query(&engine, &shop_name(), QueryWhat::Replicas)
        .await
        .replicas
        .unwrap();
    let job = replicas
        .iter()
        .find(|view| view.replica.workload.as_str() == "migrate")
        .unwrap();
    assert!(
        matches!(job.replica.phase, ReplicaPhase::Succeeded { .. }),
        "{:?}",
        job.replica.phase
    );

    world.witness.count_anew();
    let moved = world.apply(&engine, move_web()).await.unwrap();
    let end = world.wait(&engine, &moved.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    assert!(
        world.witness.fewest("web").unwrap() >= 3,
        "never below what the spec allows"
    );
    world.converge(&engine, &shop_name()).await;
    let replicas = world
        .query(&engine, &shop_name(), QueryWhat::Replicas)
        .await
        .replicas
        .unwrap();
    let web: Vec<_> = replicas
        .iter()
        .filter(|view| view.replica.workload.as_str() == "web")
        .collect();
    assert_eq!(web.len(), 4);
    assert!(web.iter().all(|view| view.site.as_ref().unwrap().as_str() == "south"));

    let victim = web[0].replica.machine.clone();
    let machines = world.cloud.machines();
    let machine = machines
        .iter()
        .find(|machine| machine.tags().unwrap().machine == victim)
        .unwrap();
    assert!(world.cloud.kill(&machine.handle));
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    world.converge(&engine, &shop_name()).await;
    world.check(&engine, &shop_name()).await;
    let replicas = world
        .query(&engine, &shop_name(), QueryWhat::Replicas)
        .await
        .replicas
        .unwrap();
    assert!(replicas.iter().all(|view| view.replica.machine != victim));

    let gone = world
        .apply(&engine, Intent::Destroy { cluster: shop_name() })
        .await
        .unwrap();
    let end = world.wait(&engine, &gone.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    assert!(world.cloud.machines().is_empty());
    assert!(engine.clusters().is_empty());

    let anew = world.plan(&engine, deploy()).await.unwrap();
    let job = |line: &&String| line.contains("migrate");
    assert!(
        anew.outline.iter().any(|line| job(&line)),
        "a new cluster runs its job: {:?}",
        anew.outline
    );
}
