//! The command line of Hotshoe.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "help texts name tables of TOML and optional parts in brackets"
)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "full"),
    allow(
        dead_code,
        reason = "a program for devices leaves out callers, and the linker what only they use"
    )
)]

mod commands;
mod data_folder;
#[cfg(feature = "full")]
mod dev;
mod device_args;
mod error_names;
mod fleet;
mod loaded_release;
mod minutes;
#[cfg(feature = "full")]
mod oci;
#[cfg(feature = "full")]
mod program;
mod release_summary;
mod sample_files;
#[cfg(feature = "full")]
mod watch;

use clap::{CommandFactory as _, Parser, Subcommand};
use commands::{
    activate, alerts, audit, backup, cancel, completions, config, data, doctor, exec, history,
    install, power, reset, rollback, run, sbom, secret, shared_data, status, support, top, trust,
    verify,
};
#[cfg(feature = "full")]
use commands::{
    baseline, build, call, collect, dev as dev_loop, devices, figures, inspect, keygen, model, new,
    pack, publish, pull, push, record, registry, rollout, runtime, sign, site, soak, test, wit,
    zenoh_acl,
};
use hotshoe_release::terminal::Terminal;
use hotshoe_release::{exit, logging};
use std::process::ExitCode;

/// Run signed WebAssembly components and native models on edge devices, over Zenoh
#[derive(Debug, Parser)]
#[command(version, help_template = TEMPLATE, after_help = AFTER, arg_required_else_help = true)]
struct Cli {
    /// Print results and errors as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}";

/// The commands by topic, which clap's own list cannot show.
#[cfg(feature = "full")]
const AFTER: &str = "\
See it work:
  demo      Run OCR on a scanned page on this machine, from scratch
  bench     Compare Hotshoe's speed with plain Rust and other runtimes
  soak      Run a release under load for long, and check that nothing grows

Write a component:
  new       Create a component project
  build     Compile, check and strip components
  test      Run a release's tests and recordings
  record    Record a device's samples, tensors and insights
  call      Run one component on files, without a release or keys
  dev       Rebuild, swap and test on every change
  wit       Show the interfaces that components use

Make a release:
  runtime   Fetch ONNX Runtime, which runs most models faster than tract
  model     Inspect, compare and optimise ONNX models
  keygen    Create a signing key
  trust     Create or update trust.toml, the keys that a device trusts
  pack      Pack a release from release.toml
  sign      Sign a release
  inspect   Show the contents of a component or release, without verifying it
  verify    Check a release as a device does
  exec      Run a release on files, without a daemon
  baseline  Measure samples, for a device to notice drift from them
  push      Push a release to an OCI registry
  pull      Pull a release from an OCI registry

On a device:
  install   Install a release on this device, offline
  run       Run the daemon: serve the release and accept updates
  history   Show the release history of this device
  config    Show the configuration of this device, with the origin of each value
  audit     Show and verify the audit log of this device
  data      List and erase the outputs that this device keeps
  alerts    List and silence the alerts of this device
  secret    Set, list and remove the secrets of this device
  support   Write a file for support, without secrets
  backup    Copy what this device has to a folder, or back
  reset     Erase what this device has: releases, models, records, secrets and keys
  doctor    Check whether this machine can run Hotshoe
  power     Estimate how long a battery lasts
  sbom      List what this program and the live release are made of
  completions Print the completions of a shell

For a site:
  site      Set up a site with certificates, access rules and keys
  publish   Publish a release to the devices of a site
  rollout   Roll a release out through many sites in stages
  registry  Run a site's registry
  status    Show the status of devices
  devices   List the devices of one or many sites
  top       Show a device or a site in the terminal, as it runs
  rollback  Roll back to the previous release
  activate  Activate a staged release
  cancel    Cancel a pending release
  shared-data Read and write the values that a device and its site share
  collect   Collect what the devices of a site keep until it has arrived
  figures   Add up the private figures of devices
  zenoh-acl Print Zenoh's access control for a site

From a new key to a served release:
  hotshoe keygen --name me
  hotshoe trust --key me=me.pub --out trust.toml
  hotshoe pack release.toml --out my-release
  hotshoe sign my-release --key me.key
  hotshoe run --config hotshoe.toml
  hotshoe publish my-release --site lab --connect tcp/127.0.0.1:7447

`hotshoe COMMAND --help` explains a command and gives an example.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// The commands of a program for devices.
#[cfg(not(feature = "full"))]
const AFTER: &str = "\
On this device:
  install   Install a release on this device, offline
  run       Run the daemon: serve the release and accept updates
  status    Show the status of devices
  top       Show in the terminal what devices do, as they do it
  history   Show the release history of this device
  config    Show the configuration of this device, with the origin of each value
  audit     Show and verify the audit log of this device
  data      List and erase the outputs that this device keeps
  alerts    List and silence the alerts of this device
  secret    Set, list and remove the secrets of this device
  support   Write a file for support, without secrets
  backup    Copy what this device has to a folder, or back
  reset     Erase what this device has: releases, models, records, secrets and keys
  doctor    Check whether this machine can run Hotshoe
  power     Estimate how long a battery lasts
  sbom      List what this program and the live release are made of
  completions Print the completions of a shell

Its releases:
  verify    Check a release as a device does
  exec      Run a release on files, without a daemon
  rollback  Roll back to the previous release
  activate  Activate a staged release
  cancel    Cancel a pending release
  trust     Create or update trust.toml, the keys that a device trusts
  shared-data Read and write the values that a device and its site share

This is the program for devices. The commands for authors and sites are in the complete one.
`hotshoe COMMAND --help` explains a command and gives an example.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "full")]
    New(new::Args),
    #[cfg(feature = "full")]
    Build(build::Args),
    #[cfg(feature = "full")]
    Test(test::Args),
    #[cfg(feature = "full")]
    Record(record::Args),
    #[cfg(feature = "full")]
    Wit(wit::Args),
    #[cfg(feature = "full")]
    Keygen(keygen::Args),
    Trust(trust::Args),
    #[cfg(feature = "full")]
    Pack(pack::Args),
    #[cfg(feature = "full")]
    Sign(sign::Args),
    #[cfg(feature = "full")]
    Inspect(inspect::Args),
    #[cfg(feature = "full")]
    Runtime(runtime::Args),
    #[cfg(feature = "full")]
    Model(model::Args),
    Verify(verify::Args),
    Install(install::Args),
    #[cfg(feature = "full")]
    Call(call::Args),
    #[cfg(feature = "full")]
    Dev(dev_loop::Args),
    Exec(exec::Args),
    #[cfg(feature = "full")]
    Baseline(baseline::Args),
    #[cfg(feature = "full")]
    Push(push::Args),
    #[cfg(feature = "full")]
    Pull(pull::Args),
    Run(run::Args),
    History(history::Args),
    Config(config::Args),
    Audit(audit::Args),
    Doctor(doctor::Args),
    Power(power::Args),
    #[cfg(feature = "full")]
    Publish(publish::Args),
    #[cfg(feature = "full")]
    Rollout(Box<rollout::Args>),
    #[cfg(feature = "full")]
    Site(site::Args),
    #[cfg(feature = "full")]
    Registry(registry::Args),
    Status(status::Args),
    #[cfg(feature = "full")]
    Devices(devices::Args),
    Top(top::Args),
    Rollback(rollback::Args),
    Activate(activate::Args),
    Cancel(cancel::Args),
    SharedData(shared_data::Args),
    Data(data::Args),
    Alerts(alerts::Args),
    Secret(secret::Args),
    Support(support::Args),
    Backup(backup::Args),
    Reset(reset::Args),
    #[cfg(feature = "full")]
    Collect(collect::Args),
    #[cfg(feature = "full")]
    Figures(figures::Args),
    #[cfg(feature = "full")]
    ZenohAcl(zenoh_acl::Args),
    Sbom(sbom::Args),
    Completions(completions::Args),
    #[cfg(feature = "full")]
    Soak(soak::Args),
    #[cfg(feature = "full")]
    Demo(program::DemoArgs),
    #[cfg(feature = "full")]
    Bench(program::BenchArgs),
}

