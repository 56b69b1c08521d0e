use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use hotshoe_trust::{
    Allowed, Component as Signed, Digest, EffectiveContract, Grant, InstanceMode, Limits, PIPELINE,
    Release, Verified, World, check_imports,
};
use wasmtime::component::{HasSelf, Linker};

use crate::assets::ComponentAssets;
use crate::asynchronous::is_async;
use crate::bounds;
use crate::code::Code;
use crate::compiler::Codegen;
use crate::core_module::core_module;
use crate::engine::{Engine, ModeEngine};
use crate::host::bindings::hotshoe::pipeline as imports;
use crate::host::bindings::v0_2;
use crate::host::{Services, State, nn, samples, services, tensors, wasi};
use crate::linked_component::{Entry, LinkedComponent};
use crate::live::LiveInstance;
use crate::prepare_error::PrepareError;
use crate::sources::Sources;
use crate::state::{KeptState, StateSnapshot};
use crate::units::kib;
use crate::work::check_work;

/// Longest call of a governor, in milliseconds. While one runs, no other plan is made, and heat does not wait for it.
const MAX_GOVERNOR_MS: u32 = 2_000;

/// A component that is compiled, checked and linked. Each worker makes its own [`crate::Instance`] of it.
#[derive(Clone)]
pub struct Component {
    pub(crate) linked: LinkedComponent,
    pub(crate) mode: InstanceMode,
    /// Empty unless the mode is `per-source`.
    pub(crate) sources: Arc<Sources<LiveInstance>>,
}

impl Component {
    /// Its name in the release.
    pub fn name(&self) -> &str {
        &self.linked.name
    }

    /// The same component with a copy of its state and its own instances: changes of the copy do not affect the original.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut fork = self.clone();
        fork.linked.state = self
            .linked
            .state
            .as_ref()
            .map(|state| Arc::new(state.fork()));
        fork.sources = Arc::new(self.sources.empty_copy());
        fork
    }

    /// Drops the instances of all sources, for components whose `instance` is `per-source`.
    pub fn forget_sources(&self) {
        self.sources.forget();
    }

    /// Log lines that were dropped since it was prepared.
    pub fn log_lines_dropped(&self) -> u64 {
        self.linked.services.log_lines_dropped()
    }

    /// Instances that were replaced since it was prepared because their linear memory was used up, or nearly.
    pub fn instances_replaced(&self) -> u64 {
        self.linked.services.replaced_for_memory()
    }

    /// Adds its state to a snapshot.
    pub fn save_state(&self, snapshot: &mut StateSnapshot) {
        if let Some(state) = &self.linked.state {
            snapshot.add(&self.linked.name, state);
        }
    }

    /// Replaces its state with that of a snapshot.
    pub fn restore_state(&self, snapshot: &StateSnapshot) {
        if let Some(state) = &self.linked.state {
            snapshot.restore(&self.linked.name, state);
        }
    }

    /// Number of changes of its state. Restoring does not count.
    pub fn state_changes(&self) -> u64 {
        self.linked
            .state
            .as_ref()
            .map_or(0, |state| state.changes())
    }
}

