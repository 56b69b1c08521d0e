//! The status of one device, as text.

pub(crate) mod alerts;
mod drift;
pub(crate) mod governor;
pub(crate) mod outbox;
mod private_telemetry;
mod telemetry;

use hotshoe_protocol::event::Severity;
use hotshoe_protocol::status::Status;
use hotshoe_protocol::status::{
    ModelStatus, PartState, PartStatus, SlotStatus, StageLatency, WaitReason, WatchMode,
};
use hotshoe_store::Phase;

use hotshoe_release::terminal::{Terminal, size};

/// Most events in the text.
const SHOWN_EVENTS: usize = 5;

/// The phase of a device's update: `live`, `fetching 3.1 MB of 10.9 MB`, `self-tested, waits for activation`.
pub(crate) fn working(status: &Status, terminal: &Terminal) -> String {
    let deploy = &status.deploy;
    let mut words = match deploy.phase {
        Phase::Absent => "-".to_owned(),
        Phase::Fetching if deploy.total > 0 => {
            format!(
                "fetching {} of {}",
                size(deploy.fetched),
                size(deploy.total)
            )
        }
        phase => phase.to_string(),
    };
    let is_over = deploy.phase == Phase::Live || deploy.phase.is_failure();
    if let Some(waiting) = deploy.waiting.filter(|_| !is_over) {
        words.push_str(match waiting {
            WaitReason::Activation => ", waits for activation",
            WaitReason::Window => ", waits for its window",
            WaitReason::Probation => ", waits for a probation",
            WaitReason::Retry => ", tries again",
        });
    }
    match &deploy.cause {
        None => {}
        // The release is gone; only the cause is left.
        Some(cause) if deploy.phase == Phase::Absent => words.clone_from(&cause.name),
        Some(cause) => words.push_str(&format!(": {}", cause.name)),
    }
    match deploy.phase {
        Phase::Live => terminal.good(&words),
        phase if phase.is_failure() => terminal.bad(&words),
        _ => words,
    }
}

/// The health of the release that serves.
pub(crate) fn health(status: &Status, terminal: &Terminal) -> Option<String> {
    let health = status.health.as_ref()?;
    let mut words = format!("{} samples, {} errors", health.samples, health.errors);
    if let Some(p95) = health.p95_us {
        words.push_str(&format!(", p95 {:.1} ms", p95 as f64 / 1_000.0));
    }
    let fallen = status.models.iter().filter(|it| !it.fallbacks.is_empty());
    let fallen: Vec<String> = fallen
        .map(|it| format!(", {} as {}", it.name, it.variant))
        .collect();
    words.push_str(&fallen.concat());
    Some(if health.errors == 0 && fallen.is_empty() {
        words
    } else {
        terminal.warning(&words)
    })
}

/// Prints a device's status.
pub(crate) fn show(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    terminal.print(format!(
        "{}  hotshoe {}, up {} s",
        terminal.bold(&format!("{}/{}", status.site, status.device)),
        status.version,
        status.uptime_s
    ))?;
    if status.development {
        terminal
            .print(terminal.warning("          development mode: a throw-away key is trusted"))?;
    }
    if let Some(key) = &status.key {
        terminal.print(format!("key       {}", key.fingerprint))?;
    }
    show_release(status, terminal)?;
    show_slots(status, terminal)?;
    show_rollouts(status, terminal)?;
    show_kinds(status, terminal)?;
    terminal.print(format!("trust     version {}", status.trust_version))?;
    let counters = &status.counters;
    terminal.print(format!("queue     {}", queue(status)))?;
    terminal.print(format!("samples   {}", samples(status)))?;
    if counters.skipped > 0 && counters.skipped_by.is_empty() {
        terminal.print(format!("          skipped: {}", counters.skipped))?;
    }
    for (reason, count) in &counters.skipped_by {
        terminal.print(format!("          skipped: {reason} {count}"))?;
    }
    for (what, names) in [("dropped", &counters.dropped), ("failed", &counters.faults)] {
        for (name, count) in names {
            terminal.print(terminal.warning(&format!("          {what}: {name} {count}")))?;
        }
    }
    alerts::show(status, terminal)?;
    drift::show(status, terminal)?;
    governor::show(status, terminal)?;
    outbox::show(status, terminal)?;
    telemetry::show(status, terminal)?;
    private_telemetry::show(status, terminal)?;
    show_memory(status, terminal)?;
    show_parts(status, terminal)?;
    show_log(status, terminal)?;
    show_reload(status, terminal)?;
    show_watch(status, terminal)?;
    show_components(status, terminal)?;
    show_models(status, terminal)?;
    show_events(status, terminal)?;
    if status.stages.is_empty() {
        return Ok(());
    }
    let rows = status.stages.iter().map(stage);
    terminal.print(terminal.table(&["stage", "samples", "p50 us", "p95 us", "p99 us"], rows))
}

