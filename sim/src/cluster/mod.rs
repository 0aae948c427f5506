//! A simulated cluster for the tests of an application: brokers, the application's own processes, and faults.
//!
//! What a test writes is in [`Cluster`]. An application is code over `highwater_client` and an environment, which runs
//! on a machine of its own, crashes, loses power and starts again. When the time is up everything heals, and the
//! test's check looks at what came of it. [`seeds`] does that for many seeds.
//!
//! ```
//! use highwater_client::{Client, ClientConfig, ClientError, Producer, ProducerConfig, ProducerRecord};
//! use highwater_env::{Env, sleep};
//! use highwater_sim::{Cluster, Faults, Healed, Report, SimEnv, TestFailure};
//! use std::time::Duration;
//!
//! /// The application: what it does to its cluster is the same in production, over another environment.
//! async fn greeter<E: Env>(env: E, bootstrap: Vec<String>) -> Result<(), ClientError> {
//!     let client = Client::connect(env.clone(), ClientConfig::new(bootstrap)).await?;
//!     let producer = Producer::new(client, ProducerConfig::default())?;
//!     loop {
//!         producer.send(ProducerRecord::new("greetings", "hello")).await?.await?;
//!         sleep(env.clock(), Duration::from_millis(100)).await;
//!     }
//! }
//!
//! /// What must hold when all faults are over.
//! async fn something_was_said(healed: Healed) -> Result<(), String> {
//!     let client = Client::connect(healed.env(), ClientConfig::new(healed.bootstrap()));
//!     let client = client.await.map_err(|error| error.to_string())?;
//!     let topic = client.topic("greetings", false).await.map_err(|error| error.to_string())?;
//!     if topic.partitions.len() == 1 { Ok(()) } else { Err("a partition is missing".to_owned()) }
//! }
//!
//! fn test(seed: u64) -> Result<Report, TestFailure> {
//!     let mut test = Cluster::builder().topic("greetings", 1).faults(Faults::usual()).build(seed);
//!     let bootstrap = test.bootstrap();
//!     test.application("greeter", move |env: SimEnv| greeter(env, bootstrap.clone()));
//!     test.check(something_was_said);
//!     test.run(Duration::from_secs(5))
//! }
//!
//! highwater_sim::seeds(2, test).unwrap();
//! ```
//!
//! Architecture invariant: faults, nodes and checkers are those of [`crate::world`]; here is only what an application
//! adds to them.

mod applications;
mod builder;
mod exit;
mod failure;
mod faults;
mod healed;
mod report;
mod rig;
mod seeds;

pub use builder::ClusterBuilder;
pub use exit::Exit;
pub use failure::TestFailure;
pub use faults::Faults;
pub use healed::Healed;
pub use report::Report;
pub use seeds::seeds;

use crate::executor::{SimEnv, Simulation};
use crate::world;
use applications::Program;
use rig::{Check, Rig};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A simulated cluster, the applications that use it, and what must hold in the end. One seed decides everything.
///
/// See the [module](self) for an example.
pub struct Cluster {
    settings: ClusterBuilder,
    seed: u64,
    programs: Vec<(String, Program)>,
    check: Option<Check>,
}

impl Cluster {
    /// One broker without topics and without faults, to be changed.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    pub(crate) fn new(settings: ClusterBuilder, seed: u64) -> Self {
        Self { settings, seed, programs: Vec::new(), check: None }
    }

    /// Where applications find the brokers: what `ClientConfig::new` wants.
    pub fn bootstrap(&self) -> Vec<String> {
        let spec = &self.settings.spec;
        let brokers = usize::try_from(spec.brokers).unwrap_or(usize::MAX);
        world::ids(spec)
            .take(brokers)
            .map(|id| format!("{}:{}", world::host(id, spec), world::PORT))
            .collect()
    }

    /// Adds an application: a machine of that name, with a disk of its own, and the program that it runs.
    ///
    /// The program is called at each start: once the topics are there, and again after each crash and power loss, as
    /// a process is started by its init system. What it knows then is what it finds on its disk and in the cluster. It
    /// reaches time, disk, network, tasks and randomness through the environment it is given, and nothing else.
    ///
    /// A program that returns an error is started again half a second later. One that returns without an error is done
    /// and not started any more. One that panics fails the test.
    pub fn application<F, O>(&mut self, name: &str, program: impl Fn(SimEnv) -> F + Send + Sync + 'static)
    where
        F: Future<Output = O> + Send + 'static,
        O: Exit,
    {
        let program: Program = Arc::new(move |env| {
            let running = program(env);
            Box::pin(async move { running.await.into_result() })
        });
        self.programs.push((name.to_owned(), program));
    }

    /// Says what must hold at the end. It is called when the time is up and everything has healed: disks, links and
    /// clocks are right, the brokers serve, and the applications run. An error or a panic fails the test; the error's
    /// text should be the expectation that was not met, as a sentence.
    ///
    /// The last one that is given counts.
    pub fn check<F, O>(&mut self, check: impl FnOnce(Healed) -> F + Send + 'static)
    where
        F: Future<Output = O> + Send + 'static,
        O: Exit,
    {
        self.check = Some(Box::new(move |healed| {
            let running = check(healed);
            Box::pin(async move { running.await.into_result() })
        }));
    }

    /// Lets applications work and faults happen for so long, in simulated time; then heals everything and checks.
    ///
    /// # Errors
    ///
    /// When the check fails, an application panics, the cluster breaks one of its own promises, or the cluster cannot
    /// be set up as it was asked for.
    pub fn run(self, duration: Duration) -> Result<Report, TestFailure> {
        let Self { settings, seed, programs, check } = self;
        let simulation = Simulation::on(settings.engine, seed);
        if let Some(events) = settings.trace {
            simulation.trace(events);
        }
        let traced = settings.trace.is_some();
        let rig = match Rig::new(&simulation, settings, programs, duration) {
            Ok(rig) => rig,
            Err(why) => return Err(TestFailure::set_up(seed, why)),
        };
        let result = simulation.run(rig.run(check));
        let mut report = rig.report(seed);
        if traced || result.is_err() {
            report.story = simulation.notes();
            report.events = simulation.recent_events();
        }
        match result {
            Ok(()) => Ok(report),
            Err(failure) => Err(TestFailure::new(failure, report)),
        }
    }
}

#[cfg(test)]
mod tests;
