//! The configuration file of a node.

use super::Target;
use highwater::config::FileConfig;
use highwater_env::Rng;
use rand::RngExt;

/// The text of a file.
pub struct Config;

const FILES: &[&str] = &[
    "data_dir = \"/var/lib/highwater\"\n",
    "node_id = 7\ndata_dir = 'data'\ncluster_id = \"ASNFZ4mrze_-3LqYdlQyEA\"\ndurability = \"replicated\"\n\
     [listener]\nlisten = \"0.0.0.0:9092\"\nadvertised = \"broker-1.example.org:9092\"\n\
     [admin]\nlisten = \"\"\n[log]\nlevel = \"info,highwater_broker=debug\"\nformat = \"json\"\n",
    "data_dir = \"d\"\n[kafka]\n\"num.partitions\" = 3\n\"log.retention.ms\" = -1\n\
     \"auto.create.topics.enable\" = true\n\"compression.type\" = \"zstd\"\n",
    "data_dir = \"d\"\n[kafka]\nnum.partitions = 3\nlog = { segment.bytes = 1_000_000, retention.bytes = 0x7fff }\n",
];

impl Target for Config {
    fn name(&self) -> &'static str {
        "config"
    }

    fn generate(&mut self, rng: &mut Rng) -> Vec<u8> {
        FILES[rng.random_range(0..FILES.len())].as_bytes().to_vec()
    }

    fn run(&mut self, input: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(input);
        if let Err(error) = FileConfig::parse(&text)
            && error.to_string().is_empty()
        {
            return Err("refused without a word".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_valid() {
        for file in FILES {
            FileConfig::parse(file).unwrap_or_else(|error| panic!("{file}\n{error}"));
        }
    }
}
