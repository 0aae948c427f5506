//! The table, as Markdown.

use super::contender::Contender;
use crate::load::Outcome;
use crate::stats::median;
use std::fmt;

/// The table's head.
pub const HEADING: &str = "\
| load | floor CPU s/GiB | broker CPU s/GiB | ratio | floor MiB/s | broker MiB/s | ratio | broker records/s | broker CPU us/record |
|---|---|---|---|---|---|---|---|---|";

/// A scenario's outcomes.
pub struct Row {
    name: &'static str,
    floor: Vec<Outcome>,
    broker: Vec<Outcome>,
}

impl Row {
    /// A row without outcomes.
    pub fn new(name: &'static str) -> Self {
        Self { name, floor: Vec::new(), broker: Vec::new() }
    }

    /// Takes the outcome of one round.
    pub fn add(&mut self, contender: Contender, outcome: Outcome) {
        match contender {
            Contender::Floor => self.floor.push(outcome),
            Contender::Broker => self.broker.push(outcome),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |outcomes: &[Outcome], figure: fn(&Outcome) -> f64| {
            median(&outcomes.iter().map(figure).collect::<Vec<_>>()).unwrap_or(f64::NAN)
        };
        let (floor, broker) = (&self.floor, &self.broker);
        let cpu = Outcome::cpu_seconds_per_gib;
        let speed = Outcome::mib_per_second;
        let (floor_cpu, broker_cpu) = (of(floor, cpu), of(broker, cpu));
        let (floor_speed, broker_speed) = (of(floor, speed), of(broker, speed));
        write!(
            f,
            "| {} | {floor_cpu:.2} | {broker_cpu:.2} | {:.2} | {floor_speed:.0} | {broker_speed:.0} | {:.2} | {:.0} | {:.3} |",
            self.name,
            broker_cpu / floor_cpu,
            broker_speed / floor_speed,
            of(broker, Outcome::records_per_second),
            of(broker, Outcome::cpu_micros_per_record),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_row_shows_medians_and_their_ratios() {
        let outcome = |cpu_seconds: u64, wall_seconds: u64| Outcome {
            records: 1_000_000,
            bytes: 1 << 30,
            wall: Duration::from_secs(wall_seconds),
            server_cpu: Duration::from_secs(cpu_seconds),
        };
        let mut row = Row::new("example");
        for (floor, broker) in [(1, 3), (2, 4), (9, 90)] {
            row.add(Contender::Floor, outcome(floor, 1));
            row.add(Contender::Broker, outcome(broker, 4));
        }
        assert_eq!(row.to_string(), "| example | 2.00 | 4.00 | 2.00 | 1024 | 256 | 0.25 | 250000 | 4.000 |");
    }
}
