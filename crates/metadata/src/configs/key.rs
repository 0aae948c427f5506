//! What is known of one configuration name.

/// The longest value. Long ones are lists of replicas.
const MAX_VALUE_BYTES: usize = 128 << 10;

/// The type of a value, as DescribeConfigs tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// Floating-point number.
    Double,
    /// Texts separated by commas.
    List,
}

impl ValueType {
    /// Kafka's number for the type.
    pub const fn number(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }
}

/// Which values of the type are taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// All.
    Any,
    /// Numbers from the first to the second, both included.
    Within(i64, i64),
    /// Fractions from 0 to 1, both included.
    Fraction,
    /// One of these words; for a list, one or more of them.
    Words(&'static [&'static str]),
    /// Only these values, because what the others ask for is not built; the text says so.
    Only(&'static [&'static str], &'static str),
    /// `*`, nothing, or pairs `partition:broker`.
    ThrottledReplicas,
}

impl Rule {
    /// Numbers from this one on.
    pub const fn at_least(least: i64) -> Self {
        Self::Within(least, i64::MAX)
    }
}

/// When a new value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// At once, without a restart.
    Dynamic,
    /// It is read when the broker starts, from its own configuration.
    ReadOnly,
    /// It is told, and has a name of its own, this one, where the broker is configured.
    Elsewhere(&'static str),
}

/// Whether a value changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does.
    Acts,
    /// It is taken so that tools made for Kafka work, and changes nothing; the text says why.
    Inert(&'static str),
}

/// A broker configuration that sets a topic configuration's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker configuration.
    pub name: &'static str,
    /// What its value is multiplied with: 1, or the milliseconds of its unit.
    pub factor: i64,
}

/// One configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// The type of its values.
    pub value_type: ValueType,
    /// The value without any setting; none: unset, or computed as the documentation says.
    pub default: Option<&'static str>,
    /// Which values are taken.
    pub rule: Rule,
    /// The broker configurations that set the default, the first one foremost. Topic configurations alone have them.
    pub synonyms: &'static [Synonym],
    /// When a new value takes effect.
    pub update: Update,
    /// Whether a value changes anything.
    pub effect: Effect,
    /// What it is for.
    pub doc: &'static str,
}

impl Key {
    /// A dynamic configuration that takes any value of its type and has a default.
    pub(super) const fn new(name: &'static str, value_type: ValueType, default: &'static str) -> Self {
        let (rule, update, effect) = (Rule::Any, Update::Dynamic, Effect::Acts);
        Self { name, value_type, default: Some(default), rule, synonyms: &[], update, effect, doc: "" }
    }

    pub(super) const fn unset(mut self) -> Self {
        self.default = None;
        self
    }

    pub(super) const fn rule(mut self, rule: Rule) -> Self {
        self.rule = rule;
        self
    }

    pub(super) const fn synonyms(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }

    pub(super) const fn read_only(mut self) -> Self {
        self.update = Update::ReadOnly;
        self
    }

    pub(super) const fn inert(mut self, why: &'static str) -> Self {
        self.effect = Effect::Inert(why);
        self
    }

