//! One value of the tree as serde's `Deserializer`: every scalar is read from its text, every refusal says what to
//! write.

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, Visitor};

use super::access::{Items, Pairs};
use super::fault::Fault;
use super::{State, join};
use crate::config::node::{Node, Value};

/// One value of the tree, for serde.
pub(super) struct Decoder<'d, 'a, 'p> {
    pub(super) node: &'a Node,
    pub(super) path: String,
    pub(super) state: &'d RefCell<State<'a, 'p>>,
}

impl<'a> Decoder<'_, 'a, '_> {
    pub(super) fn child(&self, node: &'a Node, path: String) -> Self {
        Self { node, path, state: self.state }
    }

    /// An error about this very value.
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::at(self.node.at, &self.path, message)
    }

    fn text(&self) -> Result<&'a str, Fault> {
        match &self.node.value {
            Value::Text(text) | Value::Bool(_, text) => Ok(text),
            Value::Map(entries) if entries.iter().all(|entry| matches!(entry.value.value, Value::Null)) => {
                let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
                let text = format!("{{{}}}", keys.join(", "));
                Err(self.fault(format!(
                    "{text} is a group of keys in YAML; write \"{text}\" in quotes for a text"
                )))
            }
            Value::Map(_) | Value::List(_) => {
                Err(self.fault(format!("this is {}; write a single value", self.node.describe())))
            }
            Value::Null => Err(self.fault("nothing stands here; write a value, or \"\" for an empty text")),
        }
    }

    fn list<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::List(items) = &self.node.value else {
            return Err(self.fault(format!("this is {}; write a list: [a, b]", self.node.describe())));
        };
        visitor.visit_seq(Items::new(&self, items)).map_err(|fault| fault.or_at(self.node.at, &self.path))
    }

    fn map<V: Visitor<'a>>(
        self,
        known: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Value::Map(entries) = &self.node.value else {
            let example = known.and_then(|keys| keys.first()).copied().unwrap_or("name");
            let found = self.node.describe();
            return Err(self.fault(format!("this is {found}; write keys, each on a line: {example}: …")));
        };
        let fault = match visitor.visit_map(Pairs::new(&self, entries, known)) {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        let follows =
            fault.missing.is_some_and(|key| self.state.borrow().spoiled.contains(&join(&self.path, key)));
        Err(Fault { missing: None, follows_from_another: fault.follows_from_another || follows, ..fault }
            .or_at(self.node.at, &self.path))
    }
}

impl<'a> Deserializer<'a> for Decoder<'_, 'a, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value, _) => visitor.visit_bool(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(_) => self.list(visitor),
            Value::Map(_) => self.map(None, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Bool(value, _) => visitor.visit_bool(*value),
            _ => Err(self.fault(format!("this is {}; write true or false", self.node.describe()))),
        }
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.text()?;
        visitor.visit_borrowed_str(text).map_err(|fault: Fault| fault.or_at(self.node.at, &self.path))
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.map(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.map(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let variant: StrDeserializer<'_, Fault> = StrDeserializer::new(self.text()?);
        visitor.visit_enum(variant).map_err(|fault| fault.or_at(self.node.at, &self.path))
    }

    serde::forward_to_deserialize_any! {
        <W: Visitor<'a>>
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}