impl Engine {
    /// Prepares the component `name` of a verified release: checks `bytes` against the signed digest, compiles them (or
    /// loads code that was compiled before), and links only what the release grants.
    ///
    /// `allowed` is what the operator of the device allows any component.
    ///
    /// # Errors
    /// [`PrepareError`] names the component and what to change.
    pub fn prepare(
        &self,
        release: &Verified<Release>,
        name: &str,
        bytes: &[u8],
        assets: &ComponentAssets,
        allowed: &Allowed,
    ) -> Result<Component, PrepareError> {
        let spec = release
            .components
            .get(name)
            .ok_or_else(|| PrepareError::Unknown(name.to_owned()))?;
        let found = Digest::of(bytes);
        if found != spec.blob.digest {
            return Err(PrepareError::Mismatch {
                component: name.to_owned(),
                expected: spec.blob.digest,
                found,
            });
        }
        if let Some(imports) = core_module(bytes) {
            return Err(PrepareError::CoreModule {
                component: name.to_owned(),
                imports,
            });
        }
        allowed.check(name, spec)?;
        let contract = EffectiveContract::of(Some(&**release), &allowed.data);
        let services = Services::new(name, spec, assets, allowed, &self.shared_texts)?;
        let services = services
            .with_secrets(spec, self.secrets.as_ref())
            .within(&contract, &self.kept_back);
        let out_of_bounds = |what: bounds::OutOfBounds| PrepareError::Compile {
            component: name.to_owned(),
            source: what.into(),
        };
        let largest = bounds::largest(bytes).map_err(out_of_bounds)?;
        let ModeEngine { engine, mode } = self.engine_for(&spec.limits, &largest)?;
        let fuel = spec.limits.fuel.is_some();
        let codegen = Codegen { fuel, mode };
        let compiled = self.compile(&engine, codegen, name, found, bytes)?;
        bounds::check(&compiled).map_err(out_of_bounds)?;
        let export = check_world(&engine, &compiled, name, spec.world)?;
        let ty = compiled.component_type();
        let imports: Vec<&str> = ty.imports(&engine).map(|(import, _)| import).collect();
        check_imports(name, &imports, &spec.grants)?;
        let link_error = |source: wasmtime::Error| PrepareError::Link {
            component: name.to_owned(),
            source: source.into(),
        };
        let pre = link(&engine, &spec.grants)
            .and_then(|linker| linker.instantiate_pre(&compiled))
            .map_err(link_error)?;
        let entry = Entry::of(spec.world, &export, &compiled).map_err(link_error)?;
        let linked = LinkedComponent {
            name: name.to_owned(),
            limits: limits(spec),
            services: Arc::new(services),
            state: spec.grants.contains(&Grant::State).then(|| {
                Arc::new(KeptState::new(
                    spec.state_version,
                    kib(spec.limits.state_kib),
                ))
            }),
            pre,
            entry,
        };
        Ok(Component {
            linked,
            mode: spec.instance,
            sources: Arc::new(Sources::new(Arc::clone(&self.kept))),
        })
    }

