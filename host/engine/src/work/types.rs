//! Sections of component types, read without recursion: types may nest very deep, and a recursive reader would overflow its stack.

use wasmparser::{
    BinaryReader, ComponentImport, ComponentType, ComponentTypeSectionReader,
    InstanceTypeDeclaration, Result as Read,
};

use super::{MAX_NESTING, TooComplex};

/// First byte of a resource type, of a component type and of an instance type.
const RESOURCE: u8 = 0x3f;
const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;
/// First byte of a declaration in a component or instance type: a type, and an import.
const TYPE: u8 = 0x01;
const IMPORT: u8 = 0x03;

/// Counts of a type section.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TypeSection {
    /// Types, and declarations within them.
    pub(super) declarations: u64,
    /// Types that are new resources.
    pub(super) resources: u64,
}

/// Counts a section, up to the first malformed part.
pub(super) fn types(
    bytes: &[u8],
    section: &ComponentTypeSectionReader<'_>,
) -> Result<TypeSection, TooComplex> {
    let range = section.range();
    let start = range.start;
    let mut found = TypeSection::default();
    if let Some(bytes) = bytes.get(range) {
        let reader = BinaryReader::new(bytes, start);
        // The compiler refuses malformed types.
        count(reader, &mut found).unwrap_or(Ok(()))?;
    }
    Ok(found)
}

fn count(mut reader: BinaryReader<'_>, found: &mut TypeSection) -> Read<Result<(), TooComplex>> {
    // Remaining declarations of each open type, from the outermost inwards. The first is the section itself.
    let mut left = vec![reader.read_var_u32()?];
    while let Some(here) = left.last_mut() {
        if *here == 0 {
            left.pop();
            continue;
        }
        *here -= 1;
        found.declarations += 1;
        if left.len() > 1 {
            match reader.clone().read_u8()? {
                TYPE => reader.read_u8().map(drop)?,
                IMPORT => {
                    reader.read_u8()?;
                    reader.read::<ComponentImport<'_>>()?;
                    continue;
                }
                _ => {
                    reader.read::<InstanceTypeDeclaration<'_>>()?;
                    continue;
                }
            }
        }
        match reader.clone().read_u8()? {
            COMPONENT | INSTANCE => {
                if left.len() > MAX_NESTING {
                    return Ok(Err(TooComplex::Nesting));
                }
                reader.read_u8()?;
                left.push(reader.read_var_u32()?);
            }
            first => {
                found.resources += u64::from(first == RESOURCE);
                reader.read::<ComponentType<'_>>()?;
            }
        }
    }
    Ok(Ok(()))
}
