//! `hotshoe bench languages`: the four templates in every language, side by side.

mod make;
mod table;
mod task;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_author::{Consent, Tools, tools};
use hotshoe_config::InferenceConfig;
use hotshoe_engine::{Component, Engine, EngineOptions, Instance};
use hotshoe_infer::Models;
use hotshoe_pipeline::Pipeline;
use hotshoe_trust::World;

use self::make::{BuiltTemplates, VARIANTS, Variant, WORLDS};
use self::table::{Figures, LeftOut, Outcome};
use self::task::Task;
use super::timings::median;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::throwaway;

/// The folder below `target` in which the templates are created. It is kept.
const FOLDER: &str = "bench-languages";
/// Rounds of each language: about two minutes on two cores, after the builds.
const FULL: usize = 30;
/// Rounds for a quick overview.
const QUICK: usize = 5;
/// Instances in a turn.
const INSTANCES: usize = 3;
/// Most calls of a turn.
const CALLS: usize = 50;
/// A turn ends after this time, even with fewer calls.
const TURN: Duration = Duration::from_millis(30);

/// Builds and measures all languages; `yes` downloads missing compilers.
pub(crate) fn measure(
    root: &Path,
    yes: bool,
    quick: bool,
    terminal: &Terminal,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome {
        rounds: if quick { QUICK } else { FULL },
        tasks: Vec::new(),
        left_out: Vec::new(),
    };
    let templates = make_all(root, yes, &mut outcome.left_out, terminal);
    let engine = Engine::new(EngineOptions::default()).context("cannot start the engine")?;
    for (at, world) in WORLDS.into_iter().enumerate() {
        let mut sides = Vec::new();
        for (variant, templates) in &templates {
            terminal.note(format!("loading          {world} in {}", variant.title));
            let side = Side::load(variant, templates, at, &engine);
            sides.push(side.with_context(|| format!("{world} in {}", variant.title))?);
        }
        terminal.note(format!("measuring        {world}"));
        let figures = alternate(world, &mut sides, outcome.rounds)?;
        outcome.tasks.push((world, figures));
    }
    Ok(outcome)
}

/// Builds the templates of every language that this machine can build.
fn make_all(
    root: &Path,
    yes: bool,
    left_out: &mut Vec<LeftOut>,
    terminal: &Terminal,
) -> Vec<(&'static Variant, BuiltTemplates)> {
    let target = root.join("target");
    let progress = terminal.progress();
    let consent = if yes {
        Consent::Given
    } else {
        Consent::NotGiven
    };
    let folder = std::env::var_os(tools::FOLDER).filter(|folder| !folder.is_empty());
    let folder = folder.map_or_else(|| target.join("tools"), PathBuf::from);
    let tools = Tools::at(&folder, consent, &progress);
    let mut all = Vec::new();
    for variant in &VARIANTS {
        terminal.note(format!("building         {}", variant.title));
        match make::make(variant, &target.join(FOLDER), &tools, &progress) {
            Ok(templates) => all.push((variant, templates)),
            Err(error) => left_out.push(LeftOut {
                language: variant.title,
                reason: format!("{error:#}"),
            }),
        }
    }
    all
}

/// One language at one task.
struct Side {
    language: &'static str,
    manifest: PathBuf,
    component: Arc<Component>,
    /// The instance for all calls.
    instance: Instance,
    bytes: u64,
    builds: Option<[Duration; 2]>,
    load: Duration,
    instances: Vec<Duration>,
    calls: Vec<Duration>,
}

impl Side {
    /// Loads the component of the task number `at` as a device does without cached code.
    fn load(
        variant: &Variant,
        templates: &BuiltTemplates,
        at: usize,
        engine: &Engine,
    ) -> anyhow::Result<Self> {
        let built = templates
            .components
            .get(at)
            .context("the component was not built")?;
        let ready = throwaway::prepare(&built.manifest, None, &BTreeMap::new())?;
        let inference = InferenceConfig::default();
        let models = Models::new(inference.options());
        let started = Instant::now();
        let pipeline = Pipeline::load(
            ready.release.clone(),
            |blob: &_| ready.layout.read(blob),
            engine,
            &models,
            &ready.allowed,
            &inference,
        )?;
        let load = started.elapsed();
        let component = pipeline.components().values().next();
        let component = Arc::clone(component.context("the release has no component")?);
        Ok(Self {
            language: variant.title,
            manifest: built.manifest.clone(),
            instance: Instance::new(Arc::clone(&component)),
            component,
            bytes: built.bytes,
            builds: (at == 0).then_some([templates.first_build, templates.next_build]),
            load,
            instances: Vec::new(),
            calls: Vec::new(),
        })
    }

    /// One turn: some instances and some calls.
    fn turn(&mut self, task: &Task) -> anyhow::Result<()> {
        for _ in 0..INSTANCES {
            let started = Instant::now();
            let mut fresh = Instance::new(Arc::clone(&self.component));
            fresh.warm_up()?;
            drop(fresh);
            self.instances.push(started.elapsed());
        }
        // The other languages have evicted the processor's caches.
        task.call(&mut self.instance)?;
        let begun = Instant::now();
        for _ in 0..CALLS {
            let (time, answer) = task.call(&mut self.instance)?;
            drop(answer);
            self.calls.push(time);
            if begun.elapsed() > TURN {
                break;
            }
        }
        Ok(())
    }

    fn figures(&self) -> anyhow::Result<Figures> {
        let middle = |times: &[Duration]| median(times).context("nothing was measured");
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Ok(Figures {
            component: self.bytes as f64,
            load: micros(self.load),
            instance: middle(&self.instances)?,
            call: middle(&self.calls)?,
            memory: self.instance.usage().memory_bytes as f64,
            builds: self.builds.map(|builds| builds.map(micros)),
        })
    }
}

/// Checks that all languages return the same and measures them alternately, each round starting with another one.
fn alternate(
    world: World,
    sides: &mut [Side],
    rounds: usize,
) -> anyhow::Result<Vec<(&'static str, Figures)>> {
    let Some(first) = sides.first() else {
        return Ok(Vec::new());
    };
    let task = Task::read(world, &first.manifest)?;
    let mut expected = None;
    for side in &mut *sides {
        let language = side.language;
        let call = task.call(&mut side.instance);
        let answer = call.with_context(|| format!("{world} in {language}"))?.1;
        let found = answer.bytes()?;
        let expected = expected.get_or_insert_with(|| found.clone());
        anyhow::ensure!(
            found == *expected,
            "{world} in {language} returns another result than the others"
        );
    }
    for round in 0..rounds {
        let (later, sooner) = sides.split_at_mut(round % sides.len());
        for side in sooner.iter_mut().chain(later) {
            side.turn(&task)?;
        }
    }
    let figures = sides
        .iter()
        .map(|side| Ok((side.language, side.figures()?)));
    figures.collect()
}
