//! `cargo xtask tidy`: the house rules that neither compiler nor linter checks.

use crate::code::code_only;
use crate::workspace::Workspace;
use anyhow::Result;

const FILE_LINES: usize = 600;
const LINE_COLUMNS: usize = 120;

/// How far a file may stay below its allowance before that must be lowered.
const SLACK_LINES: usize = 40;

/// A file that may be longer than [`FILE_LINES`]. The list is a ratchet: allowances only fall.
struct Allowance {
    file: &'static str,
    lines: usize,
    /// Why one file is better than two.
    #[allow(dead_code, reason = "read by people")]
    reason: &'static str,
}

const LONG_FILES: &[Allowance] = &[];

/// What no source may hold as code, and why.
const BANNED_CODE: &[(&str, &str)] = &[
    (concat!("todo", "!("), "unfinished work is not committed"),
    (concat!("unimplemented", "!("), "unfinished work is not committed"),
    (concat!("dbg", "!("), "a leftover of debugging"),
    (concat!("#[ign", "ore"), "a test that does not run proves nothing"),
    (concat!("should_", "panic"), "it cannot tell one panic from another: catch it and look at its text"),
];

/// What no text may hold at all, and why.
const BANNED_TEXT: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "mend it, or state the limit as a fact"),
    (concat!("XX", "X"), "mend it, or state the limit as a fact"),
    (concat!("TO", "DO"), "do it, or state the limit as a fact"),
];

/// Folders of one machine, which mean nothing on another.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("../sha", "red")];

/// What breaks a rule, as `file:line: message`.
pub fn tidy(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let files = workspace.files()?;
    for file in files.iter().filter(|file| is_text(file)) {
        findings.extend(check_file(file, &workspace.read(file)?, LONG_FILES));
    }
    for allowance in LONG_FILES.iter().filter(|allowance| !files.iter().any(|file| file == allowance.file)) {
        findings.push(format!("{}: has an allowance and does not exist", allowance.file));
    }
    Ok(findings)
}

fn is_text(file: &str) -> bool {
    const ENDINGS: &[&str] =
        &[".rs", ".toml", ".md", ".sh", ".py", ".yml", ".yaml", ".json", ".html", ".proto"];
    ENDINGS.iter().any(|ending| file.ends_with(ending))
}

fn check_file(file: &str, text: &str, long_files: &[Allowance]) -> Vec<String> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut find = |message: String| findings.push(format!("{file}:{}: {message}", index + 1));
        for (word, reason) in BANNED_TEXT {
            if line.contains(word) {
                find(format!("{word}: {reason}"));
            }
        }
        if let Some(path) = MACHINE_PATHS.iter().find(|path| holds_path(line, path)) {
            find(format!("{path}: a path of one machine"));
        }
        if line.ends_with([' ', '\t']) && !file.ends_with(".md") {
            find("white space at the line's end".to_owned());
        }
    }
    if file.ends_with(".toml") && text.parse::<toml::Table>().is_err() {
        findings.push(format!("{file}:1: is not TOML"));
    }
    if file.ends_with(".rs") {
        check_rust(file, text, long_files, &mut findings);
    }
    findings
}

fn check_rust(file: &str, text: &str, long_files: &[Allowance], findings: &mut Vec<String>) {
    let code = code_only(text);
    for (index, (line, code)) in text.lines().zip(code.lines()).enumerate() {
        let mut find = |message: String| findings.push(format!("{file}:{}: {message}", index + 1));
        let columns = columns(line, code);
        if columns > LINE_COLUMNS {
            find(format!("{columns} columns; {LINE_COLUMNS} are enough"));
        }
        for (word, reason) in BANNED_CODE {
            if code.contains(word) {
                find(format!("{word}: {reason}"));
            }
        }
    }
    let is_test = file.ends_with("tests.rs") || file.contains("tests/");
    if !is_test && !text.starts_with("//!") {
        findings.push(format!("{file}:1: has no module comment (//!) that says what lives here"));
    }
    let lines = text.lines().count();
    match long_files.iter().find(|allowance| allowance.file == file) {
        None if lines > FILE_LINES => {
            findings.push(format!("{file}:1: {lines} lines; {FILE_LINES} are enough for one file"));
        }
        Some(allowance) if lines > allowance.lines => {
            findings.push(format!("{file}:1: {lines} lines; its allowance is {}", allowance.lines));
        }
        Some(allowance) if lines + SLACK_LINES < allowance.lines || lines <= FILE_LINES => {
            findings.push(format!("{file}:1: {lines} lines; lower its allowance of {}", allowance.lines));
        }
        _ => {}
    }
}

