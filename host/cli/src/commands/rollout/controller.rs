//! The controller of a rollout: it reads counts, and signs what follows from them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_delivery::Publisher;
use hotshoe_link::{CountSubscription, SignedCount, StatedSubscription};
use hotshoe_protocol::rollout::StatedRollout;
use hotshoe_release::signals;
use hotshoe_release::terminal::Terminal;
use hotshoe_rollout::{Action, End, Fleet, Rollout, RolloutStatement, Rollouts, SignedText, step};
use hotshoe_trust::{SigningKey, Time};

use super::making::{self, ReleaseArgs};
use super::session::{FleetArgs, FleetSession};
use super::shown::View;
use crate::fleet::offer::Offer;

/// How often the controller looks at the time.
const TICK: Duration = Duration::from_secs(1);
/// How often it states the rollout again, for registries that were away.
const AGAIN: Duration = Duration::from_secs(30);

/// Begin a rollout, and control it
///
/// Makes a plan as `hotshoe rollout plan` does, or takes one by --plan, signs it, states it at every site and serves the release. Then
/// controls the rollout as `hotshoe rollout run` does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout start my-release --site-dir lab --stages 1%,10%,50%,100% --watch 60m

Example: a plan that others have signed
  hotshoe rollout start my-release --site-dir lab --plan plan.json --key bob.key

Exit codes: 0 all stages passed; 1 paused, aborted, reversed or failed; 2 wrong usage.")]
pub(super) struct StartArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// A plan from `hotshoe rollout plan`, in place of the options of the plan
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    control: ControlArgs,
}

/// Control a rollout that has begun
///
/// Reads the counts of the registries, and states the next stage, a pause or an abort by the plan's gates. Ends when all stages have passed,
/// or with the cause of a pause or an abort. A controller may end at any moment, and several may run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout run ocr --site-dir lab --key operator.key

Exit codes: 0 all stages passed; 1 paused, aborted, reversed or failed; 2 wrong usage.")]
pub(super) struct RunArgs {
    /// The name of the release
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    control: ControlArgs,
}

