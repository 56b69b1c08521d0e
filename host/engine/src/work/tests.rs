#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn checked(text: &str) -> Result<(), TooComplex> {
    check_work(&wat::parse_str(text).unwrap())
}

#[test]
fn what_is_no_component_is_not_too_much_of_one() {
    assert_eq!(check_work(b""), Ok(()));
    assert_eq!(check_work(b"no WebAssembly at all"), Ok(()));
    assert_eq!(checked("(component)"), Ok(()));
}

/// Components inside each other, of which each instantiates the next one twice.
fn doubling(levels: usize) -> String {
    let mut text = "(core module)".to_owned();
    for level in 0..levels {
        text = format!(
            "(component $c{level} {text})
             (instance (instantiate $c{level})) (instance (instantiate $c{level}))"
        );
    }
    format!("(component {text})")
}

#[test]
fn nested_components_count_as_often_as_they_are_instantiated() {
    assert_eq!(checked(&doubling(14)), Ok(()));
    assert_eq!(checked(&doubling(17)), Err(TooComplex::Definitions));
    assert_eq!(checked(&doubling(28)), Err(TooComplex::Definitions));
    assert_eq!(checked(&doubling(60)), Err(TooComplex::Definitions));
}

#[test]
fn instances_count_with_all_that_they_hold() {
    let holding = |levels: usize| {
        let mut text =
            r#"(component (import "f" (func $f)) (instance $i0 (export "a" (func $f)))"#.to_owned();
        for level in 0..levels {
            let next = level + 1;
            write!(
                text,
                r#"(instance $i{next} (export "a" (instance $i{level})) (export "b" (instance $i{level})))"#
            )
            .unwrap();
        }
        text + ")"
    };
    assert_eq!(checked(&holding(10)), Ok(()));
    assert_eq!(checked(&holding(28)), Err(TooComplex::Definitions));
}

#[test]
fn components_count_with_all_that_they_take_from_outside() {
    // Nothing is instantiated: the compiler copies what each of them refers to.
    let capturing = |levels: usize| {
        let mut text = "(component $root (component $c0)".to_owned();
        for level in 0..levels {
            let next = level + 1;
            let alias = format!("(alias outer $root $c{level} (component))");
            write!(text, "(component $c{next} {alias} {alias})").unwrap();
        }
        text + ")"
    };
    assert_eq!(checked(&capturing(10)), Ok(()));
    assert_eq!(checked(&capturing(28)), Err(TooComplex::Definitions));
    // One after the other, without growing: too deep for what frees them.
    let mut chain = "(component $root (component $c0)".to_owned();
    for level in 0..150 {
        let next = level + 1;
        write!(
            chain,
            "(component $c{next} (alias outer $root $c{level} (component)))"
        )
        .unwrap();
    }
    assert_eq!(checked(&(chain + ")")), Err(TooComplex::Nesting));
}

#[test]
fn components_that_are_given_to_others_are_followed() {
    let given = |levels: usize| {
        let text = doubling(levels);
        let inner = text.strip_prefix("(component ").unwrap();
        format!(
            r#"(component
                (component $twice
                    (import "c" (component $c))
                    (instance (instantiate $c)) (instance (instantiate $c)))
                (component $given {inner}
                (instance (instantiate $twice (with "c" (component $given)))))"#
        )
    };
    assert_eq!(checked(&given(12)), Ok(()));
    assert_eq!(checked(&given(16)), Err(TooComplex::Definitions));
}