/// The releases of the kinds `config` and `host`.
fn show_kinds(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    for (kind, it) in &status.kinds {
        let (slots, kind) = (&it.slots, kind.to_string());
        let trial = slots.trial.as_ref().map(|trial| (&trial.slot, "on trial"));
        let live = slots.live.as_ref().map(|live| (live, "live"));
        for (slot, state) in trial.into_iter().chain(live) {
            terminal.print(format!(
                "{kind:<9} {} generation {}, {state}",
                slot.name, slot.generation
            ))?;
        }
        if !it.keys.is_empty() {
            terminal.print(format!("          sets {}", it.keys.join(", ")))?;
        }
    }
    Ok(())
}

fn show_rollouts(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    for it in &status.rollouts {
        let stage = match it.stage {
            Some(stage) => format!("stage {stage}"),
            None => "keeps the release before it".to_owned(),
        };
        let cause = it.cause.as_ref();
        let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
        terminal.print(format!(
            "rollout   {} generation {}: {stage}, {}{cause}",
            it.name, it.generation, it.state
        ))?;
    }
    Ok(())
}

/// `0 of 64, block when full, 2 workers`
pub(crate) fn queue(status: &Status) -> String {
    format!(
        "{} of {}, {} when full, {} workers",
        status.queue.len, status.queue.capacity, status.queue.policy, status.workers
    )
}

/// `5 accepted, 4 results, 0 dropped, 1 failed, 0 in flight`
pub(crate) fn samples(status: &Status) -> String {
    let counters = &status.counters;
    format!(
        "{} accepted, {} results, {} dropped, {} failed, {} in flight",
        counters.accepted,
        counters.results,
        counters.dropped_total(),
        counters.failed,
        counters.in_flight
    )
}

/// A stage: its name, samples, and percentiles in microseconds.
pub(crate) fn stage(stage: &StageLatency) -> Vec<String> {
    vec![
        stage.name.clone(),
        stage.count.to_string(),
        stage.p50_us.to_string(),
        stage.p95_us.to_string(),
        stage
            .p99_us
            .map_or_else(|| "-".to_owned(), |p99| p99.to_string()),
    ]
}

/// How much memory is resident, and the mode of components.
pub(crate) fn memory(status: &Status) -> Option<String> {
    let memory = status.memory.as_ref()?;
    let figures = (
        memory.resident_mib,
        memory.resident_file_mib,
        memory.peak_resident_mib,
    );
    let resident = match figures {
        (Some(now), Some(file), Some(peak)) => {
            format!("{now} MiB resident ({file} of the program's file), {peak} MiB at most; ")
        }
        _ => String::new(),
    };
    Some(format!("{resident}components: {}", memory.mode))
}

fn show_memory(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let (Some(words), Some(memory)) = (memory(status), &status.memory) else {
        return Ok(());
    };
    terminal.print(format!("memory    {words}"))?;
    terminal.print(format!("          {}", terminal.dim(&memory.reason)))
}