#[derive(Debug, clap::Args)]
struct ControlArgs {
    /// Sign with this secret key [default: the key in the folder of --site-dir]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Go on after a pause, until the rollout has ended
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// What the controller hears.
enum Heard {
    Count(Box<SignedCount>),
    Stated(Box<StatedRollout>),
    /// A signal asks it to end.
    Stop,
}

pub(super) fn start(args: &StartArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let offer = Offer::open(&args.release.layout)?;
    let control = &args.control;
    let session = control.fleet.open()?;
    let key = control.fleet.network.signing_key(control.key.as_deref())?;
    let mut text = match &args.plan {
        Some(path) => making::read(path)?,
        None => args.release.text(&offer, &session)?,
    };
    if let Some(key) = &key {
        text.sign(key).context("cannot sign the plan")?;
    }
    let rollout = Rollout::read(&text, &session.trust, Time::now())
        .context("devices would refuse this plan")?;
    ensure!(
        rollout.plan().release == offer.digest,
        "the plan is for another release than {}",
        args.release.layout.display()
    );
    // One session for each site: its devices and registries fetch the release from it.
    let mut publishers = Vec::new();
    for site in &session.sites {
        let cannot = || control.fleet.network.cannot_open();
        let mut publisher = Publisher::open(&session.zenoh, site).with_context(cannot)?;
        publisher.serve(&offer.layout)?;
        let stated = StatedRollout::of(&rollout);
        publisher.publish_rollout(&rollout.plan().name, &stated)?;
        publishers.push(publisher);
    }
    let ended = session
        .publish_until_stored(&rollout)
        .and_then(|()| control_rollout(&session, rollout, key.as_ref(), control.follow, terminal));
    publishers.into_iter().for_each(Publisher::close);
    session.client.close();
    ended
}

pub(super) fn run(args: &RunArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let control = &args.control;
    let session = control.fleet.open()?;
    let key = control.fleet.network.signing_key(control.key.as_deref())?;
    let rollout = session.rollout(&args.name)?;
    let ended = control_rollout(&session, rollout, key.as_ref(), control.follow, terminal);
    session.client.close();
    ended
}

/// Signs a statement about a rollout, and adds it.
pub(super) fn add_statement(
    rollout: &mut Rollout,
    statement: &RolloutStatement,
    keys: &[&SigningKey],
    session: &FleetSession,
) -> anyhow::Result<()> {
    let mut text =
        SignedText::of_statement(statement, rollout.plan()).context("cannot make the statement")?;
    for key in keys {
        text.sign(key).context("cannot sign the statement")?;
    }
    rollout
        .hear(&text, &session.trust, Time::now())
        .context("devices would refuse this statement")?;
    Ok(())
}

fn control_rollout(
    session: &FleetSession,
    rollout: Rollout,
    key: Option<&SigningKey>,
    follow: bool,
    terminal: &Terminal,
) -> anyhow::Result<ExitCode> {
    let (sender, heard) = channel();
    let stop = sender.clone();
    signals::on_first(move |_| drop(stop.send(Heard::Stop)))?;
    let _subscriptions = subscribe(session, &rollout.plan().name, &sender)?;
    let mut controller = Controller {
        session,
        rollout,
        fleet: Fleet::default(),
        key,
        shown: None,
        terminal,
    };
    for said in session.counts()? {
        controller.take(Heard::Count(Box::new(said)));
    }
    let end = controller.run(&heard, follow)?;
    let view = View::of(&controller.rollout, &controller.fleet, Time::now());
    view.print(session.are_claimed(), terminal)?;
    Ok(match end {
        Some(End::Done) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn subscribe(
    session: &FleetSession,
    name: &str,
    sender: &Sender<Heard>,
) -> anyhow::Result<Vec<(CountSubscription, StatedSubscription)>> {
    let mut subscriptions = Vec::new();
    for site in &session.sites {
        let (counts, stated) = (sender.clone(), sender.clone());
        let counts = session
            .client
            .follow_rollout_counts(Some(site), move |count| {
                drop(counts.send(Heard::Count(Box::new(count))));
            })?;
        let stated = session.client.follow_rollouts(site, name, move |said| {
            drop(stated.send(Heard::Stated(Box::new(said))));
        })?;
        subscriptions.push((counts, stated));
    }
    Ok(subscriptions)
}

struct Controller<'a> {
    session: &'a FleetSession,
    rollout: Rollout,
    fleet: Fleet,
    key: Option<&'a SigningKey>,
    /// The last line that was shown.
    shown: Option<String>,
    terminal: &'a Terminal,
}

impl Controller<'_> {
    /// Runs until the rollout has ended, or waits for an operator. `None` after a signal.
    fn run(&mut self, heard: &Receiver<Heard>, follow: bool) -> anyhow::Result<Option<End>> {
        let mut stated = Instant::now();
        loop {
            match heard.recv_timeout(TICK) {
                Ok(Heard::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Ok(said) => self.take(said),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let (plan, control) = (self.rollout.plan(), self.rollout.control());
            let action = step(plan, control, &self.fleet, Time::now());
            match action {
                Action::Wait => {}
                Action::State(statement) => self.state(&statement)?,
                Action::End(End::Paused(_)) if follow => {}
                Action::End(end) => return Ok(Some(end)),
            }
            if stated.elapsed() >= AGAIN {
                stated = Instant::now();
                self.session.publish(&self.rollout)?;
            }
            self.show()?;
        }
    }

    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Count(said) => {
                self.session
                    .take_count(&self.rollout, &mut self.fleet, *said);
            }
            Heard::Stated(stated) => self.hear(&stated),
            Heard::Stop => {}
        }
    }

    /// Another controller or an operator said something.
    fn hear(&mut self, stated: &StatedRollout) {
        if stated.plan.digest() != self.rollout.plan().digest() {
            return;
        }
        for text in &stated.statements {
            let heard = self.rollout.hear(text, &self.session.trust, Time::now());
            if let Err(error) = heard {
                tracing::warn!(%error, "a statement about the rollout is not valid");
            }
        }
    }

    /// Signs and states what follows. Without a key, another controller does it.
    fn state(&mut self, statement: &RolloutStatement) -> anyhow::Result<()> {
        let Some(key) = self.key else {
            return Ok(());
        };
        add_statement(&mut self.rollout, statement, &[key], self.session)?;
        if let Err(error) = self.session.publish_until_stored(&self.rollout) {
            // A site that is dark hears of it later, by its devices and registries.
            self.terminal
                .note(self.terminal.warning(&format!("{error:#}")));
        }
        Ok(())
    }

    fn show(&mut self) -> anyhow::Result<()> {
        let view = View::of(&self.rollout, &self.fleet, Time::now());
        let line = view.line();
        if self.shown.as_ref() == Some(&line) {
            return Ok(());
        }
        if self.terminal.json {
            self.terminal.json_line(&view)?;
        } else {
            self.terminal.note(&line);
        }
        self.shown = Some(line);
        Ok(())
    }
}

/// The newest of what the registries state, with what `rollout` has.
pub(super) fn newest(session: &FleetSession, name: &str) -> anyhow::Result<Rollouts> {
    session.rollout(name)?;
    session.stated(Some(name))
}
