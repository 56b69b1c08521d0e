use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_delivery::Publisher;
use hotshoe_link::DeviceMessage;
use hotshoe_link::device_list::{DeviceList, Unproven};
use hotshoe_protocol::status::DeployEvent;
use hotshoe_protocol::status::Status;
use hotshoe_store::{Cause, Phase};
use hotshoe_trust::{DeviceSelector, Digest, Envelope, Order, SigningKey, Statement, Time};
use serde::Serialize;

use crate::device_args::label;
use crate::fleet::display::{Display, words};
use crate::fleet::error::FleetError;
use crate::fleet::follow::{SiteUpdate, listen, next};
use crate::fleet::network::NetworkArgs;
use crate::fleet::offer::{Offer, ReleaseRef};
use crate::fleet::registries::{RegistryReports, RegistryRow};
use crate::fleet::rollout::{Change, Goal, Outcome, Rollout};
use crate::fleet::same_name;
use crate::fleet::select;
use hotshoe_release::period::after;
use hotshoe_release::terminal::{Terminal, size};
use hotshoe_release::{logging, signals};

/// How long a run waits before it counts the seen devices as all (without --expect), and before a failure in a status counts as a
/// failure of this run.
const SETTLE: Duration = Duration::from_secs(5);

/// How long a run waits, after the devices are done, for registries that still fetch the release or retry.
const REGISTRY_WAIT: Duration = Duration::from_secs(20);

/// The note if no signature was checked.
const CLAIMED: &str =
    "claimed: not signed by the device; give --site-dir or --device-keys to check signatures";

/// Publish a release to the devices of a site
///
/// Publishes a statement about what the devices of a site should run, serves the release's blobs, and shows the progress of each device:
/// fetched, verified, staged, self-tested, on trial, confirmed. Ends when all selected devices have confirmed the release. This machine
/// only connects to a router, a registry or a device; nothing connects to it. A registry keeps the release for devices that connect later.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: to all devices of a site, through its registry
  hotshoe publish my-release --site-dir lab

Example: to the devices of line 4; another key than the site's signs the statement
  hotshoe publish my-release --site-dir lab --select line=4 --key alice.key

Example: stage first, activate later
  hotshoe publish my-release --site-dir lab --stage-only
  hotshoe activate --site-dir lab --device line-4

Example: on this machine, without certificates; two devices connect to it
  hotshoe publish my-release --site lab --listen tcp/127.0.0.1:7447 --expect 2

With --site-dir or --device-keys, unsigned answers are ignored. With --json, one line per event and a last line with `summary`. Exit
code 1 if a device refused the release, failed, rolled back or replaced it with another one, if a registry cannot store it, if an answer
is not verified although it has to be, or at the timeout.")]
pub(crate) struct Args {
    /// The signed release
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    /// The site [default: that of --config]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only devices with this name (* matches anything); may be repeated
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Only devices with these labels
    #[arg(long, value_name = "LABEL=VALUE,...", value_delimiter = ',', value_parser = label)]
    select: Vec<(String, String)>,
    /// Sign the statement with this secret key, for devices with `statements = "signed"`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Lifetime of the statement
    #[arg(long, value_name = "PERIOD", default_value = "7d")]
    expires_in: String,
    /// Stage only; wait for `hotshoe activate`
    #[arg(long)]
    stage_only: bool,
    /// Keep serving until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// Minimum number of devices to wait for [default: those seen within 5 seconds, at least 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    expect: Option<u32>,
    /// Timeout in seconds; none with --serve
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Read the network and the site from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A Zenoh endpoint to listen on, for devices that connect to this machine; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// The last line of JSON.
#[derive(Serialize)]
struct Summary<'a> {
    summary: &'a Report<'a>,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether all awaited devices reached the goal.
    ok: bool,
    release: ReleaseRef<'a>,
    site: &'a str,
    devices: Vec<Row<'a>>,
    /// Registries of the site, as they say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    registries: Vec<RegistryRow>,
    /// Bytes of the release that this machine sent.
    sent: u64,
    seconds: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    device: &'a str,
    /// The final state; none if there is none yet.
    outcome: Option<Outcome>,
    phase: Phase,
    /// Whether the device has not signed it, or no signature was checked.
    claimed: bool,
    /// An unproven claim, which is ignored where signatures are required.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<Claimed>,
    cause: Option<&'a Cause>,
    /// Why the device ignored statements, if it has reported nothing about this release.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ignored: &'a [String],
    /// How far the device's clock is ahead of this machine's, in seconds; none from older daemons.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_ahead_s: Option<i64>,
    /// The number of daemons with this device's name, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    daemons: Option<usize>,
}

