//! Results as a JUnit file, which CI systems read: a suite per scenario, a case for its seeds and one per failure.

use crate::campaign::Summary;
use std::fmt::Write as _;

/// The file's text.
pub fn render(summary: &Summary) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for scenario in &summary.scenarios {
        let failed: Vec<_> =
            summary.failed.iter().filter(|failed| failed.scenario == scenario.name).collect();
        let diverged: Vec<_> =
            summary.diverged.iter().filter(|diverged| diverged.scenario == scenario.name).collect();
        let name = escape(&scenario.name);
        let (tests, failures) = (scenario.seeds, failed.len() + diverged.len());
        let seconds = scenario.took.as_secs_f64();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.3}\">"
        );
        let clean = scenario.seeds - failed.len() as u64;
        let _ = writeln!(out, "    <testcase classname=\"{name}\" name=\"{clean} clean seeds\"/>");
        for failed in failed {
            let text = escape(&failed.events.join("\n"));
            let (seed, message) = (failed.seed, escape(&failed.headline()));
            let _ = writeln!(
                out,
                "    <testcase classname=\"{name}\" name=\"seed {seed}\"><failure message=\"{message}\">{text}</failure></testcase>"
            );
        }
        for diverged in diverged {
            let (seed, event) = (diverged.seed, diverged.event);
            let _ = writeln!(
                out,
                "    <testcase classname=\"{name}\" name=\"seed {seed} twice\"><failure message=\"two runs part at event {event}\"/></testcase>"
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Text as XML takes it; characters that XML has no way to write become question marks.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            control if control.is_control() => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{Failed, ScenarioSummary};
    use crate::{Failure, Violation};

    #[test]
    fn failures_are_written_so_that_xml_takes_them() {
        let mut summary = Summary::default();
        let name = "power".to_owned();
        summary.scenarios.push(ScenarioSummary {
            name: name.clone(),
            seeds: 3,
            failed: 1,
            ..Default::default()
        });
        let failure = Failure::Violation(Violation::new("H1", "a < b & \"c\""));
        let events = vec!["1\u{1b}[0m".to_owned()];
        summary.failed.push(Failed { scenario: name, seed: 7, number: 0, failure, events });
        insta::assert_snapshot!(render(&summary), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
          <testsuite name="power" tests="3" failures="1" time="0.000">
            <testcase classname="power" name="2 clean seeds"/>
            <testcase classname="power" name="seed 7"><failure message="seed 7 of power violates H1: a &lt; b &amp; &quot;c&quot;">1?[0m</failure></testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
