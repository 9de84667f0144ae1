//! The JSON schema of the configuration file, for editors, made from [`super::raw`].

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::{Map, Value};

use super::raw;
use super::resolve::built_in;
use crate::policy::rules::Keys;

/// The schema as text, with a line feed at its end: `config/schema.json`.
pub fn json() -> String {
    // Formatting a tree of plain values cannot fail.
    let text = serde_json::to_string_pretty(&generate()).unwrap_or_default();
    text + "\n"
}

/// The schema as a tree.
pub(super) fn generate() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<raw::File>();
    RecursiveTransform(absent_rather_than_null).transform(&mut schema);
    RecursiveTransform(tidy).transform(&mut schema);
    show_built_in(&mut schema);
    schema.to_value()
}

/// A key without a value counts as absent: nobody should be offered `null`.
fn absent_rather_than_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if choices.len() == 1
            && let Some(Value::Object(only)) = choices.pop()
        {
            object.remove("anyOf");
            inline(object, only);
        }
    }
}

/// What the outer schema says wins: it is about this very key.
fn inline(outer: &mut Map<String, Value>, inner: Map<String, Value>) {
    for (key, value) in inner {
        outer.entry(key).or_insert(value);
    }
}

/// Descriptions are wrapped in the source, and editors wrap them their own way. The default of a section is shown by
/// its keys.
fn tidy(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    if schema.get("default").and_then(Value::as_object).is_some_and(|keys| !keys.is_empty()) {
        schema.remove("default");
    }
}

/// Rule keys have no default in the file's own sense: what holds without them is built in.
fn show_built_in(schema: &mut Schema) {
    let built_in = Keys::of(&built_in(false));
    let values = serde_json::to_value(raw::Defaults::from(built_in)).unwrap_or_default();
    let Some(Value::Object(keys)) = schema.pointer_mut("/definitions/Defaults/properties") else { return };
    for (key, value) in values.as_object().into_iter().flatten() {
        if let Some(Value::Object(property)) = keys.get_mut(key) {
            property.insert("default".to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_schema_is_the_generated_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == json(), "out of date; regenerate: cargo run -- schema > config/schema.json");
    }

    #[test]
    fn nothing_may_be_null_and_every_key_is_described() {
        fn walk(name: &str, schema: &Value) {
            assert!(schema.get("type") != Some(&Value::from("null")), "{name}");
            for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                assert!(property.get("description").is_some(), "{name}.{key} has no description");
                assert_ne!(property.get("default"), Some(&Value::Null), "{name}.{key}");
                walk(key, property);
            }
            for child in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
                walk(name, child);
            }
        }
        let schema = generate();
        walk("root", &schema);
        for (name, definition) in schema["definitions"].as_object().unwrap() {
            walk(name, definition);
        }
    }

    #[test]
    fn rule_keys_show_what_is_built_in() {
        let schema = generate();
        let of = |key: &str| schema["definitions"]["Defaults"]["properties"][key]["default"].clone();
        assert_eq!(of("idle_timeout"), "15m");
        assert_eq!(of("manage"), true);
        assert_eq!(of("max_held"), 1000);
        assert!(schema["definitions"]["Rule"]["properties"]["idle_timeout"].get("default").is_none());
    }
}
