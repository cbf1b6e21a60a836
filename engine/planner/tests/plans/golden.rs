//! Golden plans: whole situations and the plans that come out, as people read them.

use std::collections::BTreeSet;

use crate::support::{NOW, World, daemon, job, pool, read, resources, service, shop, site, spec, workload};
use insta::assert_snapshot;
use isobar_engine_model::id::{ClusterName, MachineId, SiteName};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::ReplicaPhase;
use isobar_engine_model::plan::Action;
use isobar_engine_model::quantity::{Mebibytes, Resources};
use isobar_engine_model::spec::{Publish, Spec};
use isobar_engine_planner::{Wish, is_converged};

fn deploy(spec: &Spec) -> Intent {
    Intent::Deploy {
        spec: Box::new(spec.clone()),
    }
}

fn move_web(to: &[&str], from: &[&str]) -> Intent {
    Intent::Move {
        cluster: shop().cluster,
        workload: workload("web"),
        to: to.iter().map(|name| site(name)).collect(),
        from: from.iter().map(|name| site(name)).collect(),
    }
}

fn scale_web(replicas: u32) -> Intent {
    Intent::Scale {
        cluster: shop().cluster,
        workload: workload("web"),
        replicas,
    }
}

#[test]
fn first_apply_spreads_machines_and_replicas_over_sites() {
    assert_snapshot!(read(&World::empty().deploy(&shop())));
}

#[test]
fn what_is_as_wished_needs_nothing() {
    let world = World::of(&shop());
    let plan = world.reconcile();
    assert_snapshot!(read(&plan));
    assert!(is_converged(&plan, world.observed.spec.as_ref()));
    assert!(is_converged(&world.deploy(&shop()), world.observed.spec.as_ref()));
}

#[test]
fn scaling_up_fills_what_is_there_then_buys() {
    assert_snapshot!(read(&World::of(&shop()).ask(&scale_web(14))));
}

#[test]
fn scaling_down_stops_the_newest_and_keeps_the_spread() {
    let mut spec = shop();
    spec.workloads.insert(workload("web"), service(6, Some(1)));
    assert_snapshot!(read(&World::of(&spec).ask(&scale_web(2))));
}

#[test]
fn a_changed_image_is_rolled_out_make_before_break() {
    let world = World::of(&shop());
    let mut changed = shop();
    changed.workloads.get_mut(&workload("web")).unwrap().image = "registry/web:2".into();
    assert_snapshot!(read(&world.deploy(&changed)));
}

#[test]
fn where_room_is_tight_old_ones_stop_first_wave_by_wave() {
    let mut web = service(4, Some(3));
    web.resources = resources(500, 226);
    let tight = spec(2, 2, &[("web", web.clone())]);
    let world = World::of(&tight);
    web.image = "registry/web:2".into();
    assert_snapshot!(read(&world.deploy(&spec(2, 2, &[("web", web)]))));
}

#[test]
fn where_room_is_tight_and_all_must_serve_it_says_what_would_help() {
    let mut web = service(4, None);
    web.resources = resources(500, 226);
    let world = World::of(&spec(2, 2, &[("web", web.clone())]));
    web.image = "registry/web:2".into();
    assert_snapshot!(read(&world.deploy(&spec(2, 2, &[("web", web)]))));
}

#[test]
fn a_move_starts_there_before_it_stops_here() {
    assert_snapshot!(read(&World::of(&shop()).ask(&move_web(&["south"], &[]))));
}

#[test]
fn a_move_of_a_full_pool_gives_up_what_it_empties() {
    let mut web = service(4, None);
    web.resources = resources(500, 226);
    let world = World::of(&spec(2, 2, &[("web", web)]));
    assert_snapshot!(read(&world.ask(&move_web(&[], &["north"]))));
}

