//! What a check sees: the cluster when all faults are over.

use super::applications::Applications;
use crate::disk::SimDisk;
use crate::executor::SimEnv;
use highwater_env::{Env, sleep};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

/// How often something is tried that shall be so some day.
const GLANCE: Duration = Duration::from_millis(100);

/// The cluster when all faults are over, and a machine to look at it from.
#[derive(Clone)]
pub struct Healed {
    pub(super) env: SimEnv,
    pub(super) bootstrap: Vec<String>,
    pub(super) applications: Applications,
    pub(super) disks: BTreeMap<String, SimDisk>,
}

impl Healed {
    /// The environment of the check's own machine, which no fault ever hit.
    pub fn env(&self) -> SimEnv {
        self.env.clone()
    }

    /// Where the brokers are: what `ClientConfig::new` wants.
    pub fn bootstrap(&self) -> Vec<String> {
        self.bootstrap.clone()
    }

    /// The disk of an application, with what is in its page cache. Ask for it anew where the application may have been
    /// restarted: a disk is used by one process, and that of a dead one reports errors.
    ///
    /// # Panics
    ///
    /// When there is no application of that name.
    pub fn disk(&self, application: &str) -> SimDisk {
        let disk = self.disks.get(application);
        disk.unwrap_or_else(|| panic!("there is no application called {application}")).handle()
    }

    /// Kills an application and does not start it again.
    ///
    /// # Panics
    ///
    /// When there is no application of that name.
    pub async fn stop(&self, application: &str) {
        assert!(self.applications.ask_to_stop(application), "there is no application called {application}");
        while !self.applications.is_done(application) {
            sleep(self.env.clock(), GLANCE).await;
        }
    }

    /// Waits until something is so, and tries it again and again; applications need a while to catch up.
    ///
    /// # Errors
    ///
    /// The last error, if there is still one when the time is up.
    pub async fn eventually<F, T, E>(&self, within: Duration, mut attempt: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        let until = self.env.clock().now().after(within);
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) if self.env.clock().now() >= until => return Err(error),
                Err(_) => sleep(self.env.clock(), GLANCE).await,
            }
        }
    }
}
