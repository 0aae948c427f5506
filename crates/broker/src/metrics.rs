//! What a node counts of itself, and its text form for Prometheus.

use highwater_wire::ApiKey;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// One more than the highest API number that is counted by itself; the others share the last place.
const APIS: usize = 93;
/// Upper bounds of a histogram's buckets: 2^n microseconds, from 1 us to 33 s.
const BUCKETS: usize = 26;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub(crate) fn one(&self) {
        self.add(1);
    }

    /// Adds some.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that grows and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long something took, in buckets of powers of two.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, took: Duration) {
        self.record_all(took, 1);
    }

    /// Records several that took equally long.
    pub(crate) fn record_all(&self, took: Duration, count: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - us.saturating_sub(1).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(count, Ordering::Relaxed);
        self.sum_us.fetch_add(us.wrapping_mul(count), Ordering::Relaxed);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    fn render(&self, out: &mut String, name: &str, help: &str) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut total = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            if bucket + 1 < BUCKETS {
                let bound = (1u64 << bucket) as f64 / 1e6;
                let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {total}");
            }
        }
        let sum = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {total}\n{name}_sum {sum}\n{name}_count {total}");
    }
}

/// Requests by API.
#[derive(Debug)]
pub struct PerApi([Counter; APIS + 1]);

impl Default for PerApi {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl PerApi {
    pub(crate) fn of(&self, key: ApiKey) -> &Counter {
        &self.0[usize::try_from(key.0).unwrap_or(APIS).min(APIS)]
    }

    /// The requests of one API.
    pub fn get(&self, key: ApiKey) -> u64 {
        self.of(key).get()
    }
}

macro_rules! metrics {
    ($($kind:ident $field:ident $name:literal $help:literal,)*) => {
        /// What a node counts of itself. All of it since its start.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: metrics!(@type $kind),)*
            /// Requests begun, by API.
            pub requests: PerApi,
            /// From a produce request's arrival to its answer.
            pub produce_time: Histogram,
            /// From a fetch request's arrival to its answer, waiting for data included.
            pub fetch_time: Histogram,
        }

        impl Metrics {
            fn render_numbers(&self, out: &mut String) {
                $({
                    let value = self.$field.get();
                    let _ = writeln!(
                        out,
                        concat!("# HELP ", $name, " ", $help, "\n# TYPE ", $name, " ", stringify!($kind), "\n", $name, " {}"),
                        value
                    );
                })*
            }
        }
    };
    (@type counter) => { Counter };
    (@type gauge) => { Gauge };
}

metrics! {
    gauge connections_open "highwater_connections" "Connections that are open.",
    counter connections_accepted "highwater_connections_accepted_total" "Connections accepted.",
    counter connections_refused "highwater_connections_refused_total" "Connections closed at once because there were too many.",
    counter connections_idle "highwater_connections_idle_closed_total" "Connections closed because nothing came over them.",
    counter connections_stalled "highwater_connections_stalled_closed_total" "Connections closed because the peer did not take its answers.",
    counter protocol_errors "highwater_protocol_errors_total" "Connections closed because the peer sent what cannot be understood or is not served.",
    counter received_bytes "highwater_received_bytes_total" "Bytes received from clients.",
    counter sent_bytes "highwater_sent_bytes_total" "Bytes sent to clients, those from files included.",
    counter sent_file_bytes "highwater_sent_file_bytes_total" "Bytes sent to clients straight from files.",
    counter produced_batches "highwater_produced_batches_total" "Batches appended for clients.",
    counter produced_records "highwater_produced_records_total" "Records appended for clients.",
    counter produced_bytes "highwater_produced_bytes_total" "Bytes of batches appended for clients.",
    counter produce_duplicates "highwater_produce_duplicates_total" "Batches that had been appended before and were not again.",
    counter produce_refused "highwater_produce_refused_total" "Batches that were not appended.",
    counter fetched_bytes "highwater_fetched_bytes_total" "Bytes of records in answers to fetch requests.",
    counter fetches_parked "highwater_fetches_parked_total" "Fetch requests that waited for data.",
    counter logs_failed "highwater_logs_failed_total" "Logs that failed to write or sync and are out of use until a restart.",
    counter damage_found "highwater_damage_found_total" "Times that stored batches were found damaged.",
    counter scrubbed_bytes "highwater_scrubbed_bytes_total" "Bytes of logs that were looked through for damage.",
    counter repairs "highwater_repairs_total" "Times that damaged batches were restored from another replica.",
    counter repaired_bytes "highwater_repaired_bytes_total" "Bytes that were fetched for that.",
    counter damage_met "highwater_damage_met_total" "Reads that met damaged records.",
}

impl Metrics {
    /// The text that Prometheus reads, without what must be looked up in the node's other parts.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(8 << 10);
        self.render_numbers(&mut out);
        out.push_str(
            "# HELP highwater_requests_total Requests begun.\n# TYPE highwater_requests_total counter\n",
        );
        for &key in ApiKey::ALL {
            let count = self.requests.get(key);
            if count > 0 {
                let _ = writeln!(out, "highwater_requests_total{{api=\"{key}\"}} {count}");
            }
        }
        self.produce_time.render(
            &mut out,
            "highwater_produce_seconds",
            "From a produce request's arrival to its answer.",
        );
        self.fetch_time.render(
            &mut out,
            "highwater_fetch_seconds",
            "From a fetch request's arrival to its answer, waiting for data included.",
        );
        out
    }
}

/// Adds one number that was looked up elsewhere; `kind` is Prometheus's.
pub(crate) fn render_number(out: &mut String, kind: &str, name: &str, help: &str, value: u64) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_is_not_above_their_bound() {
        let histogram = Histogram::default();
        for us in [0, 1, 2, 3, 4, 1_000_000_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let mut out = String::new();
        histogram.render(&mut out, "h", "help");
        for line in [
            "h_bucket{le=\"0.000001\"} 2",
            "h_bucket{le=\"0.000002\"} 3",
            "h_bucket{le=\"0.000004\"} 5",
            "h_bucket{le=\"+Inf\"} 6",
            "h_count 6",
        ] {
            assert!(out.lines().any(|found| found == line), "{line} not in\n{out}");
        }
    }

    #[test]
    fn requests_are_named() {
        let metrics = Metrics::default();
        metrics.requests.of(ApiKey::FETCH).add(3);
        metrics.requests.of(ApiKey(-7)).one();
        metrics.requests.of(ApiKey(12_345)).one();
        metrics.connections_open.up();
        let text = metrics.render();
        assert!(text.contains("highwater_requests_total{api=\"Fetch\"} 3\n"), "{text}");
        assert!(text.contains("# TYPE highwater_connections gauge\nhighwater_connections 1\n"), "{text}");
    }
}