#[test]
fn a_move_to_where_it_is_changes_nothing() {
    let mut world = World::of(&shop());
    world.carry_out(&world.ask(&move_web(&["south"], &[])));
    let plan = world.ask(&move_web(&["south"], &["north"]));
    assert!(is_converged(&plan, world.observed.spec.as_ref()), "{}", read(&plan));
}

#[test]
fn a_lost_machine_is_replaced_with_its_replicas() {
    let mut world = World::of(&shop());
    world.lose("general-2");
    assert_snapshot!(read(&world.reconcile()));
}

#[test]
fn a_drained_machine_is_replaced_make_before_break() {
    let machine = MachineId::new("general-1");
    let intent = Intent::Drain {
        cluster: shop().cluster,
        machine,
    };
    assert_snapshot!(read(&World::of(&shop()).ask(&intent)));
}

#[test]
fn destroying_stops_and_releases_everything() {
    assert_snapshot!(read(&World::of(&shop()).ask(&Intent::Destroy {
        cluster: shop().cluster
    })));
}

#[test]
fn a_smaller_spec_ends_workloads_and_machines() {
    let world = World::of(&shop());
    assert_snapshot!(read(&world.deploy(&spec(1, 1, &[("migrate", job(2))]))));
}

#[test]
fn an_impossible_pool_says_which_requirement_nothing_meets() {
    let mut huge = shop();
    huge.pools.get_mut(&pool("general")).unwrap().requirements.memory = Some(Mebibytes(64 * 1024));
    assert_snapshot!(read(&World::empty().deploy(&huge)));
}

#[test]
fn an_impossible_replica_says_what_is_the_largest() {
    let mut huge = service(1, None);
    huge.resources = Resources {
        memory: Mebibytes(64 * 1024),
        ..huge.resources
    };
    assert_snapshot!(read(&World::empty().deploy(&spec(1, 4, &[("web", huge)]))));
}

#[test]
fn a_full_pool_says_how_to_widen_it() {
    assert_snapshot!(read(&World::empty().deploy(&spec(
        1,
        2,
        &[("web", service(40, Some(1)))]
    ))));
}

#[test]
fn a_price_ceiling_drops_what_is_dearer_and_says_what_would_do() {
    let world = World::empty();
    let intent = deploy(&shop());
    let limits = |micro| Limits {
        max_dearer_percent: None,
        max_micro_usd_per_hour: Some(micro),
    };
    let just = world.wish(Wish::Asked(&intent), limits(15_000)).unwrap();
    let below = world.wish(Wish::Asked(&intent), limits(10_000)).unwrap();
    assert_snapshot!(format!("{}\n\n{}", read(&just), read(&below)));
}

#[test]
fn fixed_ports_and_daemons_take_their_place_on_every_machine() {
    let mut edge = service(2, Some(1));
    edge.ports.get_mut("http").unwrap().publish = Publish::Port(30_000);
    let edges = spec(2, 3, &[("edge", edge.clone()), ("logs", daemon())]);
    let mut world = World::of(&edges);
    let first = world.places().join("\n");
    edge.image = "registry/web:2".into();
    let mut changed = spec(2, 2, &[("edge", edge), ("logs", daemon())]);
    changed.workloads.get_mut(&workload("logs")).unwrap().image = "registry/logs:2".into();
    let plan = world.deploy(&changed);
    world.carry_out(&plan);
    assert_snapshot!(format!("{first}\n\n{}\n\n{}", read(&plan), world.places().join("\n")));
}

#[test]
fn a_singleton_stops_before_it_starts_elsewhere() {
    let mut one = service(1, None);
    one.singleton = true;
    let world = World::of(&spec(2, 2, &[("web", one)]));
    assert_snapshot!(read(&world.ask(&move_web(&["south"], &[]))));
}

