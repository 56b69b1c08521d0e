//! Metrics, and the optional Prometheus endpoint.

mod endpoint;

use std::collections::BTreeMap;
use std::sync::Arc;

use hotshoe_infer::NamedModel;
use hotshoe_store::Phase;
use hotshoe_trust::{Digest, Release, Verified};
use parking_lot::Mutex;

pub(crate) use endpoint::start;
pub use endpoint::{Endpoint, MetricsError, check, serve};

fn describe() {
    metrics::describe_counter!("hotshoe_samples_accepted_total", "Samples that arrived.");
    metrics::describe_counter!("hotshoe_results_total", "Samples that gave a result.");
    metrics::describe_counter!(
        "hotshoe_skipped_total",
        "Samples that were left out, by reason: component, rate, motion or rest."
    );
    metrics::describe_counter!(
        "hotshoe_dropped_total",
        "Samples that were dropped, by reason."
    );
    metrics::describe_counter!(
        "hotshoe_failed_total",
        "Samples that failed, by fault and stage."
    );
    metrics::describe_counter!(
        "hotshoe_unpublished_total",
        "Messages that Zenoh did not take."
    );
    metrics::describe_counter!(
        "hotshoe_tolerated_total",
        "Failures of policies that fail open, by stage."
    );
    metrics::describe_counter!(
        "hotshoe_back_offs_total",
        "Times that a component trapped so often in a row that calls of it were paused."
    );
    metrics::describe_counter!(
        "hotshoe_link_panics_total",
        "Panics inside Zenoh that were caught; after one, restart the daemon."
    );
    metrics::describe_counter!(
        "hotshoe_link_long_keys_total",
        "Messages under keys that are too long."
    );
    metrics::describe_gauge!(
        "hotshoe_sources_left_out",
        "Sources of releases that are not asked because there are too many."
    );
    metrics::describe_gauge!(
        "hotshoe_backing_off",
        "1 while calls of a component are paused."
    );
    metrics::describe_counter!(
        "hotshoe_component_log_lines_dropped_total",
        "Log lines of a component beyond its limit."
    );
    metrics::describe_counter!(
        "hotshoe_instances_replaced_total",
        "Instances of a component that were replaced after a call, by reason: memory or calls."
    );
    metrics::describe_counter!("hotshoe_swaps_total", "Changes of the release that serves.");
    metrics::describe_counter!(
        "hotshoe_rollbacks_total",
        "Trials that were rolled back, except those that a newer release replaced."
    );
    metrics::describe_counter!(
        "hotshoe_refused_total",
        "Releases that were refused or failed, by reason."
    );
    metrics::describe_gauge!(
        "hotshoe_deploy_phase",
        "1 for the phase of the release that is being worked on."
    );
    metrics::describe_counter!(
        "hotshoe_model_runs_total",
        "Runs of a model that were started."
    );
    metrics::describe_counter!("hotshoe_model_failed_total", "Runs of a model that failed.");
    metrics::describe_counter!(
        "hotshoe_model_abandoned_total",
        "Runs of a model that were abandoned after their deadline."
    );
    metrics::describe_counter!(
        "hotshoe_model_fallbacks_total",
        "Variants of a model that failed and were replaced by another."
    );
    metrics::describe_histogram!(
        "hotshoe_stage_seconds",
        "Time that a stage took for one sample."
    );
    metrics::describe_counter!(
        "hotshoe_part_restarts_total",
        "Restarts of a part of the daemon."
    );
    metrics::describe_gauge!(
        "hotshoe_dead_parts",
        "Parts of the daemon that ended and are not restarted."
    );
    metrics::describe_gauge!(
        "hotshoe_stuck_workers",
        "Threads of workers that do not come back from a sample."
    );
    metrics::describe_counter!(
        "hotshoe_stuck_workers_total",
        "Workers that did not come back from a sample and were replaced."
    );
    describe_governor();
    describe_outbox();
    describe_telemetry();
    metrics::describe_gauge!(
        "hotshoe_alerts",
        "Alerts that last and are not silenced, by kind and severity."
    );
    metrics::describe_gauge!(
        "hotshoe_drift",
        "What the last window of samples differs by from the baseline of the release, by value and statistic."
    );
    metrics::describe_gauge!("hotshoe_drifting", "1 while the device drifts.");
    metrics::describe_gauge!("hotshoe_queue_depth", "Samples that wait.");
    metrics::describe_gauge!("hotshoe_release_info", "1 for the release that serves.");
    metrics::describe_gauge!(
        "hotshoe_part_info",
        "1 for each component, model and data file that serves."
    );
}

fn describe_outbox() {
    metrics::describe_gauge!(
        "hotshoe_outbox_records",
        "Records that have not been delivered."
    );
    metrics::describe_gauge!("hotshoe_outbox_bytes", "Bytes of the files of the outbox.");
    metrics::describe_gauge!(
        "hotshoe_outbox_oldest_seconds",
        "Age of the oldest record that has not been delivered."
    );
    metrics::describe_counter!(
        "hotshoe_outbox_delivered_total",
        "Records that were acknowledged."
    );
    metrics::describe_counter!(
        "hotshoe_outbox_lost_total",
        "Records that were lost, by cause."
    );
    metrics::describe_counter!(
        "hotshoe_outbox_written_bytes_total",
        "Bytes that the outbox wrote to the disk."
    );
}

