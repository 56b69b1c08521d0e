//! Structural limits of a component. They are those of wasmtime's pool, and apply in every memory mode.

use wasmparser::{MemoryType, Parser, Payload, TableType};
use wasmtime::component::Component;

use crate::memory::{
    Largest, MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS, MEMORIES_PER_COMPONENT, TABLES_PER_COMPONENT,
};

/// Default page size of a memory: 64 KiB.
const PAGE_SIZE_LOG2: u32 = 16;

/// A structural limit that a component exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfBounds {
    #[error("one of its modules defines {found} linear memories; at most one is allowed")]
    ModuleMemories { found: u32 },
    #[error("it has {found} linear memories; at most {MEMORIES_PER_COMPONENT} are allowed")]
    Memories { found: u32 },
    #[error("it has {found} tables; at most {TABLES_PER_COMPONENT} are allowed")]
    Tables { found: u32 },
    #[error(
        "one of its memories begins with {found} bytes; at most {MAX_MEMORY_BYTES} are allowed"
    )]
    MemoryBytes { found: u64 },
    #[error(
        "one of its tables begins with {found} elements; at most {MAX_TABLE_ELEMENTS} are allowed"
    )]
    TableElements { found: u64 },
    #[error("one of its memories is shared between threads, but components have one thread")]
    SharedMemory,
}

/// Finds the largest memory and table that the modules of a component define. Malformed bytes are left to the compiler, which reports
/// them.
pub(crate) fn largest(bytes: &[u8]) -> Result<Largest, OutOfBounds> {
    let mut largest = Largest::default();
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::MemorySection(section) => {
                let found = section.count();
                if found > 1 {
                    return Err(OutOfBounds::ModuleMemories { found });
                }
                for memory in section.into_iter().map_while(Result::ok) {
                    let bytes = memory_bytes(&memory)?;
                    largest.memory_bytes = largest.memory_bytes.max(bytes);
                }
            }
            Payload::TableSection(section) => {
                for table in section.into_iter().map_while(Result::ok) {
                    let elements = table_elements(&table.ty)?;
                    largest.table_elements = largest.table_elements.max(elements);
                }
            }
            _ => {}
        }
    }
    Ok(largest)
}

fn memory_bytes(memory: &MemoryType) -> Result<u64, OutOfBounds> {
    if memory.shared {
        return Err(OutOfBounds::SharedMemory);
    }
    let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(PAGE_SIZE_LOG2));
    let found = memory.initial.saturating_mul(page.unwrap_or(u64::MAX));
    if found > MAX_MEMORY_BYTES {
        return Err(OutOfBounds::MemoryBytes { found });
    }
    Ok(found)
}

fn table_elements(table: &TableType) -> Result<u64, OutOfBounds> {
    let found = table.initial;
    if found > MAX_TABLE_ELEMENTS {
        return Err(OutOfBounds::TableElements { found });
    }
    Ok(found)
}

/// Counts the memories and tables of all its core instances. A component that instantiates imported modules is not counted, since no
/// module can be imported.
pub(crate) fn check(component: &Component) -> Result<(), OutOfBounds> {
    let Some(all) = component.resources_required() else {
        return Ok(());
    };
    if all.num_memories > MEMORIES_PER_COMPONENT {
        let found = all.num_memories;
        return Err(OutOfBounds::Memories { found });
    }
    if all.num_tables > TABLES_PER_COMPONENT {
        let found = all.num_tables;
        return Err(OutOfBounds::Tables { found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(sections: &[u8]) -> Result<Largest, OutOfBounds> {
        largest(&[b"\0asm\x01\0\0\0", sections].concat())
    }

    #[test]
    fn what_modules_begin_with_is_found_and_bounded() {
        assert_eq!(module(b""), Ok(Largest::default()));
        // 2 pages; 300 elements of funcref.
        let both = b"\x04\x05\x01\x70\x00\xac\x02\x05\x03\x01\x00\x02";
        let found = Largest {
            memory_bytes: 2 << 16,
            table_elements: 300,
        };
        assert_eq!(module(both), Ok(found));
        let two = b"\x05\x05\x02\x00\x01\x00\x01";
        assert_eq!(module(two), Err(OutOfBounds::ModuleMemories { found: 2 }));
        let shared = b"\x05\x04\x01\x03\x01\x01";
        assert_eq!(module(shared), Err(OutOfBounds::SharedMemory));
        // 65,537 pages of a memory with 64-bit addresses.
        let large = b"\x05\x05\x01\x04\x81\x80\x04";
        let found = (1 << 32) + (1 << 16);
        assert_eq!(module(large), Err(OutOfBounds::MemoryBytes { found }));
        let long = b"\x04\x06\x01\x70\x00\xe0\xa7\x12";
        let found = 300_000;
        assert_eq!(module(long), Err(OutOfBounds::TableElements { found }));
        assert_eq!(largest(b"no WebAssembly at all"), Ok(Largest::default()));
    }
}