/// How wide a line of Rust is. The text of a literal does not count: a message is found again when it stands
/// unbroken, and a table is read better so. An address in a comment cannot be broken either.
fn columns(line: &str, code: &str) -> usize {
    let all = line.chars().count();
    let is_comment = line.trim_start().starts_with("//");
    if all <= LINE_COLUMNS || is_comment {
        return if line.contains("://") { 0 } else { all };
    }
    let indent = line.chars().take_while(|letter| letter.is_whitespace()).count();
    let words: Vec<&str> = code.split_whitespace().collect();
    indent + words.join(" ").chars().count()
}

/// Whether `line` holds the path as a path of its own, and not as the middle of another.
fn holds_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"._-}/$".contains(letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str, expected: &[&str]) {
        let long_files = [Allowance { file: "long.rs", lines: 700, reason: "a table" }];
        let findings = check_file(file, text, &long_files);
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, part) in findings.iter().zip(expected) {
            assert!(finding.contains(part), "{finding} should have {part:?}");
        }
    }

    #[test]
    fn leftovers_are_found_in_code_and_not_in_prose() {
        check("a.rs", concat!("//! A.\nfn f() { todo", "!() }"), &["a.rs:2: todo"]);
        check("a.rs", concat!("//! A.\n#[ign", "ore]\n#[should_", "panic]"), &["a.rs:2", "a.rs:3"]);
        check("a.rs", concat!("//! Never todo", "!() here."), &[]);
        check("a.md", concat!("one\nFIX", "ME\n"), &["a.md:2"]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        check("a.md", concat!("see /ro", "ot/x"), &["a.md:1"]);
        check("a.md", concat!("see https://example.org/ho", "me/x and a/wo", "rk/b"), &[]);
    }

    #[test]
    fn lines_and_files_have_bounds() {
        let wide = format!("//! A.\nlet a = {};", "b".repeat(LINE_COLUMNS));
        check("a.rs", &wide, &["a.rs:2: 129 columns"]);
        check("a.rs", &format!("//! A.\n// {}", "b ".repeat(59) + "end"), &["a.rs:2: 124 columns"]);
        check("a.rs", &format!("//! A.\n// https://{}", "b".repeat(LINE_COLUMNS)), &[]);
        check("a.rs", &format!("//! A.\nlet a = \"{}\";", "b".repeat(LINE_COLUMNS)), &[]);
        let lines = |count: usize| format!("//! A.\n{}", "a\n".repeat(count - 1));
        check("a.rs", &lines(600), &[]);
        check("a.rs", &lines(601), &["601 lines; 600 are enough"]);
        check("long.rs", &lines(690), &[]);
        check("long.rs", &lines(701), &["its allowance is 700"]);
        check("long.rs", &lines(620), &["lower its allowance"]);
    }

    #[test]
    fn files_say_what_lives_in_them() {
        check("a.rs", "fn f() {}", &["no module comment"]);
        check("a/tests.rs", "fn f() {}", &[]);
        check("a.toml", "a = \n", &["white space", "not TOML"]);
    }

    #[test]
    fn this_workspace_is_tidy() {
        let workspace = Workspace::around(env!("CARGO_MANIFEST_DIR")).unwrap();
        let findings = tidy(&workspace).unwrap();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