impl Command {
    fn run(self, terminal: &Terminal) -> anyhow::Result<ExitCode> {
        match self {
            #[cfg(feature = "full")]
            Self::New(args) => new::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Build(args) => build::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Test(args) => test::run(args, terminal, error_names::name),
            #[cfg(feature = "full")]
            Self::Record(args) => record::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Wit(args) => wit::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Keygen(args) => keygen::run(args, terminal),
            Self::Trust(args) => trust::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Pack(args) => pack::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Sign(args) => sign::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Inspect(args) => inspect::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Runtime(args) => runtime::run(&args, terminal),
            #[cfg(feature = "full")]
            Self::Model(args) => model::run(args, terminal),
            Self::Verify(args) => verify::run(args, terminal),
            Self::Install(args) => install::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Collect(args) => collect::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Figures(args) => figures::run(&args, terminal),
            #[cfg(feature = "full")]
            Self::Call(args) => call::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Dev(args) => dev_loop::run(args, terminal),
            Self::Exec(args) => exec::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Baseline(args) => baseline::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Push(args) => push::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Pull(args) => pull::run(args, terminal),
            Self::Run(args) => run::run(args, terminal),
            Self::History(args) => history::run(args, terminal),
            Self::Config(args) => config::run(args, terminal),
            Self::Audit(args) => audit::run(&args, terminal),
            Self::Doctor(args) => doctor::run(&args, terminal),
            Self::Power(args) => power::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Publish(args) => publish::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Rollout(args) => rollout::run(*args, terminal),
            #[cfg(feature = "full")]
            Self::Site(args) => site::run(&args, terminal),
            #[cfg(feature = "full")]
            Self::Registry(args) => registry::run(args, terminal),
            Self::Status(args) => status::run(args, terminal),
            #[cfg(feature = "full")]
            Self::Devices(args) => devices::run(args, terminal),
            Self::Top(args) => top::run(args, terminal),
            Self::Rollback(args) => rollback::run(args, terminal),
            Self::Activate(args) => activate::run(args, terminal),
            Self::Cancel(args) => cancel::run(args, terminal),
            Self::SharedData(args) => shared_data::run(&args, terminal),
            Self::Data(args) => data::run(args, terminal),
            Self::Alerts(args) => alerts::run(args, terminal),
            Self::Secret(args) => secret::run(args, terminal),
            Self::Support(args) => support::run(&args, terminal),
            Self::Backup(args) => backup::run(args, terminal),
            Self::Reset(args) => reset::run(&args, terminal),
            #[cfg(feature = "full")]
            Self::ZenohAcl(args) => zenoh_acl::run(args, terminal),
            Self::Sbom(args) => sbom::run(&args, terminal),
            Self::Completions(args) => completions::run(&args, Cli::command()),
            #[cfg(feature = "full")]
            Self::Soak(args) => soak::run(&args, terminal),
            #[cfg(feature = "full")]
            Self::Demo(args) => program::run("hotshoe-demo", &args.arguments, terminal),
            #[cfg(feature = "full")]
            Self::Bench(args) => program::run("hotshoe-bench", &args.arguments, terminal),
        }
    }
}

fn main() -> ExitCode {
    // First: this process may be a compile worker.
    if let Some(done) = hotshoe_engine::compile_worker() {
        return done;
    }
    let cli = Cli::parse();
    let terminal = Terminal::new(cli.json);
    let code = cli
        .command
        .run(&terminal)
        .unwrap_or_else(|error| exit::failed(&error, error_names::name, &terminal));
    logging::flush();
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_all_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_in_the_list_and_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(
                AFTER.contains(&format!("\n  {name} ")),
                "{name} is not in the list"
            );
            let after = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                after.contains(&format!("hotshoe {name}")),
                "{name} has no example"
            );
        }
    }
}
