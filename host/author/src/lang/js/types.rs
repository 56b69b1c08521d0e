//! Generates TypeScript types of the host's interfaces from the WIT files, for editors and the type checker: `declare module "hotshoe/vision"`.
use crate::BuildError;
use crate::lang::guest::{self, Guest, Interface};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner,
};

/// What the file is called.
const FILE: &str = "host.d.ts";
const HEAD: &str = "// Made by `hotshoe build` of the WIT files: what the host has. A function that fails throws; `codeOf(error)` of hotshoe tells why.\n";

/// Writes the types of all interfaces into a folder.
pub(super) fn write(guest: &Guest, folder: &Path) -> Result<(), BuildError> {
    let text = text(guest);
    guest::write_changed(&folder.join(FILE), text.as_bytes())?;
    Ok(())
}

/// The module name of an interface in JavaScript: `hotshoe/vision`, `wasi:nn/graph`.
pub(super) fn module(interface: &Interface) -> String {
    match interface.package.as_str() {
        "hotshoe:pipeline" => format!("hotshoe/{}", interface.name),
        // It has a temporary name during the build.
        package if package.ends_with(":nn") => format!("wasi:nn/{}", interface.name),
        package => format!("{package}/{}", interface.name),
    }
}

/// The JavaScript form of `min-score`: `minScore`.
pub(super) fn camel(name: &str) -> String {
    let pascal = pascal(name);
    let mut letters = pascal.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn pascal(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

fn text(guest: &Guest) -> String {
    let modules = guest
        .interfaces
        .iter()
        .map(|it| (it.found, module(it)))
        .collect();
    let mut text = HEAD.to_owned();
    for interface in &guest.interfaces {
        let mut writer = Writer {
            resolve: &guest.resolve,
            modules: &modules,
            own: interface.found,
            imports: BTreeSet::new(),
            functions: BTreeMap::new(),
        };
        if let Some(body) = writer.interface() {
            // Writing to a String does not fail.
            let _ = write!(text, "\ndeclare module \"{}\" {{\n", module(interface));
            for import in &writer.imports {
                let _ = writeln!(text, "  {import}");
            }
            text.push_str(&body);
            text.push_str("}\n");
        }
    }
    text
}

struct Writer<'a> {
    resolve: &'a Resolve,
    modules: &'a BTreeMap<InterfaceId, String>,
    own: InterfaceId,
    /// `import type` lines.
    imports: BTreeSet<String>,
    /// Members of resources.
    functions: BTreeMap<TypeId, Vec<String>>,
}

impl Writer<'_> {
    fn interface(&mut self) -> Option<String> {
        let interface = self.resolve.interfaces.get(self.own)?;
        let mut body = String::new();
        let mut free = String::new();
        for function in interface.functions.values() {
            let docs = docs(function.docs.contents.as_deref(), "  ");
            match function.kind.resource() {
                Some(resource) => {
                    let member = format!(
                        "{}    {}\n",
                        docs.replace("  /", "    /").replace("\n   *", "\n     *"),
                        self.member(function)
                    );
                    self.functions.entry(resource).or_default().push(member);
                }
                None => {
                    let name = camel(&function.name);
                    let signature = self.signature(
                        function,
                        &function
                            .params
                            .iter()
                            .map(|it| (it.name.as_str(), it.ty))
                            .collect::<Vec<_>>(),
                    );
                    free.push_str(&docs);
                    if is_reserved(&name) {
                        free.push_str(&format!(
                            "  function {name}_{signature};\n  export {{ {name}_ as {name} }};\n"
                        ));
                    } else {
                        free.push_str(&format!("  export function {name}{signature};\n"));
                    }
                }
            }
        }
        for (name, id) in &interface.types {
            let found = self.resolve.types.get(*id)?;
            let definition = self.definition(name, *id);
            body.push_str(&docs(found.docs.contents.as_deref(), "  "));
            body.push_str(&definition);
        }
        Some(body + &free)
    }

    fn member(&mut self, function: &Function) -> String {
        let mut parameters: Vec<(&str, Type)> = function
            .params
            .iter()
            .map(|it| (it.name.as_str(), it.ty))
            .collect();
        let name = camel(function.item_name());
        match function.kind {
            FunctionKind::Constructor(_) => {
                let list = self.parameters(&parameters);
                format!("constructor({list});")
            }
            FunctionKind::Static(_) | FunctionKind::AsyncStatic(_) => {
                format!("static {name}{};", self.signature(function, &parameters))
            }
            _ => {
                parameters.drain(..1.min(parameters.len()));
                format!("{name}{};", self.signature(function, &parameters))
            }
        }
    }

    fn parameters(&mut self, parameters: &[(&str, Type)]) -> String {
        let list: Vec<String> = parameters
            .iter()
            .map(|(name, ty)| {
                let name = camel(name);
                let name = if is_reserved(&name) {
                    format!("{name}_")
                } else {
                    name
                };
                format!("{name}: {}", self.ty(ty))
            })
            .collect();
        list.join(", ")
    }

    /// The parameters and the result. Errors are thrown, so the result is that of success.
    fn signature(&mut self, function: &Function, parameters: &[(&str, Type)]) -> String {
        let list = self.parameters(parameters);
        let result = match &function.result {
            None => "void".to_owned(),
            Some(Type::Id(id)) => match self.resolve.types.get(*id).map(|it| &it.kind) {
                Some(TypeDefKind::Result(result)) => self.optional(result.ok.as_ref()),
                _ => self.ty(&Type::Id(*id)),
            },
            Some(ty) => self.ty(ty),
        };
        format!("({list}): {result}")
    }

    fn optional(&mut self, ty: Option<&Type>) -> String {
        ty.map_or_else(|| "void".to_owned(), |ty| self.ty(ty))
    }

    fn definition(&mut self, name: &str, id: TypeId) -> String {
        let Some(found) = self.resolve.types.get(id) else {
            return String::new();
        };
        let name = pascal(name);
        match &found.kind {
            TypeDefKind::Record(record) => {
                let mut text = format!("  export interface {name} {{\n");
                for field in &record.fields {
                    text.push_str(&docs(field.docs.contents.as_deref(), "    "));
                    let mark = if self.is_option(&field.ty) { "?" } else { "" };
                    text.push_str(&format!(
                        "    {}{mark}: {};\n",
                        camel(&field.name),
                        self.ty(&field.ty)
                    ));
                }
                text + "  }\n"
            }
            TypeDefKind::Flags(flags) => {
                let fields: Vec<String> = flags
                    .flags
                    .iter()
                    .map(|it| format!("{}?: boolean", camel(&it.name)))
                    .collect();
                format!("  export interface {name} {{ {} }}\n", fields.join("; "))
            }
            TypeDefKind::Variant(variant) => {
                let mut text = format!("  export type {name} =");
                for case in &variant.cases {
                    let value = case.ty.as_ref().map(|ty| format!("; val: {}", self.ty(ty)));
                    text.push_str(&format!(
                        "\n    | {{ tag: \"{}\"{} }}",
                        case.name,
                        value.unwrap_or_default()
                    ));
                }
                text + ";\n"
            }
            TypeDefKind::Enum(cases) => {
                let cases: Vec<String> = cases
                    .cases
                    .iter()
                    .map(|case| format!("\"{}\"", case.name))
                    .collect();
                format!("  export type {name} = {};\n", cases.join(" | "))
            }
            TypeDefKind::Resource => self.class(&name, id),
            // `use types.{error}`: a name of another interface's type.
            TypeDefKind::Type(Type::Id(other)) if self.is_elsewhere(*other) => {
                let imported = self.ty(&Type::Id(*other));
                format!("  export type {{ {imported} }};\n")
            }
            other => format!("  export type {name} = {};\n", self.structure(other)),
        }
    }

    fn class(&mut self, name: &str, id: TypeId) -> String {
        let members = self.functions.remove(&id).unwrap_or_default();
        let mut text = format!("  export class {name} {{\n");
        if !members
            .iter()
            .any(|member| member.contains(" constructor("))
        {
            text.push_str("    private constructor();\n");
        }
        text.extend(members);
        text + "    /** Gives the handle back at once: `using x = ...` does so at the end of its block. */\n    [Symbol.dispose](): void;\n  }\n"
    }

    fn is_elsewhere(&self, id: TypeId) -> bool {
        let owner = self.resolve.types.get(id).map(|found| found.owner);
        matches!(owner, Some(TypeOwner::Interface(owner)) if owner != self.own)
    }

    fn is_option(&self, ty: &Type) -> bool {
        let Type::Id(id) = ty else { return false };
        matches!(
            self.resolve.types.get(*id).map(|it| &it.kind),
            Some(TypeDefKind::Option(_))
        )
    }

    fn ty(&mut self, ty: &Type) -> String {
        match ty {
            Type::Bool => "boolean".to_owned(),
            Type::Char | Type::String => "string".to_owned(),
            Type::Id(id) => self.named(*id),
            // 64-bit integers are numbers too; beyond 2^53 they are not exact.
            _ => "number".to_owned(),
        }
    }

    fn named(&mut self, id: TypeId) -> String {
        let Some(found) = self.resolve.types.get(id) else {
            return "unknown".to_owned();
        };
        let Some(name) = &found.name else {
            return self.structure(&found.kind);
        };
        let name = pascal(name);
        if let TypeOwner::Interface(owner) = found.owner
            && owner != self.own
            && let Some(module) = self.modules.get(&owner)
        {
            self.imports
                .insert(format!("import type {{ {name} }} from \"{module}\";"));
        }
        name
    }

    fn structure(&mut self, kind: &TypeDefKind) -> String {
        match kind {
            TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
            TypeDefKind::List(ty) | TypeDefKind::FixedLengthList(ty, _) => {
                let element = self.ty(ty);
                if element.contains(' ') {
                    format!("({element})[]")
                } else {
                    format!("{element}[]")
                }
            }
            TypeDefKind::Option(ty) => format!("{} | null", self.ty(ty)),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<String> = tuple.types.iter().map(|ty| self.ty(ty)).collect();
                format!("[{}]", types.join(", "))
            }
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => self.named(*id),
            TypeDefKind::Result(result) => {
                let (ok, err) = (
                    self.optional(result.ok.as_ref()),
                    self.optional(result.err.as_ref()),
                );
                format!("{{ tag: \"ok\"; val: {ok} }} | {{ tag: \"err\"; val: {err} }}")
            }
            TypeDefKind::Map(key, value) => format!("Map<{}, {}>", self.ty(key), self.ty(value)),
            TypeDefKind::Type(ty) => self.ty(ty),
            _ => "unknown".to_owned(),
        }
    }
}

/// Reserved words, which cannot name functions or parameters.
fn is_reserved(name: &str) -> bool {
    ["delete", "in", "new", "default", "function", "this", "with"].contains(&name)
}

fn docs(text: Option<&str>, indent: &str) -> String {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return String::new();
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    match lines.as_slice() {
        [line] => format!("{indent}/** {line} */\n"),
        lines => {
            let inner: String = lines
                .iter()
                .map(|line| format!("{indent} * {line}\n"))
                .collect();
            format!("{indent}/**\n{inner}{indent} */\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_javascript_has_them() {
        assert_eq!(camel("from-f32"), "fromF32");
        assert_eq!(camel("decode"), "decode");
        assert_eq!(pascal("named-tensor"), "NamedTensor");
    }
}
