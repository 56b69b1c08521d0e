//! Checks of a model of a release.

use std::collections::BTreeSet;

use crate::{
    limits::ReleaseLimits,
    model::Model,
    release_error::ReleaseError,
    rules::{check_name, within},
};

impl Model {
    /// Checks every rule of a model that its type does not enforce. `name` is its name in the release.
    pub(crate) fn check(&self, name: &str) -> Result<(), ReleaseError> {
        let of = |what: &str| format!("{what} of model `{name}`");
        let variants = self.variants.len() as u64;
        within(
            &of("the number of variants"),
            variants,
            1,
            ReleaseLimits::VARIANTS,
        )?;
        let mut names = BTreeSet::new();
        for variant in &self.variants {
            check_name("variant", &variant.name)?;
            if !names.insert(&variant.name) {
                return Err(Self::refuse(
                    name,
                    format!("two variants are called `{}`; rename one", variant.name),
                ));
            }
            within(
                &of(&format!("size of variant `{}`", variant.name)),
                variant.blob.size,
                1,
                ReleaseLimits::MODEL_BYTES,
            )?;
        }
        for (key, value, least, most) in [
            (
                "`deadline-ms`",
                self.deadline_ms,
                1,
                ReleaseLimits::DEADLINE_MS,
            ),
            ("`max-batch`", self.max_batch, 1, ReleaseLimits::BATCH),
            (
                "`max-wait-us`",
                self.max_wait_us,
                0,
                ReleaseLimits::BATCH_WAIT_US,
            ),
        ] {
            within(&of(key), value.into(), least, most)?;
        }
        if self.max_wait_us > 0 && self.max_batch == 1 {
            let problem = "`max-wait-us` has no effect while `max-batch` is 1; raise `max-batch`, or leave `max-wait-us` out";
            return Err(Self::refuse(name, problem));
        }
        self.check_state(name)?;
        self.check_outputs(name)
    }

    fn check_outputs(&self, name: &str) -> Result<(), ReleaseError> {
        within(
            &format!("the number of `outputs` of model `{name}`"),
            self.outputs.len() as u64,
            0,
            ReleaseLimits::MODEL_OUTPUTS,
        )?;
        let mut outputs = BTreeSet::new();
        for output in &self.outputs {
            within(
                &format!("the length of a name in `outputs` of model `{name}`"),
                output.len() as u64,
                1,
                ReleaseLimits::TENSOR_NAME_BYTES,
            )?;
            if !outputs.insert(output) {
                let problem = format!("`outputs` names `{output}` twice; leave one out");
                return Err(Self::refuse(name, problem));
            }
        }
        let left_out = |output: &&String| !outputs.is_empty() && !outputs.contains(output);
        if let Some(output) = self.state.values().find(left_out) {
            let problem = format!("`state` uses the output `{output}`; add it to `outputs`");
            return Err(Self::refuse(name, problem));
        }
        Ok(())
    }

    fn check_state(&self, name: &str) -> Result<(), ReleaseError> {
        let states = self.state.len() as u64;
        within(
            &format!("the number of states of model `{name}`"),
            states,
            0,
            ReleaseLimits::MODEL_STATES,
        )?;
        if !self.state.is_empty() && self.max_batch > 1 {
            let problem = "`state` belongs to one source, but a batch has samples of several; leave out `max-batch` or `state`";
            return Err(Self::refuse(name, problem));
        }
        let mut outputs = BTreeSet::new();
        for (input, output) in &self.state {
            for tensor in [input, output] {
                within(
                    &format!("the length of a name in `state` of model `{name}`"),
                    tensor.len() as u64,
                    1,
                    ReleaseLimits::TENSOR_NAME_BYTES,
                )?;
            }
            if !outputs.insert(output) {
                return Err(Self::refuse(
                    name,
                    format!("two inputs of `state` use the output `{output}`; correct one"),
                ));
            }
        }
        Ok(())
    }

    fn refuse(name: &str, problem: impl Into<String>) -> ReleaseError {
        ReleaseError::Model {
            model: name.to_owned(),
            problem: problem.into(),
        }
    }
}