#[test]
fn a_job_runs_until_it_has_succeeded_or_its_tries_are_used_up() {
    let mut world = World::of(&shop());
    let failed = |reason: &str| ReplicaPhase::Failed {
        since: NOW,
        reason: reason.into(),
    };
    world.set_phase("migrate-1", failed("exit code 1"));
    let again = world.reconcile();
    world.carry_out(&again);
    world.set_phase("migrate-2", failed("exit code 2"));
    let given_up = world.reconcile();
    world.set_phase("migrate-2", ReplicaPhase::Succeeded { since: NOW });
    let done = world.reconcile();
    assert_snapshot!([again, given_up, done].map(|plan| read(&plan)).join("\n\n"));
}

#[test]
fn wrong_names_get_the_nearest_one() {
    let world = World::of(&shop());
    let intents = [
        Intent::Scale {
            cluster: shop().cluster,
            workload: workload("wed"),
            replicas: 1,
        },
        Intent::Scale {
            cluster: shop().cluster,
            workload: workload("migrate"),
            replicas: 2,
        },
        move_web(&["sooth"], &[]),
        move_web(&[], &["north", "south"]),
        move_web(&[], &[]),
        Intent::Drain {
            cluster: shop().cluster,
            machine: MachineId::new("general-9"),
        },
        Intent::Destroy {
            cluster: ClusterName::new("other").unwrap(),
        },
    ];
    let answers = intents.map(|intent| {
        let error = world.wish(Wish::Asked(&intent), Limits::default()).unwrap_err();
        format!(
            "{}: {error}\n  hint: {}",
            error.code(),
            error.hint().unwrap_or_default()
        )
    });
    assert_snapshot!(answers.join("\n"));
}

#[test]
fn plans_are_named_by_their_content() {
    let plan = World::empty().deploy(&shop());
    assert!(plan.is_intact());
    assert_eq!(plan, World::empty().deploy(&shop()), "the same wish for the same world");
}

#[test]
fn a_network_goes_with_the_last_machine_of_its_site() {
    let mut world = World::of(&shop());
    let sites: BTreeSet<SiteName> = world
        .observed
        .machines
        .iter()
        .filter_map(|machine| Some(machine.bought.as_ref()?.site.clone()))
        .collect();
    world.observed.networks = sites.clone();
    let stays = world.reconcile();
    assert!(stays.body.steps.is_empty(), "{}", read(&stays));
    let plan = world.ask(&Intent::Destroy {
        cluster: shop().cluster,
    });
    let removed = plan.body.steps.iter().filter_map(|step| match &step.action {
        Action::RemoveNetwork { site } => Some((site.clone(), step.needs.len())),
        Action::BuyMachine { .. }
        | Action::ReleaseMachine { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ChangeAdopted { .. }
        | Action::ReleaseAdopted { .. } => None,
    });
    let removed: Vec<_> = removed.collect();
    assert_eq!(
        removed.iter().map(|(site, _)| site.clone()).collect::<BTreeSet<_>>(),
        sites
    );
    assert!(removed.iter().all(|(_, machines)| *machines > 0), "{removed:?}");
}

#[test]
fn a_network_that_no_machine_came_to_goes_too() {
    let mut world = World::of(&shop());
    let unused = SiteName::new("unused").unwrap();
    world.observed.networks.insert(unused.clone());
    let plan = world.reconcile();
    let actions: Vec<_> = plan.body.steps.iter().map(|step| &step.action).collect();
    assert_eq!(actions, [&Action::RemoveNetwork { site: unused }]);
}

#[test]
fn what_is_left_of_a_destroyed_cluster_is_its_network_and_can_be_destroyed() {
    let mut world = World::of(&shop());
    world.observed.spec = None;
    world.observed.machines.clear();
    world.observed.replicas.clear();
    let left = SiteName::new("north").unwrap();
    world.observed.networks.insert(left.clone());
    let plan = world.ask(&Intent::Destroy {
        cluster: shop().cluster,
    });
    let actions: Vec<_> = plan.body.steps.iter().map(|step| &step.action).collect();
    assert_eq!(actions, [&Action::RemoveNetwork { site: left }]);
}