    pub(super) const fn elsewhere(mut self, name: &'static str) -> Self {
        self.update = Update::Elsewhere(name);
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// What it is for, and whether it changes anything.
    pub fn documentation(&self) -> String {
        match self.effect {
            Effect::Acts => self.doc.to_owned(),
            Effect::Inert(why) => format!("{} Accepted without effect: {why}", self.doc),
        }
    }

    /// Whether the value is one that this configuration takes; the error says what it takes.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(format!(
                "a value of {} has {} bytes, and {MAX_VALUE_BYTES} are allowed",
                self.name,
                value.len()
            ));
        }
        let ok = match self.value_type {
            ValueType::Boolean => parse_bool(value).is_some(),
            ValueType::String => true,
            ValueType::Int => parse_long(value).is_some_and(|number| i32::try_from(number).is_ok()),
            ValueType::Long => parse_long(value).is_some(),
            ValueType::Double => parse_double(value).is_some(),
            ValueType::List => true,
        };
        if !ok || !self.rule_takes(value) {
            let shown: String = value.chars().take(100).collect();
            return Err(format!("{shown:?} is not a value of {}: {}", self.name, self.expected()));
        }
        Ok(())
    }

    fn rule_takes(&self, value: &str) -> bool {
        let is_list = self.value_type == ValueType::List;
        match self.rule {
            Rule::Any => true,
            Rule::Within(least, most) => {
                parse_long(value).is_some_and(|number| (least..=most).contains(&number))
            }
            Rule::Fraction => parse_double(value).is_some_and(|number| (0.0..=1.0).contains(&number)),
            Rule::Words(words) if is_list => {
                let parts = parse_list(value);
                !parts.is_empty() && parts.iter().all(|part| words.contains(part))
            }
            Rule::Words(words) => words.contains(&value.trim()),
            Rule::Only(values, _) => values.iter().any(|allowed| allowed.eq_ignore_ascii_case(value.trim())),
            Rule::ThrottledReplicas => {
                let parts = parse_list(value);
                let pair = |part: &&str| {
                    part.split_once(':').is_some_and(|(partition, broker)| {
                        [partition, broker].iter().all(|id| id.parse::<u32>().is_ok())
                    })
                };
                parts == ["*"] || parts.iter().all(pair)
            }
        }
    }

    fn expected(&self) -> String {
        let (word, least, most) = match self.value_type {
            ValueType::Boolean => return format!("true or false is expected{}", self.only()),
            ValueType::String => ("a text", 0, 0),
            ValueType::Int => ("a whole number", i64::from(i32::MIN), i64::from(i32::MAX)),
            ValueType::Long => ("a whole number", i64::MIN, i64::MAX),
            ValueType::Double => ("a number", 0, 0),
            ValueType::List => ("a list with commas between its parts", 0, 0),
        };
        match self.rule {
            Rule::Any if least < most => format!("{word} from {least} to {most} is expected"),
            Rule::Any => format!("{word} is expected"),
            Rule::Within(from, to) => {
                format!("{word} from {} to {} is expected", from.max(least), to.min(most))
            }
            Rule::Fraction => "a number from 0 to 1 is expected".to_owned(),
            Rule::Words(words) if self.value_type == ValueType::List => {
                format!("one or more of {} are expected, with commas between", words.join(", "))
            }
            Rule::Words(words) => format!("one of {} is expected", words.join(", ")),
            Rule::Only(..) => format!("{word} is expected{}", self.only()),
            Rule::ThrottledReplicas => "\"*\" or a list of partition:broker pairs is expected".to_owned(),
        }
    }

    fn only(&self) -> String {
        match self.rule {
            Rule::Only(values, why) => format!(", and only {} is accepted, because {why}", values.join(", ")),
            _ => String::new(),
        }
    }
}

pub(super) fn parse_bool(value: &str) -> Option<bool> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

pub(super) fn parse_long(value: &str) -> Option<i64> {
    value.trim().parse().ok()
}

pub(super) fn parse_double(value: &str) -> Option<f64> {
    value.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The parts of a list, trimmed; empty parts are left out.
pub(crate) fn parse_list(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Rule = Rule::Words(&["delete", "compact"]);

    fn check(value_type: ValueType, rule: Rule, good: &[&str], bad: &[&str]) {
        let key = Key::new("some.key", value_type, "").rule(rule);
        for value in good {
            assert_eq!(key.check(value), Ok(()), "{value:?}");
        }
        for value in bad {
            let problem = key.check(value).expect_err(value);
            assert!(problem.contains("some.key") && problem.contains("expected"), "{problem}");
        }
    }

    #[test]
    fn values_are_checked_by_type_and_rule() {
        check(ValueType::Boolean, Rule::Any, &["true", "FALSE", " true "], &["", "1", "yes"]);
        check(ValueType::Int, Rule::Any, &["0", "-1", " 7 ", "2147483647"], &["", "2147483648", "1.0", "x"]);
        check(
            ValueType::Long,
            Rule::at_least(-1),
            &["-1", "9223372036854775807"],
            &["-2", "9223372036854775808"],
        );
        check(ValueType::Double, Rule::Fraction, &["0", "0.5", "1"], &["1.01", "-0.1", "NaN", "inf", "x"]);
        check(ValueType::List, WORDS, &["delete", "compact, delete"], &["", ",", "delete,other", "Delete"]);
        check(ValueType::String, WORDS, &["delete", " compact "], &["", "delete,compact"]);
        check(ValueType::Boolean, Rule::Only(&["false"], "it is so"), &["false", "False"], &["true"]);
        check(
            ValueType::List,
            Rule::ThrottledReplicas,
            &["", "*", "0:1,12:3"],
            &["0", "a:b", "0:1,*", "-1:2", "0:1:2"],
        );
    }

    #[test]
    fn values_have_a_bound() {
        let key = Key::new("some.key", ValueType::String, "");
        assert_eq!(key.check(&"x".repeat(MAX_VALUE_BYTES)), Ok(()));
        let problem = key.check(&"x".repeat(MAX_VALUE_BYTES + 1)).unwrap_err();
        assert_eq!(problem, "a value of some.key has 131073 bytes, and 131072 are allowed");
    }

    #[test]
    fn a_refused_value_is_told_what_is_expected() {
        let key = Key::new("n", ValueType::Int, "1").rule(Rule::at_least(1));
        insta::assert_snapshot!(
            key.check("0").unwrap_err(),
            @r#""0" is not a value of n: a whole number from 1 to 2147483647 is expected"#
        );
        let key =
            Key::new("b", ValueType::Boolean, "false").rule(Rule::Only(&["false"], "that is not built"));
        insta::assert_snapshot!(
            key.check("true").unwrap_err(),
            @r#""true" is not a value of b: true or false is expected, and only false is accepted, because that is not built"#
        );
    }
}
