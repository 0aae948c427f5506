//! `highwater dev`: a broker to try things with.

use crate::cli::DevArgs;
use crate::output::Output;
use crate::{logging, node};
use highwater_broker::BrokerConfig;
use highwater_types::BrokerId;
use serde_json::json;
use std::process::ExitCode;

/// Does what was asked.
pub fn run(args: &DevArgs, output: &Output) -> anyhow::Result<ExitCode> {
    logging::start(&args.log_level, args.log_format)?;
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
