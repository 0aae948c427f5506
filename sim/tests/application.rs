//! An application with a bug in a simulated cluster, as its authors would test it: the bug is found, its seed repeats
//! it, and without the bug the same seeds find nothing.
#![allow(clippy::unwrap_used)] // All of it is tests.

mod payments;

use anyhow::{Result, ensure};
use highwater_client::{Client, ClientConfig};
use highwater_env::{Env, sleep};
use highwater_sim::{Cluster, Faults, Healed, Report, SimEnv, TestFailure, seeds};
use highwater_types::PartitionIndex;
use payments::{PARTITIONS, TOPIC, amount, consumer_from, hasty_ledger, ledger, payer, stored_total};
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 50;

/// What was paid, by the topic itself.
async fn paid(healed: &Healed) -> Result<u64> {
    let client = Client::connect(healed.env(), ClientConfig::new(healed.bootstrap())).await?;
    let mut consumer = consumer_from(client, &BTreeMap::new())?;
    let mut total = 0;
    for partition in (0..PARTITIONS).map(PartitionIndex) {
        let end = consumer.end_offset(TOPIC, partition).await?;
        while consumer.position(TOPIC, partition).is_none_or(|position| position < end) {
            for payment in consumer.poll(Duration::from_secs(1)).await? {
                total += amount(&payment)?;
            }
        }
    }
    Ok(total)
}

/// What must hold when all faults are over.
async fn every_payment_is_counted(healed: Healed) -> Result<()> {
    healed.stop("payer").await;
    // A payment may be on its way still.
    sleep(healed.env().clock(), Duration::from_secs(5)).await;
    let paid = paid(&healed).await?;
    let counted_all = || async {
        let counted = stored_total(&healed.disk("ledger")).await?;
        ensure!(
            counted == paid,
            "the ledger should have counted all {paid} that were paid, and has {counted}"
        );
        Ok(())
    };
    healed.eventually(Duration::from_secs(120), counted_all).await
}

fn test_hasty_ledger(seed: u64) -> Result<Report, TestFailure> {
    let mut test = Cluster::builder().topic(TOPIC, 2).faults(Faults::usual()).build(seed);
    let (payers, ledgers) = (test.bootstrap(), test.bootstrap());
    test.application("payer", move |env: SimEnv| payer(env, payers.clone()));
    test.application("ledger", move |env: SimEnv| hasty_ledger(env, ledgers.clone()));
    test.check(every_payment_is_counted);
    test.run(Duration::from_secs(30))
}

fn test_ledger(seed: u64) -> Result<Report, TestFailure> {
    let mut test = Cluster::builder().topic(TOPIC, 2).faults(Faults::usual()).build(seed);
    let (payers, ledgers) = (test.bootstrap(), test.bootstrap());
    test.application("payer", move |env: SimEnv| payer(env, payers.clone()));
    test.application("ledger", move |env: SimEnv| ledger(env, ledgers.clone()));
    test.check(every_payment_is_counted);
    test.run(Duration::from_secs(30))
}

#[test]
fn the_ledger_counts_every_payment() -> Result<(), TestFailure> {
    let reports = seeds(SEEDS, test_ledger)?;
    let hit = reports.iter().filter(|report| report.starts["ledger"] > 1).count();
    // The environment may ask for a single seed, of which that need not be so.
    let enough = reports.len() < 10 || hit * 2 >= reports.len();
    assert!(enough, "the ledger was restarted in {hit} of {} seeds only", reports.len());
    Ok(())
}

#[test]
fn the_bug_of_the_hasty_ledger_is_found_and_repeated() {
    let failure = seeds(SEEDS, test_hasty_ledger).unwrap_err();
    let told = failure.to_string();
    assert!(failure.expectation().starts_with("the ledger should have counted all"), "{told}");
    assert_eq!(failure.test.as_deref(), Some("the_bug_of_the_hasty_ledger_is_found_and_repeated"));
    assert!(told.contains(&format!("HIGHWATER_SEED={} cargo test the_bug_of", failure.seed())), "{told}");
    let again = test_hasty_ledger(failure.seed()).unwrap_err();
    assert_eq!(again, failure, "the seed gives another run");
    assert!(test_ledger(failure.seed()).is_ok());
}

/// The chapter shows this test and its application, and no other code.
#[test]
fn the_chapter_shows_this_code() {
    let chapter = include_str!("../../docs/TESTING-YOUR-APPLICATION.md");
    let code = [include_str!("application.rs"), include_str!("payments/mod.rs")];
    let mut blocks = 0;
    for block in chapter.split("```rust\n").skip(1) {
        let block = block.split("```").next().unwrap();
        assert!(
            code.iter().any(|code| code.contains(block)),
            "the code has changed, or this is none:\n{block}"
        );
        blocks += 1;
    }
    assert_eq!(blocks, 6);
}
