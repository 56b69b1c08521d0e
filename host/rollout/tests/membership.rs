//! Which devices a stage has: by hash, by list, and by a choice that covers classes and sites.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{device, plan};
use hotshoe_rollout::{Arm, Candidate, Compare, DeviceId, first_devices, place};
use proptest::prelude::*;

fn fleet(count: usize) -> impl Iterator<Item = hotshoe_trust::Device> {
    (0..count).map(|i| device(&format!("site-{}", i % 20), &format!("cam-{i}")))
}

#[test]
fn each_stage_has_its_share_of_the_devices() {
    let plan = plan();
    let stages: Vec<u32> = fleet(10_000)
        .map(|device| place(&plan, &device).unwrap().stage)
        .collect();
    for (stage, stage_of_plan) in plan.stages.iter().enumerate().skip(1) {
        let members = stages.iter().filter(|it| **it as usize <= stage).count();
        let share = f64::from(stage_of_plan.share_ppm) / 1e6;
        // Five standard deviations of a binomial distribution, and the listed device.
        let allowed = 5.0 * (10_000.0 * share * (1.0 - share)).sqrt() + 1.0;
        let distance = (members as f64 - 10_000.0 * share).abs();
        assert!(distance <= allowed, "stage {stage}: {members} devices");
    }
}

#[test]
fn the_listed_devices_are_stage_0_and_others_are_not() {
    let plan = plan();
    assert_eq!(place(&plan, &device("site-0", "cam-0")).unwrap().stage, 0);
    for device in fleet(1_000).skip(1) {
        assert!(place(&plan, &device).unwrap().stage > 0, "{device:?}");
    }
    // The same name at another site is another device.
    assert!(place(&plan, &device("site-1", "cam-0")).unwrap().stage > 0);
}

#[test]
fn a_device_that_the_selector_does_not_name_is_not_a_member_even_if_it_is_listed() {
    let mut plan = plan();
    plan.selector.sites = vec!["site-1".to_owned()];
    assert_eq!(place(&plan, &device("site-0", "cam-0")), None);
    assert!(place(&plan, &device("site-1", "cam-0")).is_some());
    plan.selector.devices.names = vec!["door-*".to_owned()];
    assert_eq!(place(&plan, &device("site-1", "cam-0")), None);
}

#[test]
fn a_device_beyond_the_last_share_is_not_a_member() {
    let mut plan = plan();
    plan.stages.truncate(2);
    let members = fleet(10_000).filter(|device| place(&plan, device).is_some());
    let count = members.count();
    // 1%, five standard deviations of 10 each.
    assert!((50..=151).contains(&count), "{count}");
}

#[test]
fn half_of_the_members_keep_the_release_through_the_comparison() {
    let mut plan = plan();
    plan.compare = Some(Compare {
        metric: "confidence".to_owned(),
        samples: 100,
        through_stage: 2,
        alpha_ppm: 50_000,
    });
    let placements: Vec<_> = fleet(10_000)
        .map(|device| place(&plan, &device).unwrap())
        .collect();
    let kept = placements.iter().filter(|it| it.arm == Arm::Kept);
    let count = kept.clone().count();
    assert!((4_750..=5_250).contains(&count), "{count}");
    for placement in kept {
        let expected = placement.stage.max(3);
        assert_eq!(placement.takes_at(&plan), Some(expected));
    }
    plan.compare.as_mut().unwrap().through_stage = 4;
    for placement in &placements {
        let takes = placement.takes_at(&plan);
        assert_eq!(takes.is_none(), placement.arm == Arm::Kept);
    }
}

#[test]
fn another_seed_draws_other_devices() {
    let (one, mut other) = (plan(), plan());
    other.seed = 8;
    let differ = fleet(1_000).filter(|device| place(&one, device) != place(&other, device));
    assert!(differ.count() > 500);
}

#[test]
fn starts_are_spread_within_the_limit() {
    let plan = plan();
    let starts: BTreeSet<u64> = fleet(10_000)
        .map(|device| place(&plan, &device).unwrap().starts_after_s)
        .collect();
    assert_eq!(starts, BTreeSet::from_iter(0..60));
}

proptest! {
    #[test]
    fn the_first_devices_cover_classes_and_sites(
        groups in prop::collection::vec((0..6_u8, 0..6_u8), 1..80),
        most in 1..40_usize,
        seed: u64,
    ) {
        let candidates: Vec<Candidate> = groups
            .iter()
            .enumerate()
            .map(|(i, (class, site))| Candidate {
                device: DeviceId { site: format!("s{site}"), name: format!("d{i}") },
                class: format!("c{class}"),
            })
            .collect();
        let chosen = first_devices(&candidates, most, seed);
        prop_assert_eq!(chosen.len(), most.min(candidates.len()));
        prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
        let class_of = |id: &DeviceId| {
            candidates.iter().find(|it| it.device == *id).unwrap().class.clone()
        };
        let all_classes: BTreeSet<_> = candidates.iter().map(|it| it.class.clone()).collect();
        let all_sites: BTreeSet<_> = candidates.iter().map(|it| it.device.site.clone()).collect();
        let (mut classes, mut sites) = (BTreeSet::new(), BTreeSet::new());
        for id in &chosen {
            let is_complete = classes == all_classes && sites == all_sites;
            let covers = classes.insert(class_of(id)) | sites.insert(id.site.clone());
            prop_assert!(covers || is_complete, "{:?} covers nothing", id);
        }
        // Whatever the order of the candidates.
        let reversed: Vec<_> = candidates.iter().rev().cloned().collect();
        prop_assert_eq!(first_devices(&reversed, most, seed), chosen);
    }
}