/// A claim that the device has not signed.
#[derive(Serialize)]
struct Claimed {
    phase: Phase,
    /// Why it is ignored: `unsigned`, `unlisted_device`, `bad_signature`.
    why: &'static str,
}

/// Why waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitEnd {
    /// All devices have a final state.
    Over,
    /// The timeout was reached.
    Late,
    /// A signal came.
    Stopped,
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let (zenoh, site) = args.network.site(
        args.site.as_deref(),
        args.config.as_deref(),
        Some(&args.listen),
    )?;
    let selector = select::selector(&args.device, &args.select)?;
    let key = args.network.signing_key(args.key.as_deref())?;
    let list = args.network.devices()?;
    let offer = Offer::open(&args.layout)?;
    let statement = args.statement(&offer, &site, &selector)?;
    let envelope = envelope(&statement, key.as_ref())?;
    let begun = Instant::now();
    let mut publisher =
        Publisher::open(&zenoh, &site).with_context(|| args.network.cannot_open())?;
    publisher.serve(&offer.layout)?;
    publisher.publish_statement(&offer.release.name, envelope.to_bytes())?;
    args.print_start(&offer, &site, &selector, &publisher, terminal);

    let goal = if args.stage_only {
        Goal::Staged
    } else {
        Goal::Confirmed
    };
    let mut rollout = Rollout::new(offer.digest, goal, selector).signed(key.is_some());
    let evidence = EvidenceCheck {
        list: list.as_ref(),
        statement: envelope.digest(),
    };
    let mut registries = RegistryReports::new(offer.digest);
    let both = (&mut rollout, &mut registries);
    let end = follow(&publisher, &site, &args, &evidence, both, terminal)?;
    let report = Report {
        ok: rollout.are_good()
            && registries.failures().is_empty()
            && (end == WaitEnd::Over || args.serve),
        release: offer.reference(),
        site: &site,
        devices: rows(&rollout),
        registries: registries.rows(),
        sent: publisher.sent(),
        seconds: begun.elapsed().as_secs(),
    };
    publisher.close();
    if report.devices.is_empty() && end == WaitEnd::Late {
        let whom = select::words(&statement.devices);
        let seconds = args.timeout;
        return Err(FleetError::NoDevice {
            site,
            whom,
            seconds,
        }
        .into());
    }
    report.show(&rollout, goal, list.is_some(), terminal)?;
    registries.show(terminal)?;
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Args {
    fn statement(
        &self,
        offer: &Offer,
        site: &str,
        selector: &DeviceSelector,
    ) -> anyhow::Result<Statement> {
        let issued = Time::now();
        Ok(Statement {
            site: site.to_owned(),
            devices: selector.clone(),
            order: Order::Deploy {
                release: offer.digest,
                name: offer.release.name.clone(),
                generation: offer.release.generation,
                bundles: offer.bundles.clone(),
                activate: !self.stage_only,
            },
            issued,
            expires: after(issued, &self.expires_in)?,
        })
    }

    fn print_start(
        &self,
        offer: &Offer,
        site: &str,
        selector: &DeviceSelector,
        publisher: &Publisher,
        terminal: &Terminal,
    ) {
        if terminal.json {
            return;
        }
        let release = &offer.release;
        terminal.note(format!(
            "publishing {} generation {} ({}) to every device of site {site}{}",
            release.name,
            release.generation,
            size(offer.bytes()),
            select::words(selector),
        ));
        for locator in publisher
            .locators()
            .iter()
            .filter(|_| !self.listen.is_empty())
        {
            terminal.note(format!("listening on {locator}"));
        }
    }

    /// The number of devices that must have a final state after `passed`; none while that is still unknown.
    fn least(&self, passed: Duration) -> Option<usize> {
        match self.expect {
            Some(expect) => usize::try_from(expect).ok(),
            None => (passed >= SETTLE).then_some(1),
        }
    }
}

