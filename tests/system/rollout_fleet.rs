//! A rollout through three real routers to a hundred devices: ten daemons, and ninety deployments without a pipeline.

#[path = "rollout_fleet/headless.rs"]
mod headless;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hotshoe_store::Layout;
use hotshoe_trust::TrustRoot;

use self::headless::Headless;
use super::registry::Registry;
use super::rollout::last;
use super::site::{Packed, Site, light, settled_on};
use super::support::{DEADLINE, Daemon, free_endpoint, success};

const DAEMONS: usize = 10;
const HEADLESS: usize = 90;
/// How long the test waits for news of the others before it feeds the daemons again.
const FEEDS: Duration = Duration::from_millis(200);

/// The deployments without a pipeline, on a thread for each router.
struct Others {
    told: Receiver<(String, u64)>,
    /// The generation of the live release of each.
    live: BTreeMap<String, u64>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    fn start(site: &Site, installed: &Packed, routers: &[String]) -> Self {
        let text = fs::read_to_string(site.workspace.trust_file()).unwrap();
        let trust = TrustRoot::parse(&text).unwrap();
        let (tell, told) = channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = routers.iter().enumerate().map(|(place, router)| {
            let (tell, is_over) = (tell.clone(), Arc::clone(&is_over));
            let folder = site.workspace.path(&format!("headless-{place}"));
            let (layout, trust) = (installed.folder.clone(), trust.clone());
            let (router, count) = (router.clone(), HEADLESS / routers.len());
            let name = format!("test-headless-{place}");
            let work = move || {
                let layout = Layout::open(&layout).unwrap();
                let (hear, heard) = channel();
                let device = |number: usize| {
                    let name = format!("head-{place}-{number}");
                    let folder = folder.join(&name);
                    fs::create_dir_all(&folder).unwrap();
                    let known = (number, name.as_str());
                    Headless::new(known, &folder, &layout, &trust, &router, hear.clone())
                };
                let devices = (0..count).map(device).collect();
                headless::run(devices, &heard, &tell, &is_over);
            };
            thread::Builder::new().name(name).spawn(work).unwrap()
        });
        Self {
            threads: threads.collect(),
            told,
            live: BTreeMap::new(),
            is_over,
        }
    }

    /// Takes what they tell within `time`.
    fn hear(&mut self, time: Duration) {
        if let Ok((name, generation)) = self.told.recv_timeout(time) {
            self.live.insert(name, generation);
        }
        self.live.extend(self.told.try_iter());
    }

    /// Whether all have this generation.
    fn are_on(&self, generation: u64) -> bool {
        self.live.len() == HEADLESS && self.live.values().all(|it| *it == generation)
    }

    #[track_caller]
    fn wait(&mut self, generation: u64, meanwhile: impl Fn() -> bool) {
        let started = Instant::now();
        while !(meanwhile() && self.are_on(generation)) {
            assert!(
                started.elapsed() < DEADLINE && self.threads.iter().all(|it| !it.is_finished()),
                "not all are on {generation}: {:?}",
                self.live
            );
            self.hear(FEEDS);
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}

/// Options of `hotshoe rollout` for the site.
fn options(site: &Site, router: &str) -> Vec<String> {
    let key = site.workspace.path("alice.key").display().to_string();
    let trust = site.workspace.trust_file();
    [
        "--site",
        "lab",
        "--connect",
        router,
        "--trust",
        &trust,
        "--key",
        &key,
        "--json",
    ]
    .map(str::to_owned)
    .into()
}

/// The first daemon, then a tenth of the devices, then all.
fn start(site: &Site, [previous, release]: [&Packed; 2], router: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["rollout", "start"])
        .arg(&release.folder)
        .args(options(site, router))
        .arg("--previous")
        .arg(&previous.folder)
        .args(["--stages", "10%,100%", "--watch", "1s", "--spread", "1s"])
        .args(["--first-device", "lab/cam-0", "--min-samples", "0"])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a controller")
}

/// Whether all daemons serve this generation; those that do not get a sample.
fn are_settled(daemons: &[Daemon], generation: u64) -> bool {
    let is_settled = settled_on(generation);
    let mut are_settled = true;
    for daemon in daemons.iter().filter(|it| !is_settled(&it.state())) {
        are_settled = false;
        daemon.feed(&[("sample", b"abc".to_vec())]);
    }
    are_settled
}

#[test]
fn a_hundred_devices_behind_three_routers_take_a_release_in_stages_and_all_go_back() {
    let mut site = Site::new();
    site.close();
    let routers: Vec<String> = (0..3).map(|_| free_endpoint()).collect();
    // A chain: each connects to the one before it.
    let _registries: Vec<Registry> = (0..3)
        .map(|place: usize| {
            let before = place.checked_sub(1).map(|before| routers[before].as_str());
            let name = format!("shelf-{place}");
            Registry::start(&site, &name, &routers[place], before, true)
        })
        .collect();
    let [first, second] = [1, 2].map(|generation| site.pack(&light(generation, "")));
    let mut others = Others::start(&site, &first, &routers);
    let daemons: Vec<Daemon> = (0..DAEMONS)
        .map(|place| {
            let router = &routers[place % routers.len()];
            let device = site.device_at(&format!("cam-{place}"), &first, router, "");
            device.run()
        })
        .collect();
    others.wait(1, || true);

    let controller = start(&site, [&first, &second], &routers[0]);
    others.wait(2, || are_settled(&daemons, 2));
    let output = controller.wait_with_output().unwrap();
    let end = last(&output);
    assert!(output.status.success(), "{end:#}");
    assert_eq!(end["state"], "done");
    let confirmed = &end["stages"][2]["states"]["confirmed"];
    assert_eq!(*confirmed, DAEMONS + HEADLESS, "{end:#}");
    // The stages before it had some of them.
    assert!(end["stages"][0]["devices"] == 1, "{end:#}");
    assert!(
        end["stages"][1]["devices"].as_u64().unwrap() < 60,
        "{end:#}"
    );

    let mut reverse = vec![
        "rollout".to_owned(),
        "reverse".to_owned(),
        "light".to_owned(),
    ];
    // By another router than that of the controller.
    reverse.extend(options(&site, &routers[2]));
    success(reverse);
    others.wait(1, || daemons.iter().all(|it| settled_on(1)(&it.state())));
    for daemon in &daemons {
        let state = daemon.state();
        assert_eq!(state["last_rollback"]["cause"]["name"], "rollout_reversed");
    }
}
