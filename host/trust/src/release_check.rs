//! The rules of a release beyond its schema.

use std::collections::BTreeMap;

use crate::{
    access_check::check_access,
    data_bounds::DataBounds,
    effective_contract::EffectiveContract,
    kind::ReleaseKind,
    limits::ReleaseLimits,
    release::{Component, Grant, Release, Step, World, first},
    release_error::ReleaseError,
    rules::{check_globs, check_name, is_media_type, require_grants, within},
};

impl Release {
    /// Checks every rule that the types do not enforce: names, order of the pipeline, worlds,
    /// grants, times, self-tests, chunks, the health gate, modes and [`ReleaseLimits`].
    pub fn validate(&self) -> Result<(), ReleaseError> {
        check_name("release", &self.name)?;
        for (what, names) in [
            ("component", self.components.keys().collect::<Vec<_>>()),
            ("model", self.models.keys().collect()),
            ("data", self.data.keys().collect()),
        ] {
            within(what, names.len() as u64, 0, ReleaseLimits::ENTRIES)?;
            names
                .into_iter()
                .try_for_each(|name| check_name(what, name))?;
        }
        if self.expires <= self.issued {
            return Err(ReleaseError::ExpiresTooSoon {
                issued: self.issued,
            });
        }
        check_globs(&self.devices.names)?;
        check_globs(&self.requires.classes)?;
        check_globs(&self.requires.architectures)?;
        self.check_kind()?;
        if self.kind != ReleaseKind::Pipeline {
            self.check_sizes()?;
            self.check_chunks()?;
            return self.health.check();
        }
        for (name, component) in &self.components {
            self.check_component(name, component)?;
        }
        self.check_state()?;
        self.check_sizes()?;
        self.check_pipeline()?;
        self.check_tests()?;
        self.check_chunks()?;
        self.check_modes()?;
        self.check_governor()?;
        self.privacy.check()?;
        if let Some(drift) = &self.drift {
            drift.check(&self.modes)?;
        }
        self.data_contract.check(|topic| {
            let mut components = self.components.values();
            components.any(|component| component.topics.contains(topic))
        })?;
        EffectiveContract::of(Some(self), &DataBounds::default()).check_ways_out(self)?;
        self.health.check()
    }

    fn check_component(&self, name: &str, component: &Component) -> Result<(), ReleaseError> {
        let user = || format!("component `{name}`");
        for model in &component.models {
            require(self.models.contains_key(model), || (user(), "model", model))?;
        }
        for data in &component.data {
            require(self.data.contains_key(data), || (user(), "data", data))?;
        }
        let has = |grant| component.grants.contains(&grant);
        let needs = [
            (
                component.models.is_empty() || has(Grant::Infer) || has(Grant::WasiNn),
                "models",
                "`infer` or `wasi-nn`",
            ),
            (
                component.data.is_empty() || has(Grant::Data),
                "data",
                "`data`",
            ),
            (
                component.config.is_empty() || has(Grant::Config),
                "config",
                "`config`",
            ),
        ];
        require_grants(name, needs)?;
        check_access(name, component)?;
        if component.state_version != first() && !has(Grant::State) {
            return Err(ReleaseError::StateVersion {
                component: name.to_owned(),
            });
        }
        within(
            &format!("`state-version` of component `{name}`"),
            component.state_version.into(),
            1,
            u32::MAX.into(),
        )?;
        let limits = &component.limits;
        for (key, value, most) in [
            ("memory-mib", limits.memory_mib, ReleaseLimits::MEMORY_MIB),
            (
                "deadline-ms",
                limits.deadline_ms,
                ReleaseLimits::DEADLINE_MS,
            ),
            ("tensor-mib", limits.tensor_mib, ReleaseLimits::TENSOR_MIB),
            (
                "table-elements",
                limits.table_elements,
                ReleaseLimits::TABLE_ELEMENTS,
            ),
            ("instances", limits.instances, ReleaseLimits::INSTANCES),
            ("log-lines", limits.log_lines, ReleaseLimits::LOG_LINES),
            ("state-kib", limits.state_kib, ReleaseLimits::STATE_KIB),
            ("handles", limits.handles, ReleaseLimits::HANDLES),
            ("output-kib", limits.output_kib, ReleaseLimits::OUTPUT_KIB),
        ] {
            within(
                &format!("limit `{key}` of component `{name}`"),
                value.into(),
                1,
                most,
            )?;
        }
        if let Some(fuel) = limits.fuel {
            within(
                &format!("limit `fuel` of component `{name}`"),
                fuel,
                1,
                u64::MAX,
            )?;
        }
        if let Some(calls) = limits.calls {
            within(
                &format!("limit `calls` of component `{name}`"),
                calls.into(),
                1,
                u32::MAX.into(),
            )?;
        }
        Ok(())
    }

