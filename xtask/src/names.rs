//! Names that the pure crates and the crates over [`Env`] may not use.
//!
//! [`Env`]: ../highwater_env/trait.Env.html

use crate::code::{NamedPath, code_only, paths, tokens, without_tests};

/// A name, and what to use in its place.
struct Forbidden {
    name: &'static str,
    instead: &'static str,
}

const FORBIDDEN: &[Forbidden] = &[
    Forbidden { name: "tokio::runtime", instead: "Env::spawn and Env::compute" },
    Forbidden { name: "tokio::task", instead: "Env::spawn and Env::compute" },
    Forbidden { name: "tokio::spawn", instead: "Env::spawn" },
    Forbidden { name: "tokio::time", instead: "Env::clock, highwater_env::{sleep, timeout}" },
    Forbidden { name: "tokio::fs", instead: "Env::disk" },
    Forbidden { name: "tokio::net", instead: "Env::network" },
    Forbidden { name: "std::time::Instant", instead: "highwater_types::Instant" },
    Forbidden { name: "std::time::SystemTime", instead: "highwater_types::Timestamp" },
    Forbidden { name: "std::fs", instead: "Env::disk" },
    Forbidden { name: "std::thread", instead: "Env::spawn and Env::compute" },
    Forbidden { name: "std::net::TcpStream", instead: "Env::network" },
    Forbidden { name: "std::net::TcpListener", instead: "Env::network" },
    Forbidden { name: "std::net::UdpSocket", instead: "Env::network" },
    Forbidden { name: "rand::rng", instead: "Env::entropy" },
    Forbidden { name: "rand::rngs", instead: "Env::entropy" },
    Forbidden { name: "rand::random", instead: "Env::entropy" },
    Forbidden { name: "rand::thread_rng", instead: "Env::entropy" },
    Forbidden { name: "std::collections::HashMap", instead: "highwater_types::HashMap or BTreeMap" },
    Forbidden { name: "std::collections::HashSet", instead: "highwater_types::HashSet or BTreeSet" },
    Forbidden { name: "std::collections::hash_map", instead: "highwater_types::HashMap or BTreeMap" },
    Forbidden { name: "std::collections::hash_set", instead: "highwater_types::HashSet or BTreeSet" },
];

/// What a file does that it may not, as `file:line: message`. Its tests may do as they like.
pub fn check(file: &str, source: &str) -> Vec<String> {
    let tokens = tokens(&without_tests(&code_only(source)));
    let mut findings = Vec::new();
    for path in paths(&tokens) {
        if let Some(forbidden) = FORBIDDEN.iter().find(|forbidden| names(&path, forbidden.name)) {
            let written = path.segments.join("::");
            findings.push(format!("{file}:{}: `{written}`: use {}", path.line, forbidden.instead));
        }
    }
    for window in tokens.windows(4) {
        let [name, bang, _, first] = window else { continue };
        if name.text == "select" && bang.text == "!" && first.text != "biased" {
            findings.push(format!(
                "{file}:{}: `select!` without `biased;` draws its order from a thread's generator",
                name.line
            ));
        }
    }
    findings
}

/// Whether `path` names `forbidden` or something inside it, or brings in a module or glob that holds it.
fn names(path: &NamedPath, forbidden: &str) -> bool {
    let forbidden: Vec<&str> = forbidden.split("::").collect();
    let (glob, named) = match path.segments.split_last() {
        Some((last, before)) if last == "*" => (true, before),
        _ => (false, path.segments.as_slice()),
    };
    let same = named.iter().zip(&forbidden).all(|(one, other)| one == other);
    // A glob of `std::collections` brings the maps in; the module alone gives them a shorter name.
    let holds_it = path.imported && named.len() < forbidden.len() && (glob || named.len() > 1);
    same && (named.len() >= forbidden.len() || holds_it)
}

#[cfg(test)]
mod tests {
    use super::check;

    fn check_lines(source: &str, expected: &[usize]) {
        let findings = check("f.rs", source);
        let lines: Vec<usize> =
            findings.iter().map(|finding| finding.split(':').nth(1).unwrap().parse().unwrap()).collect();
        assert_eq!(lines, expected, "{source}\n{findings:?}");
    }

    #[test]
    fn forbidden_names_are_found_however_they_are_written() {
        check_lines("fn f() {\n    std::thread::sleep(d)\n}", &[2]);
        check_lines("use std::{collections::{BTreeMap, HashMap}, time::{Duration, Instant}};", &[1, 1]);
        check_lines("use std::time;\nuse std::collections::*;", &[1, 2]);
        check_lines("use tokio::time::sleep as nap;", &[1]);
        check_lines("let x = ::std::fs::read(p);", &[1]);
        check_lines("use rand::Rng;\nlet x: u8 = rand::random();", &[2]);
    }

    #[test]
    fn allowed_names_pass() {
        check_lines("use std::time::Duration;\nuse std::collections::BTreeMap;\nuse tokio::sync::mpsc;", &[]);
        check_lines("use highwater_types::{HashMap, Instant};\nmy::std::fs::read();", &[]);
        check_lines("// std::fs\nlet text = \"std::thread\"; use std::fmt;", &[]);
        check_lines("#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", &[]);
    }

    #[test]
    fn select_must_be_biased() {
        check_lines("tokio::select! {\n    a = b => {}\n}", &[1]);
        check_lines("tokio::select! {\n    biased;\n    a = b => {}\n}", &[]);
    }
}
