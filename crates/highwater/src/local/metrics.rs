//! The metrics of several nodes as one text for Prometheus.

use std::fmt::Write as _;

/// A metric: its `# HELP` and `# TYPE`, and the samples of all nodes.
struct Family {
    name: String,
    head: String,
    samples: String,
}

/// Puts the nodes' texts together: each metric once, with the samples of every node under a label `node`. Prometheus
/// refuses a text that names a metric twice.
pub fn merged<'a>(nodes: impl IntoIterator<Item = (i32, &'a str)>) -> String {
    let mut families: Vec<Family> = Vec::new();
    for (node, text) in nodes {
        let mut current = None;
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let name = comment.split(' ').nth(1).unwrap_or_default();
                let known = families.iter().position(|family| family.name == name);
                let place = known.unwrap_or_else(|| {
                    let family =
                        Family { name: name.to_owned(), head: String::new(), samples: String::new() };
                    families.push(family);
                    families.len() - 1
                });
                let head = &mut families[place].head;
                if !head.lines().any(|known| known == line) {
                    let _ = writeln!(head, "{line}");
                }
                current = Some(place);
            } else if let (Some(place), Some(sample)) = (current, labelled(line, node)) {
                let _ = writeln!(families[place].samples, "{sample}");
            }
        }
    }
    families.into_iter().map(|family| family.head + &family.samples).collect()
}

/// A sample with one more label.
fn labelled(sample: &str, node: i32) -> Option<String> {
    let (name, value) = sample.rsplit_once(' ')?;
    Some(match name.strip_suffix('}') {
        Some(labels) => format!("{labels},node=\"{node}\"}} {value}"),
        None => format!("{name}{{node=\"{node}\"}} {value}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_is_named_once() {
        let one = "# HELP a All.\n# TYPE a counter\na{api=\"x\"} 1\n# HELP b Some.\n# TYPE b gauge\nb 2\n";
        let two = one.replace(" 1\n", " 3\n");
        assert_eq!(
            merged([(1, one), (2, two.as_str())]),
            "# HELP a All.\n# TYPE a counter\na{api=\"x\",node=\"1\"} 1\na{api=\"x\",node=\"2\"} 3\n\
             # HELP b Some.\n# TYPE b gauge\nb{node=\"1\"} 2\nb{node=\"2\"} 2\n"
        );
    }
}
