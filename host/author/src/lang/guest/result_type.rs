//! The result type of the exported function as JSON. With it, the guards of the SDKs check what the author's function returns: a runtime traps without a
//! message on a value of another type.
use serde_json::{Value, json};
use wit_parser::{Function, Resolve, Type, TypeDefKind};

/// The JSON of the type of a successful result; `null` for none. `field` gives a record's field its name in the language.
pub(super) fn of(resolve: &Resolve, function: &Function, field: fn(&str) -> String) -> Value {
    let types = Types { resolve, field };
    let Some(Type::Id(id)) = &function.result else {
        return Value::Null;
    };
    match resolve.types.get(*id).map(|found| &found.kind) {
        Some(TypeDefKind::Result(result)) => types.optional(result.ok.as_ref()),
        _ => types.of(&Type::Id(*id)),
    }
}

struct Types<'a> {
    resolve: &'a Resolve,
    field: fn(&str) -> String,
}

impl Types<'_> {
    fn optional(&self, ty: Option<&Type>) -> Value {
        ty.map_or(Value::Null, |ty| self.of(ty))
    }

    fn of(&self, ty: &Type) -> Value {
        let name = match ty {
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "s8",
            Type::S16 => "s16",
            Type::S32 => "s32",
            Type::S64 => "s64",
            Type::F32 | Type::F64 => "float",
            Type::Char | Type::String => "string",
            Type::ErrorContext => "any",
            Type::Id(id) => {
                return self.resolve.types.get(*id).map_or_else(
                    || json!("any"),
                    |found| self.kind(found.name.as_deref().unwrap_or_default(), &found.kind),
                );
            }
        };
        json!(name)
    }

    fn kind(&self, name: &str, kind: &TypeDefKind) -> Value {
        match kind {
            TypeDefKind::Type(ty) => self.of(ty),
            TypeDefKind::List(ty) => json!({ "list": self.of(ty) }),
            TypeDefKind::Option(ty) => json!({ "option": self.of(ty) }),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<Value> = tuple.types.iter().map(|ty| self.of(ty)).collect();
                json!({ "tuple": types })
            }
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                let fields: Vec<Value> = fields
                    .map(|it| json!([(self.field)(&it.name), self.of(&it.ty)]))
                    .collect();
                json!({ "record": fields, "name": name })
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases: Vec<Value> = cases
                    .map(|it| json!([it.name, self.optional(it.ty.as_ref())]))
                    .collect();
                json!({ "variant": cases, "name": name })
            }
            TypeDefKind::Enum(cases) => {
                let cases: Vec<&str> = cases.cases.iter().map(|it| it.name.as_str()).collect();
                json!({ "enum": cases, "name": name })
            }
            TypeDefKind::Resource | TypeDefKind::Handle(_) => json!({ "handle": true }),
            _ => json!("any"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_result_of_a_function_is_described_without_its_errors() {
        let mut resolve = Resolve::default();
        let text = "package a:b; interface i { enum level { low, high } record found { min-score: f32, level: level, next: option<string> }
            variant answer { none, some(found) } f: func() -> result<list<answer>, string>; }";
        let package = resolve.push_str("a.wit", text).unwrap();
        let interface = resolve.packages.get(package).unwrap().interfaces.get("i");
        let interface = resolve.interfaces.get(*interface.unwrap()).unwrap();
        let found = of(&resolve, interface.functions.get("f").unwrap(), |name| {
            name.replace('-', "_")
        });
        let level = json!({ "enum": ["low", "high"], "name": "level" });
        let record = json!({
            "record": [["min_score", "float"], ["level", level], ["next", { "option": "string" }]],
            "name": "found",
        });
        let answer = json!({ "variant": [["none", null], ["some", record]], "name": "answer" });
        assert_eq!(found, json!({ "list": answer }));
    }
}
