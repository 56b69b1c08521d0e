//! Limits on the complexity of components. Cranelift has no bounds of its own, so the size of the work is counted before compilation. Components
//! within the limits are compiled in a separate process with resource limits (`compiler.rs`).

mod expansion;
mod outline;
mod types;

#[cfg(test)]
mod tests;

use wasmparser::{
    CompositeInnerType, Encoding, FunctionBody, FunctionSectionReader, Parser, Payload,
    TypeSectionReader,
};

use self::expansion::expand;
use self::outline::Outline;

/// Most functions of all modules of a component together. JavaScript's runtime has 20 000.
const MAX_FUNCTIONS: u64 = 250_000;
/// The longest function, in bytes of WebAssembly. The longest one of JavaScript's runtime has 180 000.
const MAX_FUNCTION_BYTES: u64 = 1 << 20;
/// Most parameters, results and locals of all functions of a component together. A function of six bytes can have 50 000.
const MAX_LOCALS: u64 = 25_000_000;
/// Most definitions of a component, with each nested component counted as often as it is instantiated, and the exports of an instance as often
/// as it is named.
const MAX_DEFINITIONS: u64 = 250_000;
/// Most functions that a component lowers, counted in the same way: each is a piece of generated code.
const MAX_LOWERED: u64 = 10_000;
/// Deepest nesting of components, instances and types. wasmparser has the same limit for types.
const MAX_NESTING: usize = 100;

/// The limit that a component exceeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooComplex {
    /// Too many functions.
    #[error("it has {found} functions; at most {MAX_FUNCTIONS} are allowed")]
    Functions {
        /// How many.
        found: u64,
    },
    /// Too long a function.
    #[error(
        "one of its functions has {found} bytes; at most {MAX_FUNCTION_BYTES} are allowed; split it"
    )]
    FunctionBytes {
        /// The size of the first one, in bytes.
        found: u64,
    },
    /// Too many locals.
    #[error(
        "its functions have more than {MAX_LOCALS} parameters, results and locals together, which is the limit"
    )]
    Locals,
    /// Too many definitions after expansion.
    #[error(
        "it has more than {MAX_DEFINITIONS} definitions when its nested components and instances are expanded, which is the limit; instantiate fewer of them"
    )]
    Definitions,
    /// Too many adapters between components, or to the host.
    #[error(
        "it lowers more than {MAX_LOWERED} functions when its nested components are expanded, which is the limit"
    )]
    Lowered,
    /// Too much code.
    #[error(
        "its compiled code has {found} bytes; at most {most} are allowed for a component of its size"
    )]
    CodeBytes {
        /// How many.
        found: u64,
        /// 32 MiB, and 32 for each of its own bytes.
        most: u64,
    },
    /// Too deep nesting.
    #[error(
        "its components, instances or types nest more than {MAX_NESTING} levels deep, which is the limit"
    )]
    Nesting,
}

/// Refuses a component that would take too long to compile, or too much memory. Malformed bytes are left to the compiler, which reports them.
///
/// # Errors
/// [`TooComplex`] names the limit.
pub fn check_work(bytes: &[u8]) -> Result<(), TooComplex> {
    let mut functions = Functions::default();
    let mut outline = Outline::new(bytes);
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match &payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => functions.signatures.clear(),
            Payload::TypeSection(section) => functions.types(section.clone()),
            Payload::FunctionSection(section) => functions.declared(section.clone())?,
            Payload::CodeSectionStart { count, .. } => functions.counted(*count)?,
            Payload::CodeSectionEntry(body) => functions.body(body)?,
            _ => {}
        }
        outline.add(payload)?;
    }
    if outline.is_whole() {
        expand(&outline.plans)?;
    }
    Ok(())
}

/// Totals over all core modules of a component.
#[derive(Debug, Default)]
struct Functions {
    count: u64,
    locals: u64,
    /// Parameters and results of each type of the module that is being read.
    signatures: Vec<u32>,
}

impl Functions {
    fn types(&mut self, section: TypeSectionReader<'_>) {
        for group in section.into_iter().map_while(Result::ok) {
            for ty in group.into_types() {
                let values = match ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => ty.params().len() + ty.results().len(),
                    _ => 0,
                };
                self.signatures
                    .push(u32::try_from(values).unwrap_or(u32::MAX));
            }
        }
    }

    fn declared(&mut self, section: FunctionSectionReader<'_>) -> Result<(), TooComplex> {
        for ty in section.into_iter().map_while(Result::ok) {
            let values = self.signatures.get(ty as usize).copied();
            self.add_locals(values.unwrap_or(0))?;
        }
        Ok(())
    }

    fn counted(&mut self, count: u32) -> Result<(), TooComplex> {
        self.count += u64::from(count);
        if self.count > MAX_FUNCTIONS {
            return Err(TooComplex::Functions { found: self.count });
        }
        Ok(())
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), TooComplex> {
        let found = body.as_bytes().len() as u64;
        if found > MAX_FUNCTION_BYTES {
            return Err(TooComplex::FunctionBytes { found });
        }
        let Ok(locals) = body.get_locals_reader() else {
            return Ok(());
        };
        for (count, _) in locals.into_iter().map_while(Result::ok) {
            self.add_locals(count)?;
        }
        Ok(())
    }

    fn add_locals(&mut self, more: u32) -> Result<(), TooComplex> {
        self.locals += u64::from(more);
        if self.locals > MAX_LOCALS {
            return Err(TooComplex::Locals);
        }
        Ok(())
    }
}