#[test]
fn modules_count_with_their_imports_and_resources_with_each_instance() {
    let mut imports = String::new();
    for number in 0..1000 {
        write!(imports, r#"(import "m" "{number}" (func))"#).unwrap();
    }
    let mut text = format!(
        r#"(component (import "f" (func $f)) (core func $c (canon lower (func $f)))
        (core module $m {imports}) (core instance $i"#
    );
    for number in 0..1000 {
        write!(text, r#"(export "{number}" (func $c))"#).unwrap();
    }
    text += ")";
    let instances =
        |count| r#"(core instance (instantiate $m (with "m" (instance $i))))"#.repeat(count);
    assert_eq!(checked(&format!("{text}{})", instances(100))), Ok(()));
    let many = checked(&format!("{text}{})", instances(300)));
    assert_eq!(many, Err(TooComplex::Definitions));

    let resources = "(type (resource (rep i32)))".repeat(1000);
    let instances = |count| "(instance (instantiate $c))".repeat(count);
    let text = format!("(component (component $c) {resources}");
    assert_eq!(checked(&format!("{text}{})", instances(100))), Ok(()));
    let many = checked(&format!("{text}{})", instances(300)));
    assert_eq!(many, Err(TooComplex::Definitions));
}

#[test]
fn lowered_functions_count_as_often_as_they_are_made() {
    let lowering = |count: usize| {
        let lowered = "(core func (canon lower (func $f)))".repeat(1000);
        let instance = r#"(instance (instantiate $c (with "f" (func $f))))"#.repeat(count);
        format!(
            r#"(component (import "f" (func $f))
                (component $c (import "f" (func $f)) {lowered}) {instance})"#
        )
    };
    assert_eq!(checked(&lowering(10)), Ok(()));
    assert_eq!(checked(&lowering(11)), Err(TooComplex::Lowered));
}

#[test]
fn what_is_written_down_counts_without_being_instantiated() {
    let types = "(type u8)".repeat(250_001);
    let many = checked(&format!("(component (component {types}))"));
    assert_eq!(many, Err(TooComplex::Definitions));
}

/// A number as WebAssembly writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [vec![id], leb(contents.len()), contents.to_vec()].concat()
}

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn components_and_types_nest_as_deep_as_the_limit() {
    let components = |depth: usize| {
        let mut bytes = COMPONENT.to_vec();
        for _ in 0..depth {
            bytes = [COMPONENT, &section(4, &bytes)].concat();
        }
        check_work(&bytes)
    };
    assert_eq!(components(MAX_NESTING), Ok(()));
    assert_eq!(components(MAX_NESTING + 1), Err(TooComplex::Nesting));

    // Instance types of one type each, the last of them empty.
    let types = |depth: usize| {
        let mut bytes = vec![1];
        bytes.extend([0x42, 1, 1].repeat(depth - 1));
        bytes.extend([0x42, 0]);
        check_work(&[COMPONENT, &section(7, &bytes)].concat())
    };
    assert_eq!(types(MAX_NESTING), Ok(()));
    assert_eq!(types(MAX_NESTING + 1), Err(TooComplex::Nesting));
    // Far more than a stack has room for.
    assert_eq!(types(1_000_000), Err(TooComplex::Nesting));
}

/// A module of these many functions of one type with these many parameters, each with these many locals.
fn functions(count: usize, parameters: usize, locals: usize) -> Vec<u8> {
    let ty = [
        vec![1, 0x60],
        leb(parameters),
        vec![0x7f; parameters],
        vec![0],
    ]
    .concat();
    let declared = [leb(count), vec![0; count]].concat();
    let body = [vec![1], leb(locals), vec![0x7f, 0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    let code = [leb(count), body.repeat(count)].concat();
    [
        MODULE,
        &section(1, &ty),
        &section(3, &declared),
        &section(10, &code),
    ]
    .concat()
}

#[test]
fn locals_and_parameters_of_all_functions_are_added_up() {
    assert_eq!(check_work(&functions(500, 0, 50_000)), Ok(()));
    assert_eq!(
        check_work(&functions(501, 0, 50_000)),
        Err(TooComplex::Locals)
    );
    assert_eq!(check_work(&functions(24_000, 1000, 1)), Ok(()));
    assert_eq!(
        check_work(&functions(26_000, 1000, 1)),
        Err(TooComplex::Locals)
    );
    let nested = functions(501, 0, 50_000);
    let component = [COMPONENT, &section(1, &nested)].concat();
    assert_eq!(check_work(&component), Err(TooComplex::Locals));
}

proptest! {
    /// Whatever the bytes are, they are looked at to the end, and the answer depends on them alone.
    #[test]
    fn damaged_components_are_counted_as_well(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = wat::parse_str(doubling(4)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        prop_assert_eq!(check_work(&bytes), check_work(&bytes));
    }
}
