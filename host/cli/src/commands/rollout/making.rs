//! Makes plans, and signs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use hotshoe_protocol::status::Status;
use hotshoe_release::files::{Readers, read_bytes, write_new};
use hotshoe_release::keys::read_key;
use hotshoe_release::period::after;
use hotshoe_release::terminal::Terminal;
use hotshoe_rollout::{
    Candidate, Deadlines, DeviceId, OnFailure, Plan, Selector, SignedText, Stage, WHOLE_PPM,
    first_devices, least_spread_s, place,
};
use hotshoe_store::Layout;
use hotshoe_trust::{Device, Digest, Time};
use serde::Serialize;

use super::forecast::Forecast;
use super::options::{BudgetArgs, CompareArgs, GateArgs};
use super::session::{FleetArgs, FleetSession};
use crate::device_args::label;
use crate::fleet::offer::Offer;
use crate::fleet::select;
use crate::fleet::survey::survey;

/// How long devices have to answer.
const SURVEY: Duration = Duration::from_secs(10);
/// The class of a device that does not say one.
const UNKNOWN: &str = "unknown";

/// Make the signed plan of a rollout
///
/// Reads a release and asks the devices of the sites, writes a plan, and signs it with --key. Changes nothing on any device. With
/// --dry-run, lists each device that answers with its stage, and whether it would take the release, put it off or refuse it, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: see who would get it when
  hotshoe rollout plan my-release --site-dir lab --dry-run

Example: for two signers
  hotshoe rollout plan my-release --site-dir lab --out plan.json --key alice.key
  hotshoe rollout sign plan.json --key bob.key

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub release: ReleaseArgs,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "plan.json")]
    out: PathBuf,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
    /// Write nothing; list the devices with their stages
    #[arg(long)]
    dry_run: bool,
    /// Sign the plan with this secret key [default: the key in the folder of --site-dir]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    fleet: FleetArgs,
}

/// What a plan says.
#[derive(Debug, clap::Args)]
pub(super) struct ReleaseArgs {
    /// The signed release
    #[arg(value_name = "RELEASE")]
    pub layout: PathBuf,
    /// The release before it, a folder or a digest, for comparisons and for a reversal [default: what most of the devices serve]
    #[arg(long, value_name = "RELEASE")]
    previous: Option<String>,
    /// The shares of the devices that have the release by the end of each stage
    #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_value = "1%,10%,50%,100%", value_parser = share)]
    stages: Vec<u32>,
    /// Least time of each stage
    #[arg(long, value_name = "PERIOD", default_value = "60m")]
    watch: String,
    /// Number of devices of the first stage, chosen to cover each hardware class and site
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=256))]
    first: u16,
    /// A device of the first stage, in place of the chosen ones; may be repeated
    #[arg(long, value_name = "SITE/NAME", value_parser = device_id)]
    first_device: Vec<DeviceId>,
    /// Only devices with this name (* matches anything); may be repeated
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Only devices with these labels
    #[arg(long, value_name = "LABEL=VALUE,...", value_delimiter = ',', value_parser = label)]
    select: Vec<(String, String)>,
    /// Pause before each next stage, for an operator's `hotshoe rollout advance`
    #[arg(long)]
    approve_between: bool,
    /// Abort the rollout when a gate fails, in place of a pause
    #[arg(long)]
    abort_on_failure: bool,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    compare: CompareArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    /// The time without a report after which a device is silent
    #[arg(long, value_name = "PERIOD", default_value = "15m")]
    silent_after: String,
    /// The starts of one stage are spread over this time, so that not all devices fetch at once [default: a quarter of --watch]
    #[arg(long, value_name = "PERIOD")]
    spread: Option<String>,
    /// Lifetime of the plan
    #[arg(long, value_name = "PERIOD", default_value = "30d")]
    expires_in: String,
    /// Most devices of one site that a registry may count
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_site_devices: u64,
    /// What the shares are drawn with [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The number of the rollout; devices follow the highest one of a release name [default: one more than the registries know]
    #[arg(long, value_name = "N")]
    number: Option<u64>,
}

