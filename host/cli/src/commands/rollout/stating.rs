//! An operator's words about a rollout: advance, pause, resume, abort, reverse, retry.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use hotshoe_release::keys::read_key;
use hotshoe_release::period::after;
use hotshoe_release::terminal::Terminal;
use hotshoe_rollout::{Command, Directive, Fleet, Rollout, RolloutStatement};
use hotshoe_store::Cause;
use hotshoe_trust::{Envelope, Order, SigningKey, Statement, Time};
use serde::Serialize;

use super::controller::{add_statement, newest};
use super::session::{FleetArgs, FleetSession};
use super::shown::View;

/// The stable name of the cause of an operator's word.
const ORDERED: &str = "ordered";
/// The lifetime of an order to try a release again.
const RETRY_LIFETIME: &str = "7d";

/// Begin the next stage of a rollout
///
/// Also ends a pause, such as that between two stages of a plan with --approve-between. A device begins a stage only after the watch times
/// of the stages before it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout advance ocr --site-dir lab --key operator.key

Exit codes: 0 a registry of each site has stored it, 1 failed, 2 wrong usage.")]
pub(super) struct AdvanceArgs {
    #[command(flatten)]
    target: TargetArgs,
}

/// Pause a rollout
///
/// No further device begins; those that began go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout pause ocr --site-dir lab --message 'waits for the night'

Exit codes: 0 a registry of each site has stored it, 1 failed, 2 wrong usage.")]
pub(super) struct PauseArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    why: MessageArgs,
}

/// Go on with a paused rollout
///
/// The stage that was paused runs again. `hotshoe rollout run` controls it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout resume ocr --site-dir lab

Exit codes: 0 a registry of each site has stored it, 1 failed, 2 wrong usage.")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    target: TargetArgs,
}

/// End a rollout
///
/// No further device begins, and those that have not confirmed the release cancel it or end its trial. Devices that confirmed it keep it.
/// An abort is final: a new plan begins a new rollout.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout abort ocr --site-dir lab --message 'wrong labels'

Exit codes: 0 a registry of each site has stored it, 1 failed, 2 wrong usage.")]
pub(super) struct AbortArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    why: MessageArgs,
}

/// Take all devices of a rollout back to the release before it
///
/// The emergency. It needs the threshold of keys that may sign the release. Each device that confirmed the release goes back to the
/// previous one, if it still has that; others cancel it. Floors stay. A reversal is final.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: a threshold of two
  hotshoe rollout reverse ocr --site-dir lab --key alice.key --key bob.key --message 'wrong labels'

Exit codes: 0 a registry of each site has stored it, 1 failed, 2 wrong usage.")]
pub(super) struct ReverseArgs {
    /// The name of the release
    #[arg(value_name = "NAME")]
    name: String,
    /// Sign with this secret key; may be repeated [default: the key in the folder of --site-dir]
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    why: MessageArgs,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// Let devices try a release again on which it failed
///
/// Each device that remembers a failure of this release forgets it, and begins again if the rollout runs. Needs a key that may sign the
/// release.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout retry ocr --failed --site-dir lab
  hotshoe rollout resume ocr --site-dir lab

Exit codes: 0 stated at every site, 1 failed, 2 wrong usage.")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The devices on which the release failed, was refused or was rolled back
    #[arg(long)]
    failed: bool,
}

/// The rollout, and who says it.
#[derive(Debug, clap::Args)]
struct TargetArgs {
    /// The name of the release
    #[arg(value_name = "NAME")]
    name: String,
    /// Sign with this secret key [default: the key in the folder of --site-dir]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    fleet: FleetArgs,
}

#[derive(Debug, clap::Args)]
struct MessageArgs {
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", default_value = "by an operator")]
    message: String,
}

impl MessageArgs {
    fn cause(&self) -> Cause {
        Cause::new(ORDERED, self.message.as_str())
    }
}

#[derive(Serialize)]
struct Retried<'a> {
    name: &'a str,
    generation: u64,
    sites: &'a [String],
}

pub(super) fn advance(args: &AdvanceArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    args.target.say(terminal, |rollout| {
        let next = rollout.control().stage().saturating_add(1);
        ensure!(
            next <= rollout.plan().last_stage(),
            "stage {} is the last one; `hotshoe rollout resume` ends a pause of it",
            rollout.plan().last_stage()
        );
        Ok((next, Command::Advance {}))
    })
}

