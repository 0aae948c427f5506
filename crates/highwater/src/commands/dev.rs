//! `highwater dev`: a broker to try things with, or a cluster of them.

use crate::cli::DevArgs;
use crate::output::Output;
use crate::{local, logging, node};
use highwater_broker::BrokerConfig;
use highwater_types::BrokerId;
use serde_json::json;
use std::process::ExitCode;

/// Does what was asked.
pub fn run(args: &DevArgs, output: &Output) -> anyhow::Result<ExitCode> {
    if args.brokers == 1 { alone(args, output) } else { cluster(args, output) }
}

fn alone(args: &DevArgs, output: &Output) -> anyhow::Result<ExitCode> {
    logging::start(&args.log_level, args.log_format)?;
    local::check_alone(&args.data_dir)?;
    let config = BrokerConfig::new(BrokerId(1), &args.data_dir, args.listen);
    let data_dir = args.data_dir.clone();
    node::run(config, Some(args.admin), output, |kafka, admin, output| {
        let kafka = kafka.unwrap_or(args.listen);
        let admin = admin.map(|address| address.to_string()).unwrap_or_default();
        let text = format!(
            "highwater is ready\n  \
             Kafka clients  {kafka}\n  \
             metrics        http://{admin}/metrics\n  \
             data           {}\n\
             Try:  highwater topic create greetings --bootstrap {kafka}\n\
             Stop: Ctrl-C. What was acknowledged is on disk.",
            data_dir.display()
        );
        output.item(&json!({ "ready": true, "kafka": kafka, "admin": admin, "data_dir": data_dir }), &text)
    })
}

fn cluster(args: &DevArgs, output: &Output) -> anyhow::Result<ExitCode> {
    logging::start_for_several(&args.log_level, args.log_format)?;
    let configs = local::configs(&args.data_dir, usize::from(args.brokers), args.listen)?;
    let data_dir = args.data_dir.clone();
    local::run(configs, args.admin, output, |kafka, admin, output| {
        let all: Vec<String> = kafka.iter().map(ToString::to_string).collect();
        let first = all.first().map(String::as_str).unwrap_or_default();
        let text = format!(
            "highwater is ready, {} nodes\n  \
             Kafka clients  {}\n  \
             metrics        http://{admin}/metrics\n  \
             data           {}\n\
             Try:  highwater topic create greetings --bootstrap {first}\n\
             Type: kill 2, start 2, status; help tells more.\n\
             Stop: Ctrl-C. What was acknowledged is on disk.",
            all.len(),
            all.join(","),
            data_dir.display()
        );
        output.item(&json!({ "ready": true, "kafka": all, "admin": admin, "data_dir": data_dir }), &text)
    })
}
