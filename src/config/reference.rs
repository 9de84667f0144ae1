//! The reference page of the configuration file, made from the JSON schema: `config/reference.md`.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema;

const HEAD: &str = "\
# Configuration reference

<!-- Generated from the program: cargo run -- schema --reference > config/reference.md -->

One YAML file. Whatever is left out has its default; an unknown key is refused. `drowse check --config FILE` says
whether a file is good. The file is watched: a good change applies without a restart (except where the table says
that it needs one), a bad one is refused and what held before goes on.

- **duration**: `500ms`, `30s`, `15m`, `1h 30m`, `7d`; whole milliseconds, at most a year.
- **size**: `64KiB`, `256MiB`, `1GiB`, or bytes as a bare number.
- **window**: `0 8 * * mon-fri for 10h Europe/Berlin`: when it opens, in five fields of cron (minute, hour, day of the
  month, month, day of the week; `*`, `1-5`, `*/15`, `1,15`, names such as `jan` and `mon`; where both kinds of day are asked
  for, either will do); how long it stays open, in elapsed time; and the time zone whose clock counts, by its name in
  the IANA database, or `UTC`. A time that the clock skips in spring comes as much later. Of a time that it shows twice in
  autumn the first counts, or both, if the hour begins with `*`. Quote what begins with a star or stands between brackets.
- **name with \\***: `*` stands for any run of characters. Quote what begins with a star.
";

/// The page as Markdown.
pub fn markdown() -> String {
    let schema = schema::generate();
    let page = Page { definitions: &schema["definitions"] };
    let mut text = HEAD.to_owned();
    // What was found but not yet written: a path, and the schema of what stands there.
    let mut sections = vec![(String::new(), &schema)];
    while let Some((path, section)) = sections.pop() {
        let below = page.section(&mut text, &path, section);
        sections.extend(below.into_iter().rev());
    }
    text
}

struct Page<'s> {
    definitions: &'s Value,
}

impl<'s> Page<'s> {
    /// Writes one section, and gives back those below it.
    fn section(&self, text: &mut String, path: &str, section: &'s Value) -> Vec<(String, &'s Value)> {
        let title = if path.is_empty() { "Top level" } else { path };
        let _ = write!(text, "\n## {title}\n\n");
        if let Some(description) = section.get("description").and_then(Value::as_str)
            && !path.is_empty()
        {
            let _ = write!(text, "{description}\n\n");
        }
        let mut below = Vec::new();
        text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        for (key, property) in self.rows(path, section) {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let kind = match self.group(property) {
                Some((group, suffix)) => {
                    let path = path + suffix;
                    let kind = if suffix.is_empty() { "group" } else { "list of groups" };
                    let link = format!("{kind}: [{path}](#{})", anchor(&path));
                    below.push((path, group));
                    link
                }
                None => self.kind(property),
            };
            let default = default(key, property, section);
            let _ = writeln!(text, "| `{key}` | {kind} | {default} | {} |", self.meaning(property));
        }
        if path == "rules[]" {
            text.push_str("\nAnd every key of [defaults](#defaults).\n");
        }
        below
    }

    /// The keys of a section. The rule keys stand once, in `defaults`.
    fn rows(&self, path: &str, section: &'s Value) -> Vec<(&'s String, &'s Value)> {
        let shared = if path == "rules[]" { properties(&self.definitions["Defaults"]) } else { None };
        let own = |key: &str| shared.is_none_or(|shared| !shared.contains_key(key));
        properties(section).into_iter().flatten().filter(|(key, _)| own(key)).collect()
    }

    /// What a `$ref`, alone or the only part of `allOf`, stands for.
    fn target(&self, schema: &'s Value) -> &'s Value {
        let only = schema.get("allOf").and_then(|all| all.get(0)).unwrap_or(schema);
        let name = only.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
        name.and_then(|name| self.definitions.get(name)).unwrap_or(schema)
    }

    /// A group of keys, or the groups in a list.
    fn group(&self, property: &'s Value) -> Option<(&'s Value, &'static str)> {
        let target = self.target(property);
        if properties(target).is_some() {
            return Some((target, ""));
        }
        let item = self.target(target.get("items")?);
        properties(item).map(|_| (item, "[]"))
    }

    fn kind(&self, property: &'s Value) -> String {
        let target = self.target(property);
        if let Some(title) = target.get("title").and_then(Value::as_str) {
            return title.replace('*', "\\*");
        }
        if let Some(choices) = choices(target) {
            return choices.map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        }
        match target.get("type").and_then(Value::as_str) {
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("array") => {
                format!("list of {}", target.get("items").map_or(String::new(), |item| self.kind(item)))
            }
            Some("object") => "texts by name".to_owned(),
            _ => "text".to_owned(),
        }
    }

    fn meaning(&self, property: &'s Value) -> String {
        let own = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let target = self.target(property);
        let listed = target.get("items").map_or(target, |item| self.target(item));
        let words = choices(listed).into_iter().flatten();
        words.fold(own.replace('|', "\\|"), |text, (word, what)| text + &format!("<br>`{word}`: {what}"))
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The words of an enumeration and what each means.
fn choices(schema: &Value) -> Option<impl Iterator<Item = (&str, &str)>> {
    let text = |choice, key| Value::get(choice, key).and_then(Value::as_str);
    let words = schema.get("oneOf")?.as_array()?.iter();
    Some(words.filter_map(move |word| Some((text(word, "const")?, text(word, "description")?))))
}

fn default(key: &str, property: &Value, section: &Value) -> String {
    let required = section.get("required").and_then(Value::as_array);
    match property.get("default") {
        _ if required.is_some_and(|names| names.iter().any(|name| name == key)) => "required".to_owned(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            format!("`[{}]`", items.join(", "))
        }
        Some(value) => format!("`{value}`"),
        None => String::new(),
    }
}

/// As GitHub makes anchors of headings.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_reference_is_the_generated_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/reference.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == markdown(),
            "out of date; regenerate: cargo run -- schema --reference > config/reference.md"
        );
    }

    #[test]
    fn the_commented_file_has_every_key_of_the_reference() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/drowse.yaml");
        let file = std::fs::read_to_string(path).unwrap();
        let page = markdown();
        let keys: Vec<_> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert!(keys.len() > 50, "{keys:?}");
        for key in keys {
            assert!(file.contains(&format!("{key}:")), "config/drowse.yaml does not show {key}");
        }
    }

    #[test]
    fn every_link_leads_to_a_heading() {
        let page = markdown();
        let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        for link in page.split("](#").skip(1) {
            let link = link.split(')').next().unwrap();
            assert!(headings.iter().any(|heading| heading == link), "{link}");
        }
    }
}
