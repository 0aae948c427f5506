//! What an incarnation of the node does: a random sequence of actions on the store's logs.

use super::ghost::Ghost;
use super::history::{Opened, Shared, create_log, note_policy, open, rest, usable_logs};
use super::plan::{Ending, Incarnation, draw_config, pick};
use super::producer::{Patience, burst, lock};
use super::repair::{repair, repair_all, scrub};
use super::replica::replicate;
use super::verify::read_range;
use crate::executor::{SimEnv, Violation};
use highwater_env::{Env, Purpose, Rng, Task};
use highwater_log::{Log, LogConfig};
use highwater_types::{LogId, Offset};
use rand::RngExt;
use std::time::Duration;

/// The most logs of a history.
const MOST_LOGS: usize = 6;

/// The actions and their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Produce,
    Read,
    Rest,
    CleanUp,
    DeleteRecords,
    Roll,
    Configure,
    LimitSpace,
    Evict,
    FailWriteBack,
    JumpClock,
    CreateLog,
    DeleteLog,
    Truncate,
    Replicate,
    Restart,
    Scrub,
    Repair,
    Reopen,
}

const ACTIONS: [(Action, u32); 19] = [
    (Action::Produce, 60),
    (Action::Read, 12),
    (Action::Rest, 12),
    (Action::CleanUp, 5),
    (Action::DeleteRecords, 4),
    (Action::Roll, 3),
    (Action::Configure, 3),
    (Action::LimitSpace, 2),
    (Action::Evict, 3),
    (Action::FailWriteBack, 1),
    (Action::JumpClock, 2),
    (Action::CreateLog, 1),
    (Action::DeleteLog, 1),
    (Action::Truncate, 2),
    (Action::Replicate, 10),
    (Action::Restart, 1),
    (Action::Scrub, 3),
    (Action::Repair, 6),
    (Action::Reopen, 2),
];

fn draw(rng: &mut Rng) -> Action {
    let total: u32 = ACTIONS.iter().map(|(_, weight)| weight).sum();
    let mut point = rng.random_range(0..total);
    for (action, weight) in ACTIONS {
        if point < weight {
            return action;
        }
        point -= weight;
    }
    Action::Produce
}

/// Works through an incarnation's actions. What was not waited for goes on until the node ends.
pub async fn run(shared: &Shared, opened: Opened, incarnation: &Incarnation) -> Result<(), Violation> {
    let env = opened.context.env.clone();
    let mut worker = Worker { shared, opened, rng: env.entropy(Purpose::User(3)), bursts: Vec::new() };
    let faulty = incarnation.rates != crate::disk::FaultRates::default();
    let logs = usable_logs(worker.shared, &worker.opened);
    if logs.iter().any(|log| !log.damaged().is_empty()) && worker.rng.random_bool(0.5) {
        repair_all(shared, &worker.opened.context, &logs, &mut worker.rng).await?;
    }
    for _ in 0..incarnation.actions {
        let action = draw(&mut worker.rng);
        let harmful = matches!(action, Action::LimitSpace | Action::FailWriteBack);
        if !harmful || faulty {
            worker.act(action).await?;
        }
    }
    let patient = worker.rng.random_bool(0.5);
    if patient {
        worker.wait_for_bursts().await;
    }
    if incarnation.ending == Ending::Close {
        worker.opened.context.disk.set_capacity(None);
        let _ = worker.opened.store.close().await;
    }
    Ok(())
}

struct Worker<'a> {
    shared: &'a Shared,
    opened: Opened,
    rng: Rng,
    bursts: Vec<Task>,
}

