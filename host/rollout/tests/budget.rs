//! Starts are spread so far that downloads keep a budget.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{device, plan};
use hotshoe_rollout::{Budget, Compare, least_spread_s, place};
use hotshoe_trust::Device;

/// Two sites of 1,000 devices.
fn fleet() -> Vec<Device> {
    let sites = ["site-0", "site-1"].into_iter();
    let of_site = |site| (0..1_000).map(move |i| device(site, &format!("cam-{i}")));
    sites.flat_map(of_site).collect()
}

#[test]
fn the_largest_stage_keeps_the_budget_of_the_fleet_and_of_each_site() {
    let (plan, devices) = (plan(), fleet());
    // The devices of the largest stage, counted here.
    let in_stage = |site: Option<&str>, stage: u32| {
        let here = devices
            .iter()
            .filter(|it| site.is_none_or(|site| it.site == site));
        here.filter(|it| place(&plan, it).unwrap().stage == stage)
            .count() as u64
    };
    let largest = |site| (0..5).map(|stage| in_stage(site, stage)).max().unwrap();
    let all = largest(None);
    let of_site = largest(Some("site-0")).max(largest(Some("site-1")));
    assert!(all > of_site && of_site > 400, "{all} {of_site}");
    let spread = |fleet, site| least_spread_s(&plan, &devices, 1_000, Budget { fleet, site });
    assert_eq!(spread(Some(1_000), None), all);
    assert_eq!(spread(None, Some(1_000)), of_site);
    // The stricter one decides, and a part of a second is a whole one.
    assert_eq!(spread(Some(1_000), Some(100)), 10 * of_site);
    assert_eq!(spread(Some(3_000), None), all.div_ceil(3));
    assert_eq!(spread(None, None), 0);
    assert_eq!(spread(Some(0), None), 1_000 * all);
}

#[test]
fn devices_that_keep_the_release_before_count_where_they_take_the_release() {
    let devices = fleet();
    let mut plan = plan();
    let budget = Budget {
        fleet: Some(1),
        site: None,
    };
    plan.compare = Some(Compare {
        metric: "mean(lines.*.score)".to_owned(),
        samples: 100,
        through_stage: 3,
        alpha_ppm: 50_000,
    });
    let takes = |stage| {
        let at = devices
            .iter()
            .filter_map(|it| place(&plan, it)?.takes_at(&plan));
        at.filter(|it| *it == stage).count() as u64
    };
    // Stage 4 has its own half of the fleet, and the kept devices of the stages before.
    assert!(takes(4) > 1_300, "{}", takes(4));
    assert_eq!(least_spread_s(&plan, &devices, 1, budget), takes(4));
    assert_eq!(least_spread_s(&plan, [], 1, budget), 0);
}
