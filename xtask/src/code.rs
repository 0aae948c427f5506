//! Rust source as far as the checks need it: what of a text is code, its tokens, and the paths it names.

/// The code of a source text: comments and the insides of literals become spaces, lines stay where they are.
pub fn code_only(source: &str) -> String {
    let mut out: Vec<char> = source.chars().collect();
    let mut at = 0;
    while at < out.len() {
        let end = match (out[at], out.get(at + 1)) {
            ('/', Some('/')) => line_end(&out, at),
            ('/', Some('*')) => block_comment_end(&out, at),
            ('"', _) => quoted_end(&out, at + 1, '"'),
            ('r', _) if !follows_word(&out, at) => match raw_string_end(&out, at) {
                Some(end) => end,
                None => {
                    at += 1;
                    continue;
                }
            },
            ('\'', _) => char_literal_end(&out, at),
            _ => {
                at += 1;
                continue;
            }
        };
        for place in &mut out[at..end] {
            if *place != '\n' {
                *place = ' ';
            }
        }
        at = end;
    }
    out.into_iter().collect()
}

fn follows_word(text: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|index| text[index]);
    let is_word =
        |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    // `br"..."` is a literal too, and the only word that ends where a raw string begins.
    let after_byte_mark = before(1) == Some('b') && !is_word(before(2));
    is_word(before(1)) && !after_byte_mark
}

fn line_end(text: &[char], at: usize) -> usize {
    text[at..].iter().position(|&letter| letter == '\n').map_or(text.len(), |length| at + length)
}

fn block_comment_end(text: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

fn quoted_end(text: &[char], mut at: usize, quote: char) -> usize {
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            letter if letter == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn raw_string_end(text: &[char], at: usize) -> Option<usize> {
    let hashes = text[at + 1..].iter().take_while(|&&letter| letter == '#').count();
    let body = at + 1 + hashes;
    if text.get(body) != Some(&'"') {
        return None;
    }
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let length = text[body + 1..].windows(closing.len()).position(|window| window == closing);
    Some(length.map_or(text.len(), |length| body + 1 + length + closing.len()))
}

/// The end of a character literal, or of the quote alone where it begins a lifetime.
fn char_literal_end(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => quoted_end(text, at + 1, '\''),
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// The code without its `#[cfg(test)]` modules.
pub fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut lines = code.lines().peekable();
    let mut in_tests = false;
    while let Some(line) = lines.next() {
        let opens = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.starts_with("mod ") && next.trim_end().ends_with('{'));
        if in_tests {
            in_tests = !line.starts_with('}');
        } else if opens {
            in_tests = true;
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// A piece of code and its line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// A word, `::`, or one other character.
    pub text: String,
    /// Its line.
    pub line: usize,
}

/// The tokens of code that [`code_only`] gave.
pub fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push(Token { text: rest[..length].to_owned(), line: index + 1 });
            }
            rest = &rest[length..];
        }
    }
    tokens
}

/// A path that code names, as `std::time::Instant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// Its segments. The last is `*` for a glob.
    pub segments: Vec<String>,
    /// Whether a `use` brought it in.
    pub imported: bool,
    /// Its line.
    pub line: usize,
}

/// Every path of at least two segments, with the groups of `use` written out.
pub fn paths(tokens: &[Token]) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = use_tree(tokens, at + 1, &[], &mut found);
        } else if is_word(&tokens[at]) {
            let (segments, end) = plain_path(tokens, at);
            if segments.len() > 1 {
                found.push(NamedPath { segments, imported: false, line: tokens[at].line });
            }
            at = end.max(at + 1);
        } else {
            at += 1;
        }
    }
    found
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// The path that starts at `at`, and where it ends.
fn plain_path(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut segments = vec![tokens[at].text.clone()];
    at += 1;
    while at + 1 < tokens.len() && tokens[at].text == "::" && is_word(&tokens[at + 1]) {
        segments.push(tokens[at + 1].text.clone());
        at += 2;
    }
    (segments, at)
}

/// Writes out the `use` tree that starts at `at` below `prefix`; returns where it ends.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &segments, found);
                    if tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => {
                // The other name does not matter: what it stands for does.
                at += 2;
                break;
            }
            "self" if !prefix.is_empty() => {
                at += 1;
                break;
            }
            "*" => {
                segments.push("*".to_owned());
                at += 1;
                break;
            }
            _ if is_word(token) => {
                segments.push(token.text.clone());
                at += 1;
                if tokens.get(at).is_none_or(|next| next.text != "::" && next.text != "as") {
                    break;
                }
            }
            _ => return at + 1,
        }
    }
    // Code that breaks off inside a `use` names nothing; the compiler will say so.
    let Some(line) = tokens.get(at).map(|token| token.line) else { return at };
    found.push(NamedPath { segments, imported: true, line });
    // `as name` inside a group ends before its comma; the caller goes on from there.
    if tokens.get(at).is_some_and(|token| token.text == "as") { at + 2 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_code(source: &str, expected: &str) {
        let code = code_only(source);
        assert_eq!(code.lines().count(), source.lines().count(), "{source:?}");
        let code: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(code.join(" "), expected, "{source:?}");
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        check_code("a // b\nc", "a c");
        check_code("a /* b /* c */ d\n */ e", "a e");
        check_code(r#"a("b // \" c", 'd', '\'', '"') e"#, "a( , , , ) e");
        check_code(r##"a r#"b " c"# d br"e" f"##, "a d b f");
        check_code("fn f<'a>(r: &'a str) -> R", "fn f< a>(r: & a str) -> R");
        check_code("for r in bar\"x\"", "for r in bar");
        check_code("\"never closed\n b", "");
    }

    #[test]
    fn test_modules_are_left_out() {
        let code = "a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n#[cfg(test)]\nmod tests;\nd\n";
        assert_eq!(without_tests(code), "a\n\n\n\n\nc\n#[cfg(test)]\nmod tests;\nd\n");
    }

    fn check_paths(source: &str, expected: &[&str]) {
        let found: Vec<String> = paths(&tokens(&code_only(source)))
            .into_iter()
            .map(|path| {
                let kind = if path.imported { "use " } else { "" };
                format!("{}: {kind}{}", path.line, path.segments.join("::"))
            })
            .collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn paths_are_written_out() {
        check_paths("let a = std::time::Instant::now();", &["1: std::time::Instant::now"]);
        check_paths("use std::fs;\nfs::read(x)", &["1: use std::fs", "2: fs::read"]);
        check_paths(
            "pub use std::{\n  fs,\n  time::{self, Instant as Now, *},\n};\na::b",
            &[
                "2: use std::fs",
                "3: use std::time",
                "3: use std::time::Instant",
                "3: use std::time::*",
                "5: a::b",
            ],
        );
        check_paths("use a::b as c; use ::d::e;", &["1: use a::b", "1: use d::e"]);
        check_paths("use", &[]);
        check_paths("use a::{b", &[]);
    }
}