impl Worker<'_> {
    fn env(&self) -> &SimEnv {
        &self.opened.context.env
    }

    /// One of the logs, if there is any.
    fn some_log(&mut self) -> Option<Log<SimEnv>> {
        let logs = usable_logs(self.shared, &self.opened);
        if logs.is_empty() { None } else { Some(pick(&mut self.rng, &logs).clone()) }
    }

    async fn wait_for_bursts(&mut self) {
        for task in self.bursts.drain(..) {
            task.await;
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Produce => self.produce().await,
            Action::Read => self.read().await?,
            Action::Rest => {
                let most = *pick(&mut self.rng, &[1, 20, 2_000]);
                rest(&self.opened.context.env, Duration::from_millis(most), &mut self.rng).await;
            }
            Action::CleanUp => {
                self.opened.store.clean_up(|_| None).await;
            }
            Action::DeleteRecords => self.delete_records().await,
            Action::Roll => {
                if let Some(log) = self.some_log() {
                    let _ = log.roll_if_due(self.env().clock().wall()).await;
                }
            }
            Action::Configure => self.configure().await,
            Action::LimitSpace => {
                let disk = &self.opened.context.disk;
                let room = self.rng.random_range(0..16_384);
                disk.set_capacity(self.rng.random_bool(0.6).then(|| disk.used_bytes() + room));
            }
            Action::Evict => self.opened.context.disk.evict(None),
            Action::FailWriteBack => {
                let disk = &self.opened.context.disk;
                let files: Vec<_> = disk.live_files().into_keys().collect();
                if !files.is_empty() {
                    let _ = disk.fail_writeback(pick(&mut self.rng, &files).as_path());
                }
            }
            Action::JumpClock => {
                let by_ms = *pick(&mut self.rng, &[-3_600_000, -100, 100, 3_600_000, 86_400_000]);
                self.env().jump_clock(by_ms);
            }
            Action::CreateLog => self.create_log().await,
            Action::DeleteLog => self.delete_log().await,
            Action::Truncate => self.truncate().await?,
            Action::Replicate => self.replicate().await?,
            Action::Restart => self.restart().await?,
            Action::Scrub => {
                if let Some(log) = self.some_log() {
                    scrub(&log, &mut self.rng).await;
                }
            }
            Action::Repair => self.repair().await?,
            Action::Reopen => self.reopen().await?,
        }
        Ok(())
    }

    async fn produce(&mut self) {
        let Some(log) = self.some_log() else { return };
        let producers = self.shared.producers_of(log.id());
        if producers.is_empty() {
            return;
        }
        let producer = pick(&mut self.rng, &producers).clone();
        if !lock(&producer).begin() {
            return;
        }
        let env = self.env().clone();
        let rng = env.entropy(Purpose::User(4));
        let task = env.spawn("burst", burst(self.opened.context.clone(), log, producer, rng));
        if self.rng.random_bool(0.5) {
            task.await;
        } else {
            self.bursts.push(task);
        }
    }

    /// Reads what is synced, and no more: that is what a consumer sees.
    async fn read(&mut self) -> Result<(), Violation> {
        let Some(log) = self.some_log() else { return Ok(()) };
        let (start, end) = (log.start_offset(), log.synced_end());
        if start >= end || log.is_poisoned() {
            return Ok(());
        }
        let from = Offset(self.rng.random_range(start.0..end.0));
        let up_to = Offset(self.rng.random_range(from.0 + 1..=end.0));
        // A batch is served whole or not at all.
        let up_to =
            if self.rng.random_bool(0.5) { end } else { whole(&self.shared.ghost(), log.id(), up_to) };
        if up_to > from {
            read_range(&self.opened.context, &log, from, up_to).await?;
        }
        Ok(())
    }

    async fn delete_records(&mut self) {
        let Some(log) = self.some_log() else { return };
        let (start, end) = (log.start_offset(), log.synced_end());
        let up_to =
            if self.rng.random_bool(0.2) { end } else { Offset(self.rng.random_range(start.0..=end.0)) };
        self.shared.delete_records(&log, up_to).await;
    }

    async fn configure(&mut self) {
        let Some(log) = self.some_log() else { return };
        let config: LogConfig = draw_config(&mut self.rng);
        self.shared.with_log(log.id(), |ghost| note_policy(ghost, &config));
        self.shared.configs().insert(log.id(), config.clone());
        log.set_config(config).await;
    }

    async fn create_log(&mut self) {
        if self.shared.configs().len() >= MOST_LOGS {
            return;
        }
        let config = draw_config(&mut self.rng);
        let id = self.shared.expect_log(config.clone());
        if let Some(log) = create_log(self.shared, &self.opened, id, config).await {
            let _ = log.start_epoch(self.opened.context.epoch).await;
        }
    }

    async fn delete_log(&mut self) {
        let logs = usable_logs(self.shared, &self.opened);
        if logs.len() < 2 {
            return;
        }
        let log = pick(&mut self.rng, &logs).id();
        self.shared.with_log(log, |ghost| ghost.deleted = true);
        if self.opened.store.delete_log(log).await.is_ok() {
            self.shared.with_log(log, |ghost| ghost.deletion_confirmed = true);
        }
    }

    async fn truncate(&mut self) -> Result<(), Violation> {
        let Some(log) = self.some_log() else { return Ok(()) };
        let (start, end) = (log.start_offset(), log.end_offset());
        let to = Offset(self.rng.random_range(start.0..=end.0));
        self.shared.truncate(&mut self.opened, &log, to).await
    }

    async fn replicate(&mut self) -> Result<(), Violation> {
        let Some(log) = self.some_log() else { return Ok(()) };
        let count = self.rng.random_range(1..8);
        let patience = *pick(&mut self.rng, &[Patience::AtTheEnd, Patience::Never]);
        replicate(self.shared, &mut self.opened, &log, &mut self.rng, count, patience).await
    }

    /// Empties a log, which goes on anywhere.
    async fn restart(&mut self) -> Result<(), Violation> {
        let Some(log) = self.some_log() else { return Ok(()) };
        let (start, end) = (log.start_offset(), log.end_offset());
        let within = Offset(self.rng.random_range(start.0..=end.0));
        let ahead = end.plus(self.rng.random_range(0..50));
        let behind = Offset(self.rng.random_range(0..=start.0));
        let to = *pick(&mut self.rng, &[ahead, ahead, within, start, behind]);
        self.shared.restart_log(&mut self.opened, &log, to).await
    }

    async fn repair(&mut self) -> Result<(), Violation> {
        let logs = usable_logs(self.shared, &self.opened);
        let damaged = logs.iter().find(|log| !log.damaged().is_empty()).cloned();
        let Some(log) = damaged.or_else(|| self.some_log()) else { return Ok(()) };
        repair(self.shared, &self.opened.context, &log, &mut self.rng).await
    }

    /// Closes the store and opens it again within the process, if a log of it has failed or just so.
    async fn reopen(&mut self) -> Result<(), Violation> {
        let failed = self.opened.store.logs().iter().any(Log::is_poisoned);
        if !failed && self.rng.random_bool(0.5) {
            return Ok(());
        }
        if self.rng.random_bool(0.5) {
            self.wait_for_bursts().await;
        }
        let _ = self.opened.store.close().await;
        self.wait_for_bursts().await;
        let (env, disk) = (self.env().clone(), self.opened.context.disk.clone());
        // A store that is opened while the clock is ahead cannot tell.
        env.reset_clock();
        self.opened = open(self.shared, &env, &disk).await?;
        Ok(())
    }
}

/// The end of the last batch that ends at or before an offset.
fn whole(ghost: &Ghost, log: LogId, up_to: Offset) -> Offset {
    let Some(known) = ghost.logs.get(&log) else { return up_to };
    match known.batch_at(up_to) {
        Some((base, _)) => base,
        None => up_to,
    }
}