fn describe_telemetry() {
    metrics::describe_counter!(
        "hotshoe_telemetry_traces_sent_total",
        "Traces that the collector took."
    );
    metrics::describe_counter!(
        "hotshoe_telemetry_traces_dropped_total",
        "Traces that were dropped, by cause: queue_full, refused or stopped."
    );
    metrics::describe_counter!(
        "hotshoe_telemetry_failed_total",
        "Requests that the collector did not take."
    );
}

fn describe_governor() {
    metrics::describe_gauge!(
        "hotshoe_mode_info",
        "1 for the mode in force, with its reason."
    );
    metrics::describe_counter!(
        "hotshoe_mode_changes_total",
        "Changes of the plan in force."
    );
    metrics::describe_counter!(
        "hotshoe_plans_refused_total",
        "Plans of governors that were refused, by reason."
    );
    metrics::describe_counter!(
        "hotshoe_governor_failures_total",
        "Calls of governors that failed; the device's own plan stood in."
    );
    metrics::describe_gauge!(
        "hotshoe_temperature_celsius",
        "Temperature of a thermal zone."
    );
    metrics::describe_gauge!(
        "hotshoe_battery_charge_ratio",
        "Charge of all batteries together."
    );
    metrics::describe_gauge!("hotshoe_power_watts", "What the device takes.");
    // Counters have whole numbers.
    metrics::describe_gauge!(
        "hotshoe_governor_seconds_total",
        "Time of reading sensors and making plans."
    );
}

/// Sets the gauges of the serving release and its parts to 1, and those of `before` to 0.
pub fn release(before: Option<&Verified<Release>>, now: Option<&Verified<Release>>) {
    for (release, serves) in [(before, 0.0), (now, 1.0)] {
        if let Some(release) = release {
            set_release_gauges(release, serves);
        }
    }
}

/// Adds the models' own counts to the counters.
#[derive(Debug, Default)]
pub struct ModelMeter(Mutex<BTreeMap<String, LastCounts>>);

/// The counts at the last update.
#[derive(Debug)]
struct LastCounts {
    model: Digest,
    /// By metric, in the order of [`COUNTED`].
    counts: [u64; 4],
}

const COUNTED: [&str; 4] = [
    "hotshoe_model_runs_total",
    "hotshoe_model_failed_total",
    "hotshoe_model_abandoned_total",
    "hotshoe_model_fallbacks_total",
];

impl ModelMeter {
    /// Adds the difference since the last call. A model that replaces another one begins at zero.
    pub fn update(&self, models: &BTreeMap<String, Arc<NamedModel>>) {
        let mut all = self.0.lock();
        for (name, named) in models {
            let (model, usage) = (named.active().digest(), named.active().usage());
            let fallbacks = named.fallbacks().len() as u64;
            let given_up = usage.abandoned + usage.expired;
            let counts = [usage.runs, usage.failed, given_up, fallbacks];
            let before = match all.get(name) {
                Some(seen) if seen.model == model => seen.counts,
                // Fallbacks count for the name, whichever variant serves now.
                Some(seen) => [0, 0, 0, seen.counts[3]],
                None => [0; 4],
            };
            for ((metric, now), before) in COUNTED.into_iter().zip(counts).zip(before) {
                // Fewer than before: the model was loaded again.
                let added = now.checked_sub(before).unwrap_or(now);
                if added > 0 {
                    metrics::counter!(metric, "model" => name.clone()).increment(added);
                }
            }
            all.insert(name.clone(), LastCounts { model, counts });
        }
    }
}

/// Sets the gauge of the deploy phase.
pub fn phase(before: Phase, now: Phase) {
    metrics::gauge!("hotshoe_deploy_phase", "phase" => before.to_string()).set(0.0);
    metrics::gauge!("hotshoe_deploy_phase", "phase" => now.to_string()).set(1.0);
}

fn set_release_gauges(release: &Verified<Release>, serves: f64) {
    let labels = [
        ("name", release.name.clone()),
        ("digest", release.digest().to_string()),
        ("generation", release.generation.to_string()),
    ];
    metrics::gauge!("hotshoe_release_info", &labels).set(serves);
    let components = release
        .components
        .iter()
        .map(|(n, c)| ("component", n, &c.blob));
    let models = release.models.iter().flat_map(|(n, m)| {
        let files = m.variants.iter();
        files.map(move |variant| ("model", n, &variant.blob))
    });
    let data = release.data.iter().map(|(n, d)| ("data", n, &d.blob));
    for (kind, name, blob) in components.chain(models).chain(data) {
        let labels = [
            ("kind", kind.to_owned()),
            ("name", name.clone()),
            ("digest", blob.digest.to_string()),
        ];
        metrics::gauge!("hotshoe_part_info", &labels).set(serves);
    }
}
