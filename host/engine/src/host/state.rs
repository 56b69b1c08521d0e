use super::bindings::hotshoe::pipeline::state;
use super::bindings::hotshoe::pipeline::types::{Error, ErrorCode};
use super::{State, error};
use crate::state::StateError;

impl state::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.kept.get(&key))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        Ok(self.kept.set(key, value).map_err(refused))
    }

    fn replace(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    ) -> wasmtime::Result<Result<bool, Error>> {
        Ok(self
            .kept
            .replace(key, expected.as_deref(), value)
            .map_err(refused))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.kept.delete(&key);
        Ok(())
    }

    fn keys(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.kept.keys())
    }

    fn version(&mut self) -> wasmtime::Result<u32> {
        Ok(self.kept.version())
    }
}

fn refused(reason: StateError) -> Error {
    let code = match reason {
        StateError::EmptyKey => ErrorCode::InvalidInput,
        StateError::Key(_)
        | StateError::Value(_)
        | StateError::Entries
        | StateError::Bytes { .. } => ErrorCode::LimitExceeded,
    };
    error(code, reason)
}
