//! The table of all configurations, for people.

use super::key::{Effect, Key, Rule, Update, ValueType};
use super::registry::{broker_keys, topic_keys};
use std::fmt::Write as _;

/// Every configuration with its type, default, values and meaning, as Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configurations\n\n\
         The names are Kafka's, but for `durability`. A topic's value comes from the first of these that sets it: the \
         topic; the broker, set while it runs; all brokers, set while they run; the broker's own file or command line, \
         each under the names in the column \"for all topics\"; the default here. A name that is not here is refused. \
         What is accepted and changes nothing says so.\n\n\
         ## Topics\n\n| name | type | default | values | for all topics | meaning |\n|---|---|---|---|---|---|\n",
    );
    for key in topic_keys() {
        let synonyms: Vec<_> = key.synonyms.iter().map(|synonym| format!("`{}`", synonym.name)).collect();
        row(&mut out, key, Some(&synonyms.join(" ")));
    }
    out.push_str(
        "\n## Brokers\n\nThose marked \"at start\" are read when the broker starts; the others can be changed while it \
         runs, for one broker or for all. A few are set under names of this program's own.\n\n\
         | name | type | default | values | read | meaning |\n|---|---|---|---|---|---|\n",
    );
    let is_default_of_topics = |key: &&Key| {
        topic_keys().iter().any(|topic| {
            topic.synonyms.iter().any(|it| it.name == key.name && it.factor == 1 && topic.doc == key.doc)
        })
    };
    for key in broker_keys().iter().filter(|key| !is_default_of_topics(key)) {
        row(&mut out, key, None);
    }
    out.push_str(
        "\nBrokers also take the names in the column \"for all topics\" above, with the same values.\n",
    );
    out
}

fn row(out: &mut String, key: &Key, synonyms: Option<&str>) {
    let value_type = match key.value_type {
        ValueType::Boolean => "boolean",
        ValueType::String => "text",
        ValueType::Int => "int",
        ValueType::Long => "long",
        ValueType::Double => "number",
        ValueType::List => "list",
    };
    let default = match key.default {
        None => "not set".to_owned(),
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
    };
    let read = match key.update {
        Update::Dynamic => "at once".to_owned(),
        Update::ReadOnly => "at start".to_owned(),
        Update::Elsewhere(own) => format!("at start, from `{own}`"),
    };
    let meaning = match key.effect {
        Effect::Acts => key.doc.to_owned(),
        Effect::Inert(why) => format!("{} **Without effect:** {why}", key.doc),
    };
    let _ = writeln!(
        out,
        "| `{}` | {value_type} | {default} | {} | {} | {meaning} |",
        key.name,
        values(key),
        synonyms.unwrap_or(&read)
    );
}

fn values(key: &Key) -> String {
    match key.rule {
        Rule::Any if key.value_type == ValueType::Boolean => "`true`, `false`".to_owned(),
        Rule::Any => "any".to_owned(),
        Rule::Within(least, i64::MAX) => format!("{least} and up"),
        Rule::Within(least, most) => format!("{least} to {most}"),
        Rule::Fraction => "0 to 1".to_owned(),
        Rule::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Rule::Only(words, _) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("only {}", words.join(", "))
        }
        Rule::ThrottledReplicas => "`*`, or `partition:broker` pairs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_this_table() {
        let page = include_str!("../../../../docs/CONFIGURATION.md");
        assert!(
            page == reference(),
            "docs/CONFIGURATION.md is out of date; write it anew with \
             `cargo run -p highwater-metadata --example configuration > docs/CONFIGURATION.md`"
        );
    }
}