fn envelope(statement: &Statement, key: Option<&SigningKey>) -> anyhow::Result<Envelope> {
    let mut envelope = Envelope::new(statement).context("cannot create the statement")?;
    if let Some(key) = key {
        envelope.sign(key).context("cannot sign the statement")?;
    }
    Ok(envelope)
}

/// Decides which messages are proven to be from their devices.
struct EvidenceCheck<'a> {
    /// The devices and their keys, if signatures are required.
    list: Option<&'a DeviceList>,
    /// The statement that this run is about.
    statement: Digest,
}

impl EvidenceCheck<'_> {
    /// Applies an event. A signed event counts only for the statement that it names, because it may be a replay.
    fn event(
        &self,
        said: &DeviceMessage<DeployEvent>,
        settled: bool,
        rollout: &mut Rollout,
    ) -> Change {
        let event = &said.value;
        match said.check(self.list) {
            Err(Unproven::NoList) => rollout.event(event),
            Ok(()) if event.statement != Some(self.statement) => Change::None,
            Ok(()) => {
                let seen = rollout.add_device(&event.device);
                rollout.mark_proven(&event.device);
                seen.max(rollout.event(event))
            }
            Err(why) => rollout.claimed(event, why, settled),
        }
    }

    /// Applies a status. A signed status answers the current query, so it cannot be a replay.
    fn status(&self, said: &DeviceMessage<Status>, settled: bool, rollout: &mut Rollout) -> Change {
        let (status, now) = (&said.value, Time::now());
        match said.check(self.list) {
            Err(Unproven::NoList) => rollout.status(status, settled, now),
            Ok(()) => {
                rollout.mark_proven(&status.device);
                let change = rollout.status(status, settled, now);
                rollout.mark_proven(&status.device);
                change
            }
            Err(why) => rollout.claimed_status(status, why, settled, now),
        }
    }
}

/// Shows the progress until all devices are done, or until a signal with --serve.
fn follow(
    publisher: &Publisher,
    site: &str,
    args: &Args,
    evidence: &EvidenceCheck<'_>,
    reports: (&mut Rollout, &mut RegistryReports),
    terminal: &Terminal,
) -> anyhow::Result<WaitEnd> {
    let (sender, updates) = channel();
    let stop = sender.clone();
    signals::on_first(move |_| drop(stop.send(SiteUpdate::Stop)))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = listen(scope, publisher.client(), site, &over, &sender)
            .map_err(anyhow::Error::from)
            .and_then(|()| watch(&updates, args, evidence, reports, terminal));
        over.store(true, Ordering::Release);
        end
    })
}

