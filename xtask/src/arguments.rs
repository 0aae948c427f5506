//! The command line: words and `--name value` options, in any order.

use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::str::FromStr;

/// What is left of the command line.
pub struct Arguments(VecDeque<String>);

impl Arguments {
    /// The process's own, without its name.
    pub fn from_process() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The next argument that is not an option. Options must be taken before.
    pub fn next_word(&mut self) -> Option<String> {
        if self.0.front()?.starts_with('-') && self.0.front()?.len() > 2 { None } else { self.0.pop_front() }
    }

    /// Whether help is asked for, anywhere.
    pub fn ask_for_help(&self) -> bool {
        self.0.iter().any(|word| word == "--help" || word == "-h")
    }

    /// Takes `--name value` or `--name=value` out, if it is there.
    pub fn option<T: FromStr>(&mut self, name: &str) -> Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let with_value = format!("{name}=");
        let Some(index) = self.0.iter().position(|word| word == name || word.starts_with(&with_value)) else {
            return Ok(None);
        };
        let word = self.0.remove(index).unwrap_or_default();
        let value = match word.strip_prefix(&with_value) {
            Some(value) => value.to_owned(),
            None => self.0.remove(index).with_context(|| format!("{name} needs a value"))?,
        };
        let parsed = value.parse().with_context(|| format!("{name} {value:?}"))?;
        Ok(Some(parsed))
    }

    /// The words that are left; options among them are errors.
    pub fn words(&mut self) -> Result<Vec<String>> {
        let words: Vec<String> = self.0.drain(..).collect();
        if let Some(option) = words.iter().find(|word| word.starts_with('-')) {
            bail!("there is no option {option:?}");
        }
        Ok(words)
    }

    /// Everything that is left, options too, for a program that this one starts.
    pub fn rest(&mut self) -> Vec<String> {
        self.0.drain(..).collect()
    }

    /// Fails if anything is left.
    pub fn finish(&mut self) -> Result<()> {
        match self.0.front() {
            Some(word) => bail!("{word:?} is one argument too many"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_are_found_anywhere() {
        for line in ["fuzz --seconds 9 wire log", "fuzz wire --seconds=9 log", "fuzz wire log --seconds 9"] {
            let mut arguments = arguments(line);
            assert_eq!(arguments.next_word().as_deref(), Some("fuzz"), "{line}");
            assert_eq!(arguments.option::<u64>("--seconds").unwrap(), Some(9), "{line}");
            assert_eq!(arguments.words().unwrap(), ["wire", "log"], "{line}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        arguments("--seconds many").option::<u64>("--seconds").unwrap_err();
        arguments("--seconds").option::<u64>("--seconds").unwrap_err();
        arguments("wire --minutes 3").words().unwrap_err();
        arguments("wire").finish().unwrap_err();
    }
}
