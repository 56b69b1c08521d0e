//! The rollouts on the page of a site: a real registry, a real daemon and a real browser.

use hotshoe_protocol::rollout::StatedRollout;
use hotshoe_rollout::{Command, DeviceId, Gate, Plan, Rollout};
use hotshoe_store::Cause;
use hotshoe_trust::Time;

use super::browser::Browser;
use super::{MARKUP, assert_is_text};
use crate::rollout_attacks::{key, plan, say, serve, signed, state_rollout, trust};
use crate::site::{Site, light, settled_on};
use crate::site_page::{Registry, two_devices};
use crate::support::free_endpoint;

/// Whether what a selector finds first has this text.
fn has(selector: &str, text: &str) -> String {
    format!("document.querySelector({selector:?})?.textContent.includes({text:?})")
}

#[test]
fn a_rollout_shows_its_stage_its_devices_and_why_it_is_paused() {
    let Some(browser) = Browser::open() else {
        return;
    };
    let mut site = Site::new();
    let endpoint = free_endpoint();
    let registry = Registry::start(&site, &endpoint, "", "");
    let [first, second] = two_devices(&site, &endpoint);
    browser.go(&registry.address);
    browser.wait("document.querySelector('#connection').textContent === 'Connected'");
    browser.view("rollouts");
    browser.wait(&has(
        "[aria-label=Rollouts]",
        "The registry knows no rollout.",
    ));

    let newer = site.pack(&light(2, ""));
    serve(&mut site, &newer);
    let (alice, keys) = (key(&site, "alice"), trust(&site));
    let live = first.status().slots.live.unwrap().release;
    let mut planned: Plan = plan(&newer, live);
    planned.first = vec![DeviceId {
        site: "lab".to_owned(),
        name: "cam-a".to_owned(),
    }];
    for stage in &mut planned.stages {
        stage.gate = Gate {
            min_samples: 0,
            ..Gate::default()
        };
    }
    let text = signed(&planned, &alice);
    let mut rollout = Rollout::read(&text, &keys, Time::now()).unwrap();
    // Before the plan is known anywhere, it is paused: no device begins.
    let cause = Cause::new("ordered", MARKUP);
    say(&mut rollout, Command::Pause { cause }, &alice, &keys);
    state_rollout(&mut site, "light", &StatedRollout::of(&rollout));
    browser.wait(&has("article h2", "light generation 2: paused"));
    browser.wait(&has("article .warning", MARKUP));
    browser.wait(&has("article tbody tr", "First devices"));
    browser.wait(&has("article tbody tr", "0 of 1"));
    browser.wait(&has("article tbody tr", "1 waiting"));
    assert_is_text(&browser);

    say(&mut rollout, Command::Advance {}, &alice, &keys);
    state_rollout(&mut site, "light", &StatedRollout::of(&rollout));
    first.feed_until(settled_on(2));
    browser.wait(&has("article h2", "light generation 2: done"));
    browser.wait(&has("article tbody tr", "1 of 1"));
    let bar = "document.querySelector('article progress')";
    browser.wait(&format!("{bar}.value === 1 && {bar}.max === 1"));
    // The other device is not in its share.
    assert!(settled_on(1)(&second.state()));
    browser.pictures("site-rollouts");
    assert_is_text(&browser);
}