pub(super) fn pause(args: &PauseArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let cause = args.why.cause();
    args.target.say(terminal, |rollout| {
        Ok((rollout.control().stage(), Command::Pause { cause }))
    })
}

pub(super) fn resume(args: &ResumeArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    args.target.say(terminal, |rollout| {
        ensure!(
            matches!(rollout.control().directive(), Directive::Pause(_)),
            "the rollout is not paused"
        );
        Ok((rollout.control().stage(), Command::Advance {}))
    })
}

pub(super) fn abort(args: &AbortArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let cause = args.why.cause();
    args.target.say(terminal, |rollout| {
        Ok((rollout.control().stage(), Command::Abort { cause }))
    })
}

pub(super) fn reverse(args: &ReverseArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let session = args.fleet.open()?;
    let mut keys = Vec::new();
    for path in &args.key {
        keys.push(read_key(path)?);
    }
    if keys.is_empty() {
        keys.extend(args.fleet.network.signing_key(None)?);
    }
    let keys: Vec<&SigningKey> = keys.iter().collect();
    let cause = args.why.cause();
    let done = say(&session, &args.name, &keys, terminal, |rollout| {
        let plan = rollout.plan();
        let command = Command::Reverse {
            release: plan.release,
            previous: plan.previous,
            cause,
        };
        Ok((rollout.control().stage(), command))
    });
    session.client.close();
    done
}

pub(super) fn retry(args: &RetryArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    ensure!(
        args.failed,
        "say which devices try again: give --failed, for those on which the release failed"
    );
    let target = &args.target;
    let key = target.key()?;
    let session = target.fleet.open()?;
    let rollout = session.rollout(&target.name)?;
    let plan = rollout.plan();
    for site in &session.sites {
        let issued = Time::now();
        let mut envelope = Envelope::new(&Statement {
            site: site.clone(),
            devices: plan.selector.devices.clone(),
            order: Order::Retry {
                release: plan.release,
                name: plan.name.clone(),
            },
            issued,
            expires: after(issued, RETRY_LIFETIME)?,
        })
        .context("cannot make the order")?;
        envelope.sign(&key).context("cannot sign the order")?;
        session
            .client
            .publish_statement(site, &plan.name, &envelope.to_bytes())?;
    }
    if terminal.json {
        terminal.json(&Retried {
            name: &plan.name,
            generation: plan.generation,
            sites: &session.sites,
        })?;
    } else {
        terminal.print(format!(
            "devices on which {} generation {} failed may try it again",
            plan.name, plan.generation
        ))?;
    }
    session.client.close();
    Ok(ExitCode::SUCCESS)
}

impl TargetArgs {
    fn key(&self) -> anyhow::Result<SigningKey> {
        let key = self.fleet.network.signing_key(self.key.as_deref())?;
        key.context("a statement about a rollout must be signed; give --key FILE")
    }

    fn say(
        &self,
        terminal: &Terminal,
        what: impl FnOnce(&Rollout) -> anyhow::Result<(u32, Command)>,
    ) -> anyhow::Result<ExitCode> {
        let key = self.key()?;
        let session = self.fleet.open()?;
        let done = say(&session, &self.name, &[&key], terminal, what);
        session.client.close();
        done
    }
}

/// Signs a statement about the newest rollout of a release name, states it, and shows what follows.
fn say(
    session: &FleetSession,
    name: &str,
    keys: &[&SigningKey],
    terminal: &Terminal,
    what: impl FnOnce(&Rollout) -> anyhow::Result<(u32, Command)>,
) -> anyhow::Result<ExitCode> {
    let known = newest(session, name)?;
    let mut rollout = match known.get(name) {
        Some(rollout) => rollout.clone(),
        None => session.rollout(name)?,
    };
    let (stage, command) = what(&rollout)?;
    let is_same = |rollout: &Rollout| rollout.control().directive_is(&command);
    let statement = RolloutStatement {
        plan: rollout.plan().digest(),
        number: rollout.control().next_number(),
        stage,
        command: command.clone(),
        issued: Time::now(),
    };
    add_statement(&mut rollout, &statement, keys, session)?;
    ensure!(
        is_same(&rollout),
        "the rollout has ended, and its end is final; begin a new one with a new plan"
    );
    session.publish_until_stored(&rollout)?;
    let view = View::of(&rollout, &Fleet::default(), Time::now());
    if terminal.json {
        terminal.json_line(&view)?;
    } else {
        terminal.print(view.line())?;
    }
    Ok(ExitCode::SUCCESS)
}
