//! The marks in rare branches of the log.

/// Every mark that the log's code has. One that no history passes is reported.
pub const MARKS: [&str; 7] = [
    "log: append met a full disk",
    "log: damage repaired",
    "log: index made anew",
    "log: opened at another try",
    "log: restart completed by recovery",
    "log: uncertain tail cut back",
    "log: unproven tail rewritten",
];

#[cfg(test)]
mod tests {
    use super::MARKS;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn collect(dir: &Path, marks: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, marks);
            } else {
                let source = std::fs::read_to_string(&path).unwrap();
                let found = source.split("Reached(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                marks.extend(found.map(|(mark, _)| mark.to_owned()));
            }
        }
    }

    #[test]
    fn the_list_is_what_the_sources_have() {
        let mut marks = BTreeSet::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/log/src"), &mut marks);
        assert_eq!(marks, MARKS.iter().map(|&mark| mark.to_owned()).collect());
    }
}