/// The parts of the daemon that do not run.
pub(crate) fn broken(status: &Status) -> Option<String> {
    let words = |part: &PartStatus| format!("{} {}", part.name, part.state.name());
    let words: Vec<String> = status.broken().map(words).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn show_parts(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    if status.parts.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = status.parts.iter().map(|part| part.name.as_str()).collect();
    terminal.print(format!("parts     {}", names.join(", ")))?;
    for part in &status.parts {
        let Some(cause) = &part.cause else {
            continue;
        };
        let again = match part.restarts {
            0 => String::new(),
            1 => ", restarted once".to_owned(),
            times => format!(", restarted {times} times"),
        };
        let words = format!(
            "          {}: {}{again}; last cause: {cause}",
            part.name,
            part.state.name()
        );
        terminal.print(if part.state == PartState::Running {
            terminal.warning(&words)
        } else {
            terminal.bad(&words)
        })?;
    }
    Ok(())
}

fn show_log(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let log = &status.log;
    if log.left_out > 0 {
        terminal.print(terminal.warning(&format!(
            "log       {} lines suppressed by the rate limit",
            log.left_out
        )))?;
    }
    if log.lost > 0 {
        terminal.print(terminal.bad(&format!(
            "log       {} lines lost: standard error is closed or too slow",
            log.lost
        )))?;
    }
    Ok(())
}

fn show_reload(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(reload) = &status.reload else {
        return Ok(());
    };
    if let Some(error) = &reload.error {
        return terminal.print(terminal.bad(&format!("reload    refused: {error}")));
    }
    let applied = if reload.applied.is_empty() {
        "none".to_owned()
    } else {
        reload.applied.join(", ")
    };
    terminal.print(format!("reload    applied: {applied}"))?;
    if !reload.needs_restart.is_empty() {
        terminal.print(terminal.warning(&format!(
            "          needs a restart: {}",
            reload.needs_restart.join(", ")
        )))?;
    }
    Ok(())
}

/// Prints problems of the watched folder: how it is watched, and the files that are not read.
fn show_watch(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(watch) = &status.watch else {
        return Ok(());
    };
    let reason = watch.reason.as_deref().unwrap_or_default();
    match watch.mode {
        Some(WatchMode::Missing) => {
            terminal.print(terminal.bad(&format!("watch     the folder is not there: {reason}")))?
        }
        Some(WatchMode::Polling) => terminal.print(terminal.warning(&format!(
            "watch     the folder is only listed periodically: {reason}"
        )))?,
        Some(WatchMode::Events) | None => {}
    }
    if watch.skipped > 0 {
        terminal.print(terminal.warning(&format!(
            "watch     {} entries are not read; `events` and the log say why",
            watch.skipped
        )))?;
    }
    if watch.set_aside == 0 {
        return Ok(());
    }
    let last = watch.last_file.as_deref().unwrap_or_default();
    let reason = watch.last_reason.as_deref().unwrap_or_default();
    terminal.print(terminal.warning(&format!(
        "watch     {} files set aside, last {last}: {reason}; change a file to retry it",
        watch.set_aside
    )))
}

/// Prints the components with a problem.
fn show_components(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    for component in &status.components {
        let name = &component.name;
        if let Some(waits) = &component.backing_off {
            terminal.print(terminal.warning(&format!(
                "component {name} failed {} times in a row; backing off for another {} ms: {}",
                component.faults_in_a_row, waits.left_ms, waits.message
            )))?;
        }
        if component.log_lines_dropped > 0 {
            terminal.print(terminal.warning(&format!(
                "component {name} exceeded its log limit: {} lines dropped",
                component.log_lines_dropped
            )))?;
        }
        if component.instances_replaced > 0 {
            terminal.print(terminal.warning(&format!(
                "component {name} used up its memory: {} instances replaced; it may leak, or need a larger memory-mib",
                component.instances_replaced
            )))?;
        }
    }
    Ok(())
}

/// Prints the last events.
fn show_events(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let skipped = status.events.len().saturating_sub(SHOWN_EVENTS);
    for (place, event) in status.events.iter().skip(skipped).enumerate() {
        let label = if place == 0 { "events" } else { "" };
        let line = format!("{label:<10}{:.0} {event}", event.time);
        let line = match event.severity {
            Severity::Info | Severity::Notice => line,
            Severity::Warning | Severity::Error => terminal.warning(&line),
        };
        terminal.print(line)?;
    }
    Ok(())
}

/// The columns of [`model`].
pub(crate) const MODEL_HEAD: [&str; 6] = ["model", "variant", "runs on", "runs", "failed", "late"];

/// A model: its name, what runs it, and its runs.
pub(crate) fn model(model: &ModelStatus) -> Vec<String> {
    vec![
        model.name.clone(),
        model.variant.clone(),
        format!("{}/{}", model.backend, model.provider),
        model.runs.to_string(),
        model.failed.to_string(),
        // Past the caller's deadline, before or during the run: not an error of the model.
        (model.abandoned + model.expired).to_string(),
    ]
}

fn show_models(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    if status.models.is_empty() {
        return Ok(());
    }
    let rows = status.models.iter().map(model);
    terminal.print(terminal.table(&MODEL_HEAD, rows))?;
    for model in &status.models {
        terminal.print(format!(
            "          {}: {}",
            model.name,
            terminal.dim(&model.reason)
        ))?;
        for fallback in &model.fallbacks {
            terminal.print(terminal.warning(&format!(
                "          {} cannot run as {}: {}",
                model.name, fallback.variant, fallback.cause
            )))?;
        }
        for note in &model.provider_notes {
            terminal.print(terminal.warning(&format!("          {}: {note}", model.name)))?;
        }
    }
    Ok(())
}

fn show_release(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let Some(release) = &status.release else {
        if let Some(cause) = &status.cannot_serve {
            return terminal.print(terminal.bad(&format!(
                "release   NONE SERVES: the live release cannot serve ({cause}); publish it again, publish another, or use `hotshoe install`"
            )));
        }
        return terminal
            .print(terminal.warning("release   none yet; publish one with `hotshoe publish`"));
    };
    terminal.print(format!(
        "release   {} generation {}, signed by {}",
        release.name,
        release.generation,
        release.signers.join(", ")
    ))?;
    terminal.print(format!(
        "          {}",
        terminal.dim(&release.digest.to_string())
    ))
}

fn show_slots(status: &Status, terminal: &Terminal) -> anyhow::Result<()> {
    let slots = &status.slots;
    let line = |title: &str, slot: &SlotStatus, more: &str| {
        terminal.print(format!(
            "{title:<9} {} generation {}{more}",
            slot.name, slot.generation
        ))
    };
    if let Some(trial) = &slots.trial {
        let mode = trial.mode.as_deref().unwrap_or("full");
        let paused = if trial.is_paused {
            format!("; paused, since it is judged in mode {mode} and runs in another one")
        } else {
            String::new()
        };
        let more = format!(
            ", {} of {} samples, {} of {} s{paused}",
            trial.samples, trial.wanted_samples, trial.seconds, trial.wanted_seconds
        );
        line("trial", &trial.slot, &more)?;
    }
    // The live release is the one that serves, unless there is a trial.
    let live = slots.live.as_ref().filter(|_| slots.trial.is_some());
    for (title, slot) in [
        ("live", live),
        ("previous", slots.previous.as_ref()),
        ("staged", slots.staged.as_ref()),
    ] {
        if let Some(slot) = slot {
            line(title, slot, "")?;
        }
    }
    let deploy = &status.deploy;
    if deploy.phase != Phase::Absent {
        let name = deploy.name.as_deref().unwrap_or("-");
        let generation = deploy.generation.unwrap_or_default();
        terminal.print(format!(
            "update    {name} generation {generation}: {}",
            working(status, terminal)
        ))?;
    }
    if let Some(cause) = &deploy.cause {
        terminal.print(format!("          {}", cause.message))?;
    }
    if let Some(last) = &status.last_rollback {
        terminal.print(terminal.bad(&format!(
            "rollback  {} generation {}: {}",
            last.name, last.generation, last.cause
        )))?;
    }
    if let Some(health) = health(status, terminal) {
        terminal.print(format!("health    {health}"))?;
    }
    if status.stale {
        terminal.print(terminal.warning(
            "stale     no valid statement is as recent as `[deploy] fresh-within-hours` requires",
        ))?;
    }
    Ok(())
}
