//! Reading values out of the tree, and what is said about those that are wrong.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::*;
use crate::config::node;
use crate::units::{Count, Port};

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Shape {
    name: String,
    count: Option<Count>,
    flag: bool,
    colour: Colour,
    list: Vec<String>,
    map: BTreeMap<String, String>,
    items: Vec<Item>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Colour {
    #[default]
    Red,
    DarkGreen,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    port: Port,
    #[serde(default)]
    note: String,
}

/// What was read, and each problem as `line:column key: message`.
fn read(text: &str) -> (Option<Shape>, Vec<String>) {
    let root = node::parse(text).unwrap();
    let mut problems = Problems::new(text);
    let shape = Document::new(&root, &mut problems).decode();
    let error = problems.into_error(Path::new("x"));
    let print =
        |p: &crate::config::Problem| format!("{}:{} {}: {}", p.at.line, p.at.column, p.key, p.message);
    (shape, error.problems().iter().map(print).collect())
}

#[test]
fn a_good_file_is_read_and_scalars_keep_their_text_where_text_is_wanted() {
    let text = "name: 1.10\ncount: 7\nflag: on\ncolour: dark_green\nlist: [no, 007, ~x]\nmap: {a: 1e3, b: 0x1F}\nitems:\n- port: 80\n";
    let (shape, problems) = read(text);
    assert_eq!(problems, Vec::<String>::new());
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(
        shape.unwrap(),
        Shape {
            name: "1.10".into(),
            count: Some(Count::at_least_one(7)),
            flag: true,
            colour: Colour::DarkGreen,
            list: ["no", "007", "~x"].map(str::to_owned).to_vec(),
            map: BTreeMap::from([pair("a", "1e3"), pair("b", "0x1F")]),
            items: vec![Item { port: Port::new(80).unwrap(), note: String::new() }],
        }
    );
}

#[test]
fn a_key_without_a_value_counts_as_absent() {
    assert_eq!(read("name:\nitems:\ncount: ~\n"), (Some(Shape::default()), Vec::new()));
}

#[test]
fn every_mistake_is_reported_at_once_and_the_rest_is_read() {
    let text = "name: [a]\ncount: 0\nflag: maybe\ncolour: red\nnmae: x\nlist: {a: b}\nname: twice\nitems:\n  - port: 99999\n  - prot: 1\n    port: 81\n  - note: no port\n  - 5\n";
    let (shape, problems) = read(text);
    assert_eq!(
        problems,
        [
            "1:7 name: this is a list; write a single value",
            "2:8 count: \"0\" does not fit; write a whole number from 1 to 4294967295",
            "3:7 flag: this is \"maybe\"; write true or false",
            "5:1 : the key \"nmae\" is not known; write name",
            "6:7 list: this is a group of keys; write a list: [a, b]",
            "7:1 name: name stands here a second time; write it once (line 1)",
            "9:11 items[0].port: \"99999\" is not a port; write a whole number from 1 to 65535",
            "10:5 items[1]: the key \"prot\" is not known; write port",
            "12:5 items[2]: the key port is missing; write port: … here",
            "13:5 items[3]: this is \"5\"; write keys, each on a line: port: …",
        ]
    );
    assert_eq!(shape.unwrap().items, [Item { port: Port::new(81).unwrap(), note: String::new() }]);
}

#[test]
fn unknown_words_are_answered_with_the_known_ones() {
    assert_eq!(read("colour: dark_gren\n").1, ["1:9 colour: \"dark_gren\" is not known; write dark_green"]);
    assert_eq!(read("colour: blue\n").1, ["1:9 colour: \"blue\" is not known; write one of red, dark_green"]);
}

#[test]
fn a_misspelt_key_is_not_missing_besides() {
    assert_eq!(read("items:\n- prot: 1\n").1, ["2:3 items[0]: the key \"prot\" is not known; write port"]);
}

#[test]
fn braces_that_yaml_takes_for_keys_are_explained() {
    assert_eq!(
        read("list: [--port, {port}]\n").1,
        ["1:16 list[1]: {port} is a group of keys in YAML; write \"{port}\" in quotes for a text"]
    );
}

#[test]
fn a_file_that_is_no_group_of_keys_cannot_be_used() {
    let (shape, problems) = read("hello\n");
    assert_eq!(shape, None);
    assert_eq!(problems, ["1:1 : this is \"hello\"; write keys, each on a line: name: …"]);
}

#[test]
fn a_flood_of_mistakes_ends() {
    let text = format!("items:\n{}", "- port: 0\n".repeat(500));
    assert_eq!(read(&text).1.len(), Problems::MOST);
}

#[test]
fn places_are_found_past_items_that_were_left_out() {
    let text = "items:\n- port: 0\n- port: 7\n";
    let root = node::parse(text).unwrap();
    let mut problems = Problems::new(text);
    let document = Document::new(&root, &mut problems);
    let shape: Shape = document.decode().unwrap();
    assert_eq!(shape.items.len(), 1);
    let port = [Step::Key("items"), Step::Index(0), Step::Key("port")];
    assert_eq!(document.line(&port), Some(3));
    document.report(&port, "seven; write eight");
    let error = problems.into_error(Path::new("x"));
    assert_eq!(error.problems()[1].key, "items[1].port");
}