    /// Bounds the state of all components, which is one file.
    fn check_state(&self) -> Result<(), ReleaseError> {
        let keeps = |c: &&Component| c.grants.contains(&Grant::State);
        let kept = self.components.values().filter(keeps);
        let total = kept.map(|c| u64::from(c.limits.state_kib)).sum();
        let most = ReleaseLimits::STATE_KIB_TOTAL;
        within("the sum of all `state-kib`", total, 0, most)
    }

    fn check_governor(&self) -> Result<(), ReleaseError> {
        let is_governor =
            |(_, component): &(&String, &Component)| component.world == World::Governor;
        let mut governors = self.components.iter().filter(is_governor);
        match (governors.next(), governors.next()) {
            (Some((first, _)), Some((second, _))) => Err(ReleaseError::TwoGovernors {
                first: first.clone(),
                second: second.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), ReleaseError> {
        for (name, component) in &self.components {
            within(
                &format!("size of component `{name}`"),
                component.blob.size,
                1,
                ReleaseLimits::COMPONENT_BYTES,
            )?;
        }
        for (name, model) in &self.models {
            model.check(name)?;
        }
        for (name, data) in &self.data {
            within(
                &format!("size of data `{name}`"),
                data.blob.size,
                0,
                self.kind.data_bytes(),
            )?;
            if !is_media_type(&data.media_type) {
                return Err(ReleaseError::MediaType {
                    what: format!("data `{name}`"),
                    media_type: data.media_type.clone(),
                });
            }
        }
        let mut sizes = BTreeMap::new();
        for blob in self.blobs() {
            if sizes.insert(blob.digest, blob.size).is_some() {
                return Err(ReleaseError::TwoSizes {
                    digest: blob.digest,
                });
            }
        }
        let total = sizes
            .values()
            .fold(0_u64, |sum, size| sum.saturating_add(*size));
        within(
            "the size of all blobs",
            total,
            1,
            ReleaseLimits::RELEASE_BYTES,
        )
    }

    /// `filter* (stage | [preprocess] infer* [postprocess]) policy*`, with more than filters, names that exist and worlds that fit.
    fn check_pipeline(&self) -> Result<(), ReleaseError> {
        /// The input of the next step, in processing order.
        #[derive(Clone, Copy, PartialEq)]
        enum StepOutput {
            Anything,
            Tensors,
            Insight,
        }
        within(
            "the number of pipeline steps",
            self.pipeline.len() as u64,
            1,
            ReleaseLimits::STEPS,
        )?;
        let mut made = StepOutput::Anything;
        for (index, step) in self.pipeline.iter().enumerate() {
            let number = index + 1;
            let (fits, makes, found) = match step {
                Step::Filter { .. } => (
                    made == StepOutput::Anything,
                    StepOutput::Anything,
                    "a filter step comes after a step that is no filter",
                ),
                Step::Preprocess { .. } => (
                    made == StepOutput::Anything,
                    StepOutput::Tensors,
                    "a preprocess step has no sample as its input",
                ),
                Step::Infer { .. } => (
                    made != StepOutput::Insight,
                    StepOutput::Tensors,
                    "an infer step has no tensors as its input",
                ),
                Step::Postprocess { .. } => (
                    made != StepOutput::Insight,
                    StepOutput::Insight,
                    "a postprocess step has no tensors as its input",
                ),
                Step::Stage { .. } => (
                    made == StepOutput::Anything,
                    StepOutput::Insight,
                    "a stage step has no sample as its input",
                ),
                // Without a postprocessor, the tensors are the insight.
                Step::Policy { .. } => (true, StepOutput::Insight, ""),
            };
            if !fits {
                return Err(ReleaseError::Order {
                    step: number,
                    found,
                });
            }
            made = makes;
            self.check_step(number, step)?;
        }
        if made == StepOutput::Anything {
            return Err(ReleaseError::Order {
                step: self.pipeline.len(),
                found: "no step comes after the filters",
            });
        }
        Ok(())
    }

    fn check_step(&self, step: usize, what: &Step) -> Result<(), ReleaseError> {
        let user = || format!("pipeline step {step}");
        let (component, needed) = match what {
            Step::Filter { component } => (component, World::Filter),
            Step::Preprocess { component } => (component, World::Preprocessor),
            Step::Postprocess { component } => (component, World::Postprocessor),
            Step::Stage { component } => (component, World::Stage),
            Step::Policy { component, .. } => (component, World::Policy),
            Step::Infer { model } => {
                return require(self.models.contains_key(model), || (user(), "model", model));
            }
        };
        match self.components.get(component) {
            None => require(false, || (user(), "component", component)),
            Some(found) if found.world != needed => Err(ReleaseError::World {
                step,
                component: component.clone(),
                needed,
                found: found.world,
            }),
            Some(_) => Ok(()),
        }
    }
}

fn require<'a>(
    held: bool,
    missing: impl FnOnce() -> (String, &'static str, &'a String),
) -> Result<(), ReleaseError> {
    if held {
        return Ok(());
    }
    let (user, what, name) = missing();
    Err(ReleaseError::Missing {
        user,
        what,
        name: name.clone(),
    })
}