/// Sign the plan of a rollout
///
/// Adds a signature to a plan, until the threshold of trust.toml is reached. The plan itself does not change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  hotshoe rollout sign plan.json --key bob.key

Exit codes: 0 done, 1 failed, 2 wrong usage.")]
pub(super) struct SignArgs {
    /// The plan
    #[arg(value_name = "PLAN.JSON")]
    plan: PathBuf,
    /// The secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// A device that answered, for the list.
#[derive(Debug, Serialize)]
struct Listed {
    site: String,
    device: String,
    class: String,
    /// The stage in which it takes the release; none if it keeps the one before it, or the plan is not for it.
    stage: Option<u32>,
    #[serde(flatten)]
    forecast: Forecast,
}

#[derive(Serialize)]
struct Report<'a> {
    plan: Option<&'a Path>,
    digest: Digest,
    number: u64,
    release: Digest,
    previous: Digest,
    spread_s: u64,
    first: &'a [DeviceId],
    devices: Vec<Listed>,
}

/// A device that answered.
struct Seen {
    device: Device,
    class: String,
    live: Option<Digest>,
    forecast: Forecast,
}

pub(super) fn plan(args: &PlanArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let offer = Offer::open(&args.release.layout)?;
    let session = args.fleet.open()?;
    let (plan, seen) = args.release.plan(&offer, &session)?;
    session.client.close();
    let mut signed = SignedText::of_plan(&plan).context("cannot make the plan")?;
    let key = args.fleet.network.signing_key(args.key.as_deref())?;
    if let Some(key) = &key {
        signed.sign(key).context("cannot sign the plan")?;
    }
    if !args.dry_run {
        write_new(&args.out, &signed.to_bytes(), Readers::Anyone, args.force)?;
    }
    let listed = seen.iter().map(|seen| Listed {
        site: seen.device.site.clone(),
        device: seen.device.name.clone(),
        class: seen.class.clone(),
        stage: place(&plan, &seen.device).and_then(|placement| placement.takes_at(&plan)),
        forecast: seen.forecast.clone(),
    });
    let report = Report {
        plan: (!args.dry_run).then_some(args.out.as_path()),
        digest: signed.digest(),
        number: plan.rollout,
        release: plan.release,
        previous: plan.previous,
        spread_s: plan.spread_s,
        first: &plan.first,
        devices: listed.collect(),
    };
    show(&report, args, terminal)?;
    Ok(ExitCode::SUCCESS)
}

fn show(report: &Report<'_>, args: &PlanArgs, terminal: &Terminal) -> anyhow::Result<()> {
    if terminal.json {
        return terminal.json(report);
    }
    if args.dry_run {
        let rows = report.devices.iter().map(|it| {
            let stage = it.stage.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let (outcome, why) = it.forecast.words();
            vec![
                it.site.clone(),
                it.device.clone(),
                it.class.clone(),
                stage,
                outcome.to_owned(),
                terminal.warning(why),
            ]
        });
        let head = ["site", "device", "class", "stage", "now", "why"];
        terminal.print(terminal.table(&head, rows))?;
        let spread_s = report.spread_s;
        terminal.print(format!(
            "the starts of a stage are spread over {spread_s} s"
        ))?;
    }
    let refusals = report.devices.iter();
    let refusals = refusals.filter(|it| matches!(it.forecast, Forecast::Refuses(_)));
    let refusals = refusals.count();
    if refusals > 0 {
        terminal.note(terminal.warning(&format!(
            "{refusals} of the devices would refuse the release"
        )));
    }
    if let Some(path) = report.plan {
        terminal.print(format!(
            "{}  {}",
            path.display(),
            terminal.dim(&report.digest.to_string())
        ))?;
    }
    Ok(())
}

