mod controller;
mod forecast;
mod making;
mod options;
mod session;
mod shown;
mod stating;

use std::process::ExitCode;

use hotshoe_release::logging;
use hotshoe_release::terminal::Terminal;

/// Roll a release out through many sites in stages
///
/// A rollout is one signed plan: a release, the one before it, stages, and what must be true before the next stage. Devices and registries
/// keep the plan; each device decides by itself when its turn is. A controller (`start` or `run`) reads the counts of the registries and
/// signs each next stage, a pause or an abort. It may end at any moment, and several do no harm.
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "\
Example: a release to 1%, 10%, 50% and all devices of a site, each stage watched for an hour
  hotshoe rollout start my-release --site-dir lab --stages 1%,10%,50%,100% --watch 60m

Example: a threshold of two; the first plans, the second signs and starts
  hotshoe rollout plan my-release --site-dir lab --out plan.json --key alice.key
  hotshoe rollout start my-release --site-dir lab --plan plan.json --key bob.key

Example: look, stop, and take everything back
  hotshoe rollout status ocr --site-dir lab
  hotshoe rollout abort ocr --site-dir lab --message 'wrong labels'
  hotshoe rollout reverse ocr --site-dir lab --message 'wrong labels'

A key with `rollouts = [\"ocr\"]` in trust.toml may advance, pause, resume and abort rollouts of `ocr`. A plan and a reversal need the
threshold of keys that may sign the release.

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Plan(making::PlanArgs),
    Sign(making::SignArgs),
    Start(controller::StartArgs),
    Run(controller::RunArgs),
    Status(shown::StatusArgs),
    History(shown::HistoryArgs),
    Advance(stating::AdvanceArgs),
    Pause(stating::PauseArgs),
    Resume(stating::ResumeArgs),
    Abort(stating::AbortArgs),
    Reverse(stating::ReverseArgs),
    Retry(stating::RetryArgs),
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    logging::init("error")?;
    match args.action {
        Action::Plan(args) => making::plan(&args, terminal),
        Action::Sign(args) => making::sign(&args, terminal),
        Action::Start(args) => controller::start(&args, terminal),
        Action::Run(args) => controller::run(&args, terminal),
        Action::Status(args) => shown::status(&args, terminal),
        Action::History(args) => shown::history(&args, terminal),
        Action::Advance(args) => stating::advance(&args, terminal),
        Action::Pause(args) => stating::pause(&args, terminal),
        Action::Resume(args) => stating::resume(&args, terminal),
        Action::Abort(args) => stating::abort(&args, terminal),
        Action::Reverse(args) => stating::reverse(&args, terminal),
        Action::Retry(args) => stating::retry(&args, terminal),
    }
}
