//! The applications of a test: programs on machines of their own, which are started again when they have died.

use crate::executor::{NodeId, SimEnv, Simulation};
use crate::world::Nodes;
use highwater_env::Env;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How often the supervisor looks.
const ROUND: Duration = Duration::from_millis(50);
/// How long an init system waits before it starts a process again that ended with an error.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// What a program does from a start to its end.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
/// A program: each call is a start.
pub(super) type Program = Arc<dyn Fn(SimEnv) -> Running + Send + Sync>;

/// Where an application's process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Process {
    /// It is dead, or was never started; whoever killed it starts it again.
    Gone,
    Running,
    /// It has ended by itself; what is left of it has not.
    Ended(Result<(), String>),
    /// It ended with an error, and is started again at this time.
    Due(Duration),
    /// The test does not want it any more.
    Unwanted,
    /// It is not started again.
    Done,
}

struct Application {
    name: String,
    node: NodeId,
    program: Program,
    process: Process,
    /// Which process it is: word of an older one counts for nothing.
    run: u64,
}

/// The applications of a test. A cheap handle.
#[derive(Clone)]
pub(super) struct Applications(Arc<Mutex<Vec<Application>>>);

impl Applications {
    /// Makes the machines. Nothing runs yet.
    pub(super) fn new(simulation: &Simulation, nodes: &Nodes, programs: Vec<(String, Program)>) -> Self {
        let applications = programs.into_iter().map(|(name, program)| {
            let node = nodes.add_named_client(simulation, &name).node();
            Application { name, node, program, process: Process::Gone, run: 0 }
        });
        let all = Self(Arc::new(Mutex::new(applications.collect())));
        let starter = all.clone();
        nodes.on_client_start(move |simulation, node| starter.start(simulation, node));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Application>> {
        self.0.lock().expect("no code panics while it holds the applications")
    }

    /// Their machines, by name.
    pub(super) fn machines(&self) -> Vec<(String, NodeId)> {
        self.lock().iter().map(|application| (application.name.clone(), application.node)).collect()
    }

    /// How often each was started.
    pub(super) fn starts(&self) -> BTreeMap<String, u64> {
        self.lock().iter().map(|application| (application.name.clone(), application.run)).collect()
    }

    pub(super) fn start_all(&self, simulation: &Simulation) {
        self.machines().into_iter().for_each(|(_, node)| self.start(simulation, node));
    }

    /// Starts what runs on a machine, unless it runs or is done.
    fn start(&self, simulation: &Simulation, node: NodeId) {
        let (program, run) = {
            let mut all = self.lock();
            let Some(application) = all.iter_mut().find(|known| known.node == node) else { return };
            if !matches!(application.process, Process::Gone | Process::Due(_)) {
                return;
            }
            application.process = Process::Running;
            application.run += 1;
            simulation.note(&format!("start {} of {}", application.run, application.name));
            (Arc::clone(&application.program), application.run)
        };
        let env = simulation.restart(node);
        let word = Word { applications: self.clone(), node, run, process: Some(Process::Gone) };
        let own = env.clone();
        env.spawn("application", async move {
            let result = program(own).await;
            word.ended(result);
        })
        .detach();
    }

    /// Asks for the end of an application, for good; false if there is none of that name.
    pub(super) fn ask_to_stop(&self, name: &str) -> bool {
        let mut all = self.lock();
        let Some(application) = all.iter_mut().find(|known| known.name == name) else { return false };
        if application.process != Process::Done {
            application.process = Process::Unwanted;
        }
        true
    }

    /// Whether an application is not started again.
    pub(super) fn is_done(&self, name: &str) -> bool {
        self.lock().iter().any(|known| known.name == name && known.process == Process::Done)
    }

    /// Starts again what ended with an error, and ends what shall end. Never ends.
    pub(super) async fn supervise(&self, simulation: &Simulation) {
        loop {
            for (name, node) in self.machines() {
                self.look_after(simulation, &name, node);
            }
            simulation.sleep(ROUND).await;
        }
    }

    fn look_after(&self, simulation: &Simulation, name: &str, node: NodeId) {
        let now = simulation.now();
        let found = self.lock().iter().find(|known| known.node == node).map(|known| known.process.clone());
        let next = match found {
            Some(Process::Due(at)) if at <= now => return self.start(simulation, node),
            Some(Process::Ended(Ok(()))) => {
                simulation.note(&format!("{name} is done"));
                Process::Done
            }
            Some(Process::Ended(Err(why))) => {
                simulation.note(&format!("{name} ends with an error: {why}"));
                Process::Due(now + RESTART_PAUSE)
            }
            Some(Process::Unwanted) => {
                simulation.note(&format!("{name} is stopped for good"));
                Process::Done
            }
            _ => return,
        };
        self.set(node, next);
        // What is left of a process goes with it: the tasks that it had started.
        simulation.crash(node);
    }

    fn set(&self, node: NodeId, process: Process) {
        if let Some(application) = self.lock().iter_mut().find(|known| known.node == node) {
            application.process = process;
        }
    }
}

/// Tells of the end of a process, however it came about: a process that is killed is dropped.
struct Word {
    applications: Applications,
    node: NodeId,
    run: u64,
    process: Option<Process>,
}

impl Word {
    /// The process has ended by itself.
    fn ended(mut self, result: Result<(), String>) {
        self.process = Some(Process::Ended(result));
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        let mut all = self.applications.lock();
        let running = all.iter_mut().find(|known| known.node == self.node);
        if let Some(running) =
            running.filter(|known| known.run == self.run && known.process == Process::Running)
        {
            running.process = process;
        }
    }
}