fn watch(
    updates: &Receiver<SiteUpdate>,
    args: &Args,
    evidence: &EvidenceCheck<'_>,
    (rollout, registries): (&mut Rollout, &mut RegistryReports),
    terminal: &Terminal,
) -> anyhow::Result<WaitEnd> {
    let begun = Instant::now();
    let deadline = (!args.serve).then(|| begun + Duration::from_secs(args.timeout));
    let mut display = Display::new(terminal);
    let mut announced = false;
    let mut over_since = None;
    loop {
        let settled = begun.elapsed() >= SETTLE;
        let waits = over_since.map(|since: Instant| since + REGISTRY_WAIT);
        let until = deadline.into_iter().chain(waits).min();
        match next(updates, until) {
            None if over_since.is_some() => return Ok(WaitEnd::Over),
            None => return Ok(WaitEnd::Late),
            Some(SiteUpdate::Stop) => return Ok(WaitEnd::Stopped),
            Some(SiteUpdate::Event(said)) => {
                let change = evidence.event(&said, settled, rollout);
                if let Some(progress) = rollout.get(&said.device) {
                    display.show(&said.device, progress, change)?;
                }
            }
            Some(SiteUpdate::Registries(statuses)) => {
                for line in registries.take(statuses) {
                    if !terminal.json {
                        display.say(&terminal.warning(&line));
                    }
                }
            }
            Some(SiteUpdate::Round { statuses, present }) => {
                let several = same_name::several(&statuses, evidence.list);
                for said in statuses {
                    let change = evidence.status(&said, settled, rollout);
                    if let Some(progress) = rollout.get(&said.device) {
                        display.show(&said.device, progress, change)?;
                    }
                }
                for (device, daemons) in several {
                    if rollout.same_name(&device, daemons) {
                        display.say(&same_name::text(&device, daemons));
                    }
                }
                for device in present {
                    let change = rollout.add_device(&device);
                    if let Some(progress) = rollout.get(&device) {
                        display.show(&device, progress, change)?;
                    }
                }
            }
        }
        let is_over = args
            .least(begun.elapsed())
            .is_some_and(|least| rollout.are_over(least));
        if !is_over {
            // A device has appeared meanwhile.
            over_since = None;
        }
        if is_over && !args.serve {
            let since = *over_since.get_or_insert_with(Instant::now);
            // Whatever arrives meanwhile, the time is bounded.
            if registries.are_settled() || since.elapsed() >= REGISTRY_WAIT {
                return Ok(WaitEnd::Over);
            }
        }
        if is_over && !announced && !terminal.json {
            announced = true;
            display.say(&format!(
                "{} of {} devices are done; serving until Ctrl-C",
                rollout.succeeded(),
                rollout.devices().count()
            ));
        }
    }
}

fn rows(rollout: &Rollout) -> Vec<Row<'_>> {
    rollout
        .devices()
        .map(|(device, progress)| Row {
            device,
            outcome: progress.outcome,
            phase: progress.phase(),
            claimed: !progress.signed,
            claim: progress.claim.map(|claim| Claimed {
                phase: claim.phase,
                why: claim.why.name(),
            }),
            cause: progress.cause(),
            ignored: &progress.ignored,
            clock_ahead_s: progress.clock_ahead_s,
            daemons: (progress.daemons > 1).then_some(progress.daemons),
        })
        .collect()
}

impl Report<'_> {
    fn show(
        &self,
        rollout: &Rollout,
        goal: Goal,
        are_checked: bool,
        terminal: &Terminal,
    ) -> anyhow::Result<()> {
        if terminal.json {
            return terminal.json_line(&Summary { summary: self });
        }
        if self.devices.is_empty() {
            return Ok(());
        }
        let rows = rollout.devices().map(|(device, progress)| {
            let words = words(progress);
            let words = match progress.outcome {
                Some(outcome) if outcome.is_good() => terminal.good(&words),
                Some(_) => terminal.bad(&words),
                None => terminal.warning(&format!("not finished: {words}")),
            };
            vec![device.to_owned(), words]
        });
        terminal.print(terminal.table(&["device", "outcome"], rows))?;
        let done = match goal {
            Goal::Confirmed => Outcome::Confirmed,
            Goal::Staged => Outcome::Staged,
        };
        terminal.print(format!(
            "{} on {} of {} devices{}, {} sent, {} s",
            done.as_str(),
            rollout.succeeded(),
            self.devices.len(),
            if are_checked { "" } else { ", as claimed" },
            size(self.sent),
            self.seconds
        ))?;
        if !are_checked {
            terminal.note(CLAIMED);
        }
        Ok(())
    }
}
