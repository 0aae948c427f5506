//! What `{:?}` prints, as a tree that two codecs with the same field names agree on.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A printed value without what tells the two codecs apart: newtypes, `Some` and the spelling of UUIDs are
/// gone, and what is empty or null is [`Tree::Nothing`] (the bytes say which of them it was).
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Nothing,
    Atom(String),
    List(Vec<Tree>),
    Fields(BTreeMap<String, Tree>),
}

/// Reads the tree off a printed value.
pub fn tree(printed: &str) -> Tree {
    let mut input = printed.chars().peekable();
    let tree = value(&mut input);
    assert_eq!(input.next(), None, "all of it is read: {printed}");
    tree
}

type Input<'a> = Peekable<Chars<'a>>;

fn value(input: &mut Input<'_>) -> Tree {
    match input.peek().expect("a value") {
        '"' => atom(quoted(input)),
        '[' => list(input),
        '{' => fields(input),
        _ => named(input),
    }
}

fn named(input: &mut Input<'_>) -> Tree {
    let mut word = String::new();
    while let Some(&char) = input.peek()
        && (char.is_alphanumeric() || "_-+.".contains(char))
    {
        word.push(char);
        input.next();
    }
    assert!(!word.is_empty(), "a word, not {:?}", input.peek());
    match input.peek() {
        Some('"') if word == "b" => atom(quoted(input)),
        Some('(') => {
            input.next();
            let content = value(input);
            expect(input, ')');
            content
        }
        Some(' ') => {
            input.next();
            if input.peek() == Some(&'{') { fields(input) } else { atom(word) }
        }
        _ => atom(word),
    }
}

fn atom(text: String) -> Tree {
    if text.is_empty() || text == "None" || text == "Null" {
        Tree::Nothing
    } else {
        Tree::Atom(plain_uuid(text))
    }
}

/// A UUID in its hyphenated form, spelled as Kafka does.
fn plain_uuid(text: String) -> String {
    let digits: String = text.split('-').collect();
    if text.len() == 36
        && digits.len() == 32
        && let Ok(value) = u128::from_str_radix(&digits, 16)
    {
        return highwater_types::Uuid(value.to_be_bytes()).to_string();
    }
    text
}

fn quoted(input: &mut Input<'_>) -> String {
    expect(input, '"');
    let mut text = String::new();
    loop {
        match input.next().expect("a closing quote") {
            '"' => return text,
            '\\' => {
                text.push('\\');
                text.push(input.next().expect("an escaped character"));
            }
            char => text.push(char),
        }
    }
}

fn list(input: &mut Input<'_>) -> Tree {
    expect(input, '[');
    let mut items = Vec::new();
    while input.peek() != Some(&']') {
        items.push(value(input));
        separator(input);
    }
    expect(input, ']');
    if items.is_empty() { Tree::Nothing } else { Tree::List(items) }
}

fn fields(input: &mut Input<'_>) -> Tree {
    expect(input, '{');
    let mut fields = BTreeMap::new();
    while input.peek() != Some(&'}') {
        separator(input);
        let mut name = String::new();
        while input.peek() != Some(&':') {
            name.push(input.next().expect("a field's name"));
        }
        expect(input, ':');
        expect(input, ' ');
        fields.insert(name, value(input));
        separator(input);
    }
    expect(input, '}');
    fields.remove("unknown_tagged_fields");
    Tree::Fields(fields)
}

fn separator(input: &mut Input<'_>) {
    while matches!(input.peek(), Some(',' | ' ')) {
        input.next();
    }
}

fn expect(input: &mut Input<'_>, char: char) {
    assert_eq!(input.next(), Some(char));
}