    fn compile(
        &self,
        engine: &wasmtime::Engine,
        codegen: Codegen,
        name: &str,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<wasmtime::component::Component, PrepareError> {
        let warn = |error: &(dyn std::error::Error + 'static), what: &str| {
            tracing::warn!(component = name, error, "{what}");
        };
        match self.cache.as_ref().map(|cache| cache.load(engine, digest)) {
            Some(Ok(Some(component))) => return Ok(component),
            Some(Ok(None)) | None => {}
            Some(Err(error)) => warn(&error, "compiled code is not used"),
        }
        check_work(bytes).map_err(|what| PrepareError::TooComplex {
            component: name.to_owned(),
            what,
        })?;
        let started = Instant::now();
        let compiled = self.compiler.compile(engine, codegen, name, bytes);
        let (component, code) = compiled.map_err(|error| match error {
            PrepareError::Compile { component, .. } if is_async(bytes) => {
                PrepareError::Async { component }
            }
            error => error,
        })?;
        let millis = started.elapsed().as_millis();
        tracing::info!(component = name, millis, "component compiled");
        if let Some(cache) = &self.cache {
            let code =
                match code {
                    Some(code) => code,
                    None => Code::new(component.serialize().map_err(|source| {
                        PrepareError::Compile {
                            component: name.to_owned(),
                            source: source.into(),
                        }
                    })?),
                };
            if let Err(error) = cache.keep(engine, digest, &code) {
                warn(&error, "compiled code is not kept");
            }
        }
        Ok(component)
    }
}

/// Most names in a message, and most characters of each.
const MAX_LISTED_NAMES: usize = 16;
const MAX_NAME_CHARS: usize = 128;

/// The exported interface of the world, of the oldest version that the component has.
fn check_world(
    engine: &wasmtime::Engine,
    compiled: &wasmtime::component::Component,
    name: &str,
    expected: World,
) -> Result<String, PrepareError> {
    let ty = compiled.component_type();
    let mut found: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let mut exports = expected.exports();
    if let Some(export) = exports.find(|export| found.contains(&export.as_str())) {
        return Ok(export);
    }
    if found.is_empty() {
        found.push("nothing");
    }
    Err(PrepareError::WrongWorld {
        component: name.to_owned(),
        expected,
        export: expected.exports_text(),
        found: list_names(&found),
    })
}

/// A bounded list of names for a message: a component may have hundreds of thousands.
fn list_names(names: &[&str]) -> String {
    let cut = |name: &&str| name.chars().take(MAX_NAME_CHARS).collect::<String>();
    let some: Vec<String> = names.iter().take(MAX_LISTED_NAMES).map(cut).collect();
    let some = some.join(", ");
    match names.len().saturating_sub(MAX_LISTED_NAMES) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

/// A linker with only the granted interfaces, of all versions.
fn link(engine: &wasmtime::Engine, grants: &BTreeSet<Grant>) -> wasmtime::Result<Linker<State>> {
    type Own = HasSelf<State>;
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    for version in PIPELINE.versions() {
        // It has no functions.
        l.instance(&PIPELINE.interface("types", version))?;
        samples::add_to_linker(l, version)?;
        tensors::add_to_linker(l, version)?;
    }
    v0_2::fault::add_to_linker::<_, Own>(l, |state| state)?;
    for grant in grants {
        match grant {
            Grant::Log => {
                imports::log::add_to_linker::<_, Own>(l, |state| state)?;
                v0_2::log::add_to_linker::<_, Own>(l, |state| state)?;
            }
            Grant::Metrics => {
                imports::metrics::add_to_linker::<_, Own>(l, |state| state)?;
                v0_2::metrics::add_to_linker::<_, Own>(l, |state| state)?;
            }
            Grant::Clock => {
                imports::clock::add_to_linker::<_, Own>(l, |state| state)?;
                v0_2::clock::add_to_linker::<_, Own>(l, |state| state)?;
            }
            Grant::Config => {
                imports::config::add_to_linker::<_, Own>(l, |state| state)?;
                v0_2::config::add_to_linker::<_, Own>(l, |state| state)?;
            }
            Grant::State => {
                imports::state::add_to_linker::<_, Own>(l, |state| state)?;
                v0_2::state::add_to_linker::<_, Own>(l, |state| state)?;
            }
            Grant::Data => {
                for version in PIPELINE.versions() {
                    services::add_data_to_linker(l, version)?;
                }
            }
            Grant::Vision => {
                imports::vision::add_to_linker::<_, Own>(l, |state| state)?;
                v0_2::vision::add_to_linker::<_, Own>(l, |state| state)?;
            }
            Grant::Infer => {
                imports::infer::add_to_linker::<_, Own>(l, |state| state)?;
                v0_2::infer::add_to_linker::<_, Own>(l, |state| state)?;
            }
            Grant::WasiNn => nn::add_to_linker(l)?,
            Grant::Wasi => wasi::add_to_linker(l)?,
            // The interfaces come with `wasi`; each instance checks its connections.
            Grant::WasiSockets => {}
            Grant::WasiHttp => wasi::add_http_to_linker(l)?,
        }
    }
    Ok(linker)
}

/// Those of its release; the deadline of a governor is at most [`MAX_GOVERNOR_MS`].
fn limits(spec: &Signed) -> Limits {
    let most = match spec.world {
        World::Governor => MAX_GOVERNOR_MS,
        _ => u32::MAX,
    };
    Limits {
        deadline_ms: spec.limits.deadline_ms.min(most),
        ..spec.limits.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_some_names_of_many() {
        assert_eq!(list_names(&["a", "b"]), "a, b");
        let long = "x".repeat(1000);
        let many = vec![long.as_str(); 300_000];
        let text = list_names(&many);
        assert!(
            text.ends_with("x and 299984 more") && text.len() < 2500,
            "{text}"
        );
    }
}
