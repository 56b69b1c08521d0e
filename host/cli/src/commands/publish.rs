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

use crate::device::label;
use crate::fleet::course::{Change, Courses, Goal, Outcome};
use crate::fleet::display::{Display, words};
use crate::fleet::error::FleetError;
use crate::fleet::follow::{Heard, listen, next};
use crate::fleet::offer::{Named, Offer};
use crate::fleet::reach::{ReachArgs, after};
use crate::fleet::select;
use crate::terminal::{Terminal, size};
use crate::{logging, signals};

/// Without --expect: how long devices have to show themselves before those that did count as all, and how old a device's answer
/// must be before a failure in it counts as one of this run.
const SETTLE: Duration = Duration::from_secs(5);

/// What is said where no signature was checked.
const CLAIMED: &str = "claimed: anybody who reaches this network may have said so; give --site-dir or --device-keys to check signatures";

/// Bring a release to devices
///
/// Says what the devices of a site should run, serves the release's blobs to them, and shows how far each device is: fetched,
/// verified, staged, self-tested, on trial, confirmed. It ends when all devices that are meant have confirmed it. Nobody needs
/// to reach this machine: to connect to a router, a registry or a device is enough. A registry keeps the release for devices that
/// come later.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: to all devices of a site, through its registry
  hotshoe publish my-release --site-dir lab

Example: to those of line 4; the statement is signed by another key than the site's own
  hotshoe publish my-release --site-dir lab --select line=4 --key alice.key

Example: into place for the night, then on
  hotshoe publish my-release --site-dir lab --stage-only
  hotshoe activate --site-dir lab --device line-4

Example: on this machine, without certificates; two devices connect to it
  hotshoe publish my-release --site lab --listen tcp/127.0.0.1:7447 --expect 2

With --site-dir or --device-keys, only what its device has signed counts. With --json, a line for each event and a last line with
`summary`. Exit code 1 if a device refused it, failed or rolled back, its word is not verified where it has to be, or the time was over.")]
pub struct Args {
    /// The release, signed
    #[arg(value_name = "RELEASE")]
    layout: PathBuf,
    /// The site [default: that of --config]
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only devices of this name (* stands for anything); may be repeated
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Only devices with these labels
    #[arg(long, value_name = "LABEL=VALUE,...", value_delimiter = ',', value_parser = label)]
    select: Vec<(String, String)>,
    /// Sign the statement with this secret key, for devices with `statements = "signed"`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// For how long the statement holds
    #[arg(long, value_name = "PERIOD", default_value = "7d")]
    expires_in: String,
    /// Bring it into place and leave it there until `hotshoe activate`
    #[arg(long)]
    stage_only: bool,
    /// Go on serving until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// Wait for at least so many devices [default: those seen within 5 seconds, at least 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    expect: Option<u32>,
    /// Give up after so long; with --serve never
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Take the network, and the site, from this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A Zenoh endpoint to listen on, for devices that connect to this machine; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    #[command(flatten)]
    reach: ReachArgs,
}

/// What became of it, as the last line of JSON.
#[derive(Serialize)]
struct Summary<'a> {
    summary: &'a Report<'a>,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether all devices that were awaited did what was asked.
    ok: bool,
    release: Named<'a>,
    site: &'a str,
    devices: Vec<Row<'a>>,
    /// Bytes of the release that this end sent.
    sent: u64,
    seconds: u64,
}

#[derive(Serialize)]
struct Row<'a> {
    device: &'a str,
    /// None where it did not come to an end.
    outcome: Option<Outcome>,
    phase: Phase,
    /// Whether anybody may have said so: the device has not signed it, or no signature was checked.
    claimed: bool,
    /// What is claimed and counts for nothing, where signatures are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<Claimed>,
    cause: Option<&'a Cause>,
    /// Why the device has left statements aside, where it has said nothing of this release.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ignored: &'a [String],
}

/// What somebody says of a device that has not signed it.
#[derive(Serialize)]
struct Claimed {
    phase: Phase,
    /// Why it counts for nothing: `unsigned`, `unlisted_device`, `bad_signature`.
    why: &'static str,
}

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All devices came to an end.
    Over,
    /// The time was over.
    Late,
    /// A signal came.
    Stopped,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    let (zenoh, site) = args.reach.site(
        args.site.as_deref(),
        args.config.as_deref(),
        Some(&args.listen),
    )?;
    let selector = select::selector(&args.device, &args.select)?;
    let key = args.reach.signing_key(args.key.as_deref())?;
    let list = args.reach.devices()?;
    let offer = Offer::open(&args.layout)?;
    let statement = args.statement(&offer, &site, &selector)?;
    let envelope = envelope(&statement, key.as_ref())?;
    let begun = Instant::now();
    let mut publisher = Publisher::open(&zenoh, &site).with_context(|| args.reach.cannot_open())?;
    publisher.serve(&offer.layout)?;
    publisher.publish_statement(&offer.release.name, envelope.to_bytes())?;
    args.say_beginning(&offer, &site, &selector, &publisher, terminal);

    let goal = if args.stage_only {
        Goal::Staged
    } else {
        Goal::Confirmed
    };
    let mut courses = Courses::new(offer.digest, goal, selector).signed(key.is_some());
    let witness = Witness {
        list: list.as_ref(),
        statement: envelope.digest(),
    };
    let end = follow(&publisher, &site, &args, &witness, &mut courses, terminal)?;
    let report = Report {
        ok: courses.are_good() && (end == End::Over || args.serve),
        release: offer.named(),
        site: &site,
        devices: rows(&courses),
        sent: publisher.sent(),
        seconds: begun.elapsed().as_secs(),
    };
    publisher.close();
    if report.devices.is_empty() && end == End::Late {
        let whom = select::words(&statement.devices);
        let seconds = args.timeout;
        return Err(FleetError::NoDevice {
            site,
            whom,
            seconds,
        }
        .into());
    }
    report.show(&courses, goal, list.is_some(), terminal)?;
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

    fn say_beginning(
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

    /// How many devices must have come to an end, once so much time has passed.
    fn least(&self, passed: Duration) -> Option<usize> {
        match self.expect {
            Some(expect) => usize::try_from(expect).ok(),
            None => (passed >= SETTLE).then_some(1),
        }
    }
}

