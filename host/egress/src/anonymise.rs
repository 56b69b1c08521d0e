//! An insight without the fields that its class drops, and with hashes for those that it hashes.

use hotshoe_engine::Insight;
use hotshoe_trust::{DataClass, FieldPath};
use serde_json::Value;

use crate::HashKeys;

/// The JSON of an insight as its class lets it leave. `None` if it has no JSON.
pub(crate) fn anonymised(insight: &Insight, class: &DataClass, keys: &HashKeys) -> Option<Value> {
    let mut value = serde_json::to_value(insight).ok()?;
    for path in &class.drop {
        visit(&mut value, path, &|_| false);
    }
    for path in &class.hash {
        visit(&mut value, path, &|field| {
            let hash = match &*field {
                Value::String(text) => keys.hash(text.as_bytes()),
                other => keys.hash(other.to_string().as_bytes()),
            };
            *field = Value::String(hash);
            true
        });
    }
    Some(value)
}

/// Calls `keep` with each field at a path, and removes those for which it is false.
fn visit(value: &mut Value, path: &FieldPath, keep: &dyn Fn(&mut Value) -> bool) {
    let parts: Vec<&str> = path.parts().collect();
    visit_parts(value, &parts, keep);
}

/// As deep as the path, which is bounded.
fn visit_parts(value: &mut Value, parts: &[&str], keep: &dyn Fn(&mut Value) -> bool) {
    let Some((name, rest)) = parts.split_first() else {
        return;
    };
    let is_last = rest.is_empty();
    match (value, *name) {
        (Value::Object(fields), "*") if is_last => fields.retain(|_, field| keep(field)),
        (Value::Object(fields), "*") => {
            for field in fields.values_mut() {
                visit_parts(field, rest, keep);
            }
        }
        (Value::Object(fields), name) => {
            let Some(field) = fields.get_mut(name) else {
                return;
            };
            if !is_last {
                visit_parts(field, rest, keep);
            } else if !keep(field) {
                fields.remove(name);
            }
        }
        (Value::Array(elements), "*") if is_last => elements.retain_mut(|it| keep(it)),
        (Value::Array(elements), "*") => {
            for element in elements {
                visit_parts(element, rest, keep);
            }
        }
        _ => {}
    }
}
