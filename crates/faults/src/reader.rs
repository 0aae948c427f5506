//! Sections and values of a TOML file, each of which knows the line that it stands in.

use crate::ScenarioError;
use crate::text::{nearest, parse_duration, parse_signed};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

type Result<T> = std::result::Result<T, ScenarioError>;
type Entry<'a> = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

/// So many names are told even if one of them was probably meant.
const FEW: usize = 6;

/// A file that is being read.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Its path, as it was named.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl Source<'_> {
    /// An error about the byte at a position.
    pub fn error(&self, at: usize, message: impl Into<String>) -> ScenarioError {
        let line = self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        ScenarioError { path: self.path.to_owned(), line, message: message.into(), suggestion: None }
    }

    /// An error about a name that is not known.
    pub fn unknown<'k>(
        &self,
        at: usize,
        message: impl Into<String>,
        given: &str,
        known: impl Iterator<Item = &'k str>,
    ) -> ScenarioError {
        let suggestion = nearest(given, known).map(|name| format!("{name:?}"));
        ScenarioError { suggestion, ..self.error(at, message) }
    }
}

/// A table of a file. It notes what it is asked for, and refuses what it was not.
pub struct Section<'a> {
    source: Source<'a>,
    /// As it is told: "[faults]".
    title: String,
    at: usize,
    table: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole of a file.
    pub fn root(source: Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self { source, title: "a scenario file".to_owned(), at: 0, table, asked: RefCell::default() }
    }

    fn find(&self, key: &str) -> Option<Entry<'a>> {
        self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key)
    }

    /// A value, if it is there.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(key);
        self.find(key).map(|(_, value)| Value::new(self.source, key, value))
    }

    /// A value that must be there.
    pub fn require(&self, key: &'static str) -> Result<Value<'a>> {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        // A misspelt key is the likelier reason.
        let misspelt = self.table.keys().find(|name| nearest(name.get_ref(), [key].into_iter()).is_some());
        match misspelt {
            Some(name) => Err(self.unknown_key(name)),
            None => Err(self.error(format!("{} needs `{key}`", self.title))),
        }
    }

    /// An error about the section.
    pub fn error(&self, message: impl Into<String>) -> ScenarioError {
        self.source.error(self.at, message)
    }

    /// A table within this one, if it is there.
    pub fn section(&self, key: &'static str, title: &str) -> Result<Option<Self>> {
        self.get(key).map(|value| value.section(title)).transpose()
    }

    /// The tables of an array; none if it is not there.
    pub fn sections(&self, key: &'static str, title: &str) -> Result<Vec<Self>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        value.list()?.into_iter().map(|item| item.section(title)).collect()
    }

    /// All values, whatever they are called.
    pub fn entries(&self) -> Vec<(String, Value<'a>)> {
        let value = |(name, value): Entry<'a>| {
            (name.get_ref().to_string(), Value::new(self.source, name.get_ref(), value))
        };
        self.table.iter().map(value).collect()
    }

    fn unknown_key(&self, name: &Spanned<std::borrow::Cow<'_, str>>) -> ScenarioError {
        let asked = self.asked.borrow();
        let message = format!("{} has no key `{}`", self.title, name.get_ref());
        self.source.unknown(name.span().start, message, name.get_ref(), asked.iter().copied())
    }

    /// Ends the reading: what was not asked for is unknown.
    pub fn done(self) -> Result<()> {
        let is_unknown = |name: &&Spanned<_>| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            !self.asked.borrow().contains(&name.as_ref())
        };
        let mut unknown: Vec<_> = self.table.keys().filter(is_unknown).collect();
        unknown.sort_by_key(|name| name.span().start);
        unknown.first().map_or(Ok(()), |name| Err(self.unknown_key(name)))
    }
}

/// A value of a file.
#[derive(Clone)]
pub struct Value<'a> {
    /// The file.
    pub source: Source<'a>,
    /// Where the value begins.
    pub at: usize,
    key: String,
    value: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    fn new(source: Source<'a>, key: &str, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { source, at: value.span().start, key: key.to_owned(), value: value.get_ref() }
    }

    /// An error about the value.
    pub fn error(&self, message: impl Into<String>) -> ScenarioError {
        self.source.error(self.at, message)
    }

    fn wrong(&self, wanted: &str) -> ScenarioError {
        let found = match self.value {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            other => format!("a {}", other.type_str()),
        };
        self.error(format!("`{}` is {wanted}, not {found}", self.key))
    }

    fn section(&self, title: &str) -> Result<Section<'a>> {
        let table = self.value.as_table().ok_or_else(|| self.wrong("a table"))?;
        let (source, at) = (self.source, self.at);
        Ok(Section { source, title: title.to_owned(), at, table, asked: RefCell::default() })
    }

    /// The items of a list.
    pub fn list(&self) -> Result<Vec<Self>> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        Ok(items.iter().map(|item| Self::new(self.source, &self.key, item)).collect())
    }

    /// A string.
    pub fn text(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    /// A truth value.
    pub fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A whole number within bounds.
    pub fn integer<T: TryFrom<i64> + PartialOrd + Display>(&self, bounds: RangeInclusive<T>) -> Result<T> {
        let wanted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let number = self.value.as_integer();
        let number = number.and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.and_then(|number| T::try_from(number).ok());
        number.filter(|number| bounds.contains(number)).ok_or_else(|| self.wrong(&wanted))
    }

    /// A share, from 0 to 1.
    pub fn share(&self) -> Result<f64> {
        let text = match self.value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) => number.as_str(),
            _ => return Err(self.wrong("a number from 0 to 1")),
        };
        let share = f64::from_str(text).ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| self.wrong("a number from 0 to 1"))
    }

    /// A length of time within bounds.
    pub fn duration(&self, bounds: RangeInclusive<Duration>) -> Result<Duration> {
        let duration = self.value.as_str().and_then(parse_duration);
        let duration = duration.ok_or_else(|| self.wrong("a length of time such as \"20s\" or \"300ms\""))?;
        if bounds.contains(&duration) {
            return Ok(duration);
        }
        Err(self.wrong(&format!("a length of time from {:?} to {:?}", bounds.start(), bounds.end())))
    }

    /// A length of time that may be negative, in milliseconds.
    pub fn signed_ms(&self) -> Result<i64> {
        let nanoseconds = self.value.as_str().and_then(parse_signed);
        let nanoseconds = nanoseconds.ok_or_else(|| self.wrong("a length of time such as \"-20s\""))?;
        Ok(nanoseconds / 1_000_000)
    }

    /// One of some words.
    pub fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Result<T> {
        let given = self.text()?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == given) {
            return Ok(choice.clone());
        }
        let names = choices.iter().map(|(name, _)| *name);
        // A long list is of no more use once what was meant is clear.
        let message = if choices.len() > FEW && nearest(given, names.clone()).is_some() {
            format!("`{}` is never {given:?}", self.key)
        } else {
            let all: Vec<String> = names.clone().map(|name| format!("{name:?}")).collect();
            format!("`{}` is one of {}, not {given:?}", self.key, all.join(", "))
        };
        Err(self.source.unknown(self.at, message, given, names))
    }

    /// A string, number or truth value as text, as configurations have them.
    pub fn plain(&self) -> Result<String> {
        match self.value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.as_str().to_owned()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            _ => Err(self.wrong("a string or number")),
        }
    }
}