fn envelope(statement: &Statement, key: Option<&SigningKey>) -> anyhow::Result<Envelope> {
    let mut envelope = Envelope::new(statement).context("cannot make the statement")?;
    if let Some(key) = key {
        envelope.sign(key).context("cannot sign the statement")?;
    }
    Ok(envelope)
}

/// What counts as said by a device.
struct Witness<'a> {
    /// The devices by their keys, where signatures are asked for.
    list: Option<&'a DeviceList>,
    /// The statement that this run is about.
    statement: Digest,
}

impl Witness<'_> {
    /// Takes in what a device said by itself. A signed event is of use for the statement that it names alone: it may have been
    /// recorded earlier.
    fn event(
        &self,
        said: &DeviceMessage<DeployEvent>,
        settled: bool,
        courses: &mut Courses,
    ) -> Change {
        let event = &said.value;
        match said.check(self.list) {
            Err(Unproven::NoList) => courses.event(event),
            Ok(()) if event.statement != Some(self.statement) => Change::None,
            Ok(()) => {
                let seen = courses.seen(&event.device);
                courses.proved(&event.device);
                seen.max(courses.event(event))
            }
            Err(why) => courses.claimed(event, why, settled),
        }
    }

    /// Takes in an answer. A signed one is to the question that was just asked.
    fn status(&self, said: &DeviceMessage<Status>, settled: bool, courses: &mut Courses) -> Change {
        let (status, now) = (&said.value, Time::now());
        match said.check(self.list) {
            Err(Unproven::NoList) => courses.status(status, settled, now),
            Ok(()) => {
                courses.proved(&status.device);
                let change = courses.status(status, settled, now);
                courses.proved(&status.device);
                change
            }
            Err(why) => courses.claimed_status(status, why, settled, now),
        }
    }
}

/// Shows what devices say until all are done, or for as long as it is to serve.
fn follow(
    publisher: &Publisher,
    site: &str,
    args: &Args,
    witness: &Witness<'_>,
    courses: &mut Courses,
    terminal: &Terminal,
) -> anyhow::Result<End> {
    let (sender, heard) = channel();
    let stop = sender.clone();
    signals::on_first(move |_| drop(stop.send(Heard::Stop)))?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = listen(scope, publisher.client(), site, &over, &sender)
            .map_err(anyhow::Error::from)
            .and_then(|()| watch(&heard, args, witness, courses, terminal));
        over.store(true, Ordering::Release);
        end
    })
}

fn watch(
    heard: &Receiver<Heard>,
    args: &Args,
    witness: &Witness<'_>,
    courses: &mut Courses,
    terminal: &Terminal,
) -> anyhow::Result<End> {
    let begun = Instant::now();
    let deadline = (!args.serve).then(|| begun + Duration::from_secs(args.timeout));
    let mut display = Display::new(terminal);
    let mut told = false;
    loop {
        let settled = begun.elapsed() >= SETTLE;
        match next(heard, deadline) {
            None => return Ok(End::Late),
            Some(Heard::Stop) => return Ok(End::Stopped),
            Some(Heard::Event(said)) => {
                let change = witness.event(&said, settled, courses);
                if let Some(course) = courses.get(&said.device) {
                    display.show(&said.device, course, change)?;
                }
            }
            Some(Heard::Round { statuses, present }) => {
                for said in statuses {
                    let change = witness.status(&said, settled, courses);
                    if let Some(course) = courses.get(&said.device) {
                        display.show(&said.device, course, change)?;
                    }
                }
                for device in present {
                    let change = courses.seen(&device);
                    if let Some(course) = courses.get(&device) {
                        display.show(&device, course, change)?;
                    }
                }
            }
        }
        let is_over = args
            .least(begun.elapsed())
            .is_some_and(|least| courses.are_over(least));
        if is_over && !args.serve {
            return Ok(End::Over);
        }
        if is_over && !told && !terminal.json {
            told = true;
            display.say(&format!(
                "{} of {} devices have it; serving until Ctrl-C",
                courses.good(),
                courses.devices().count()
            ));
        }
    }
}

fn rows(courses: &Courses) -> Vec<Row<'_>> {
    courses
        .devices()
        .map(|(device, course)| Row {
            device,
            outcome: course.outcome,
            phase: course.phase(),
            claimed: !course.signed,
            claim: course.claim.map(|claim| Claimed {
                phase: claim.phase,
                why: claim.why.name(),
            }),
            cause: course.cause(),
            ignored: &course.ignored,
        })
        .collect()
}

impl Report<'_> {
    fn show(
        &self,
        courses: &Courses,
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
        let rows = courses.devices().map(|(device, course)| {
            let words = words(course);
            let words = match course.outcome {
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
            courses.good(),
            self.devices.len(),
            if are_checked { "" } else { ", as they claim" },
            size(self.sent),
            self.seconds
        ))?;
        if !are_checked {
            terminal.note(CLAIMED);
        }
        Ok(())
    }
}