pub(super) fn sign(args: &SignArgs, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    let mut signed = read(&args.plan)?;
    let key = read_key(&args.key)?;
    signed.sign(&key).context("cannot sign the plan")?;
    write_new(&args.plan, &signed.to_bytes(), Readers::Anyone, true)?;
    terminal.print(format!(
        "{}  {}",
        args.plan.display(),
        terminal.dim(&signed.digest().to_string())
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a plan with its signatures, without verifying them.
pub(super) fn read(path: &Path) -> anyhow::Result<SignedText> {
    let bytes = read_bytes(path)?;
    SignedText::parse(&bytes).with_context(|| format!("cannot use {}", path.display()))
}

impl ReleaseArgs {
    /// The plan, by what the devices and registries of the sites say.
    fn plan(&self, offer: &Offer, session: &FleetSession) -> anyhow::Result<(Plan, Vec<Seen>)> {
        let issued = Time::now();
        let selector = Selector {
            sites: session.sites.clone(),
            devices: select::selector(&self.device, &self.select)?,
        };
        let mut seen = self.ask(offer, session)?;
        seen.retain(|it| selector.matches(&it.device));
        let name = &offer.release.name;
        let known = session.stated(Some(name))?;
        let known = known.get(name).map_or(0, |known| known.plan().rollout);
        let seed = self
            .seed
            .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let watch_s = seconds(issued, &self.watch)?;
        let spread = self.spread.as_deref();
        let stages = self.stages(watch_s);
        let last_stage = u32::try_from(stages.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let mut plan = Plan {
            rollout: self.number.unwrap_or_else(|| known.saturating_add(1)),
            name: name.clone(),
            release: offer.digest,
            generation: offer.release.generation,
            bundles: offer.bundles.clone(),
            previous: self.previous(&seen, offer.digest)?,
            seed,
            first: self.first(&seen, seed)?,
            selector,
            stages,
            deadlines: Deadlines {
                silent_s: seconds(issued, &self.silent_after)?,
                ..Deadlines::default()
            },
            spread_s: spread.map_or(Ok(watch_s / 4), |text| seconds(issued, text))?,
            approve_between: self.approve_between,
            on_failure: match self.abort_on_failure {
                true => OnFailure::Abort,
                false => OnFailure::Pause,
            },
            max_site_devices: self.max_site_devices,
            compare: self.compare.compare(last_stage)?,
            issued,
            expires: after(issued, &self.expires_in)?,
        };
        let devices = seen.iter().map(|it| &it.device);
        let least_s = least_spread_s(&plan, devices, offer.bytes(), self.budget.budget());
        plan.spread_s = plan.spread_s.max(least_s);
        Ok((plan, seen))
    }

    /// The unsigned plan of `hotshoe rollout start`.
    pub(super) fn text(&self, offer: &Offer, session: &FleetSession) -> anyhow::Result<SignedText> {
        let (plan, _) = self.plan(offer, session)?;
        SignedText::of_plan(&plan).context("cannot make the plan")
    }

    fn ask(&self, offer: &Offer, session: &FleetSession) -> anyhow::Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for site in &session.sites {
            let found = survey(&session.client, Some(site), None, SURVEY)?;
            let statuses = found.statuses.into_iter().map(|said| said.value);
            seen.extend(statuses.map(|status| Seen::of(status, offer)));
        }
        Ok(seen)
    }

    fn stages(&self, watch_s: u64) -> Vec<Stage> {
        let stage = |share_ppm| Stage {
            share_ppm,
            watch_s,
            gate: self.gate.gate(),
        };
        // Stage 0 is the list.
        let shares = std::iter::once(0).chain(self.stages.iter().copied());
        shares.map(stage).collect()
    }

    fn first(&self, seen: &[Seen], seed: u64) -> anyhow::Result<Vec<DeviceId>> {
        if !self.first_device.is_empty() {
            return Ok(self.first_device.clone());
        }
        let candidates: Vec<Candidate> = seen
            .iter()
            .map(|it| Candidate {
                device: DeviceId::of(&it.device),
                class: it.class.clone(),
            })
            .collect();
        let first = first_devices(&candidates, self.first.into(), seed);
        if first.is_empty() {
            bail!(
                "no selected device answered; give the devices of the first stage by --first-device SITE/NAME"
            );
        }
        Ok(first)
    }

    fn previous(&self, seen: &[Seen], release: Digest) -> anyhow::Result<Digest> {
        if let Some(text) = &self.previous {
            let path = Path::new(text);
            if !path.exists() {
                return text.parse::<Digest>().with_context(|| {
                    format!("`{text}` is neither a release's folder nor a digest")
                });
            }
            let layout =
                Layout::open(path).with_context(|| format!("cannot use {}", path.display()))?;
            return Ok(Digest::of(&layout.package()?.manifest));
        }
        let mut live: BTreeMap<Digest, usize> = BTreeMap::new();
        let all = seen.iter().filter_map(|it| it.live);
        for digest in all.filter(|digest| *digest != release) {
            *live.entry(digest).or_default() += 1;
        }
        let most = live.into_iter().max_by_key(|(_, devices)| *devices);
        most.map(|(digest, _)| digest).context(
            "no selected device serves another release; give the release before this one by --previous",
        )
    }
}

impl Seen {
    fn of(status: Status, offer: &Offer) -> Self {
        let device = Device {
            name: status.device.clone(),
            site: status.site.clone(),
            labels: status.labels.clone(),
        };
        Self {
            forecast: Forecast::of(&status, &device, &offer.release, offer.digest),
            class: status
                .hardware
                .map_or_else(|| UNKNOWN.to_owned(), |it| it.class),
            live: status.slots.live.map(|slot| slot.release),
            device,
        }
    }
}

/// A period in whole seconds.
fn seconds(now: Time, text: &str) -> anyhow::Result<u64> {
    let then = after(now, text)?;
    Ok(u64::try_from(then.as_second().saturating_sub(now.as_second())).unwrap_or(0))
}

/// A share such as `2.5%`, in millionths.
pub(super) fn share(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is not a share; write a percentage such as 2.5%");
    let number: f64 = text
        .strip_suffix('%')
        .and_then(|number| number.parse().ok())
        .ok_or_else(wrong)?;
    if !(0.0..=100.0).contains(&number) {
        return Err(wrong());
    }
    Ok((number * f64::from(WHOLE_PPM) / 100.0).round() as u32)
}

fn device_id(text: &str) -> Result<DeviceId, String> {
    match text.split_once('/') {
        Some((site, name)) if !site.is_empty() && !name.is_empty() => Ok(DeviceId {
            site: site.to_owned(),
            name: name.to_owned(),
        }),
        _ => Err("expected SITE/NAME, such as lab/line-4".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_share_is_a_percentage() {
        for (text, ppm) in [
            ("1%", 10_000),
            ("2.5%", 25_000),
            ("100%", 1_000_000),
            ("0%", 0),
        ] {
            assert_eq!(share(text), Ok(ppm));
        }
        for wrong in ["1", "%", "-1%", "101%", "x%", "NaN%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_has_a_site_and_a_name() {
        let device = device_id("lab/line-4").unwrap();
        assert_eq!(
            (device.site.as_str(), device.name.as_str()),
            ("lab", "line-4")
        );
        for wrong in ["lab", "/line-4", "lab/"] {
            assert!(device_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_period_has_whole_seconds() {
        let now = Time::UNIX_EPOCH;
        assert_eq!(seconds(now, "60m").unwrap(), 3_600);
        assert_eq!(seconds(now, "1s").unwrap(), 1);
        assert!(seconds(now, "soon").is_err());
    }
}
