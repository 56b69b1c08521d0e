//! Adds a component's own `producers` section, because release profiles and strippers remove those of compilers.
use crate::{BuildError, Language};
use wasm_metadata::Producers;

/// Adds the language of the sources, and this program. Sections of inner modules do not change.
pub(crate) fn add_producers(component: &[u8], language: Language) -> Result<Vec<u8>, BuildError> {
    let mut producers = Producers::empty();
    producers.add("language", language.title(), "");
    producers.add("processed-by", "hotshoe", env!("CARGO_PKG_VERSION"));
    producers
        .add_to_wasm(component)
        .map_err(|error| BuildError::Encode {
            message: format!("{error:#}"),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use wasm_encoder::{Component, Module, ModuleSection};
    use wasmparser::Validator;

    #[test]
    fn every_language_is_recorded_and_the_component_stays_valid() {
        let mut inner = Producers::empty();
        inner.add("language", "C11", "");
        let module = inner.add_to_wasm(&Module::new().finish()).unwrap();
        let mut component = Component::new();
        component.section(&wasm_encoder::RawSection {
            id: wasm_encoder::ComponentSectionId::CoreModule as u8,
            data: &module,
        });
        component.section(&ModuleSection(&Module::new()));
        let mut inner = Producers::empty();
        inner.add("processed-by", "wit-component", "1.2.3");
        let plain = inner.add_to_wasm(&component.finish()).unwrap();
        for language in Language::ALL {
            let said = add_producers(&plain, language).unwrap();
            Validator::new().validate_all(&said).unwrap();
            let producers = Producers::from_wasm(&said).unwrap().unwrap();
            let languages = producers.get("language").unwrap();
            let languages: Vec<_> = languages.iter().collect();
            assert_eq!(languages, [(&language.title().to_owned(), &String::new())]);
            let tools = producers.get("processed-by").unwrap();
            assert_eq!(tools.get("wit-component").unwrap(), "1.2.3");
            assert_eq!(tools.get("hotshoe").unwrap(), env!("CARGO_PKG_VERSION"));
            // Adding twice changes nothing, and inner sections do not change.
            assert_eq!(add_producers(&said, language).unwrap(), said);
            assert!(said.windows(3).any(|bytes| bytes == b"C11"));
        }
        assert!(add_producers(b"not wasm", Language::Go).is_err());
    }
}
