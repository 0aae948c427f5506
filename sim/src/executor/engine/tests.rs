//! The same small program on every engine: it must meet the same faults and come to the same end.

use super::EngineKind;
use crate::disk::PowerRates;
use crate::executor::{Link, SimEnv, Simulation};
use highwater_env::{Env, Event, Listener, Network, timeout};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 9092;
const DEADLINE: Duration = Duration::from_secs(3);

/// Answers what comes with the same bytes.
fn serve(env: &SimEnv) {
    let server = env.clone();
    let task = async move {
        let listener = server.network().listen(([0, 0, 0, 0], PORT).into()).await.unwrap();
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let echo = async move {
                let mut buffer = [0; 100];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            };
            server.spawn("echo", echo).detach();
        }
    };
    env.spawn("server", task).detach();
}

/// Sends a number over and over on one connection; a new one whenever that fails. Notes each change of luck.
fn ask(env: &SimEnv, luck: &Arc<Mutex<Vec<&'static str>>>) {
    let (client, luck) = (env.clone(), luck.clone());
    let note = move |what: &'static str| {
        let mut luck = luck.lock().unwrap();
        if luck.last() != Some(&what) {
            luck.push(what);
        }
    };
    let task = async move {
        loop {
            let connected = async {
                let target = client.network().resolve("server", PORT).await?[0];
                client.network().connect(target).await
            };
            let Ok(Ok(mut stream)) = timeout(client.clock(), DEADLINE, connected).await else {
                note("no connection");
                highwater_env::sleep(client.clock(), Duration::from_millis(100)).await;
                continue;
            };
            loop {
                let call = async {
                    stream.write_all(b"hello").await?;
                    let mut answer = [0; 5];
                    stream.read_exact(&mut answer).await?;
                    assert_eq!(&answer, b"hello");
                    io::Result::Ok(())
                };
                let ended = timeout(client.clock(), DEADLINE, call).await;
                client.observe(&Event::Reached("call"));
                match ended {
                    Ok(Ok(())) => note("answered"),
                    Ok(Err(_)) => break note("broken"),
                    Err(_) => break note("silent"),
                }
                highwater_env::sleep(client.clock(), Duration::from_millis(20)).await;
            }
        }
    };
    env.spawn("client", task).detach();
}

/// Crashes the server, cuts its power, holds and resets its connections; returns what the client met, and the hash.
fn run(kind: EngineKind, seed: u64) -> (Vec<&'static str>, u64) {
    let simulation = Simulation::on(kind, seed);
    let server = simulation.node("server");
    let client = simulation.node("client");
    let (server, luck): (_, Arc<Mutex<Vec<_>>>) = (server.node(), Arc::default());
    ask(&client, &luck);
    let wait = |seconds| simulation.sleep(Duration::from_secs(seconds));
    let start = || serve(&simulation.restart(server));
    let heard = |what: &[&str]| {
        let met = std::mem::take(&mut *luck.lock().unwrap());
        // An answer may have been under way.
        let under_way = usize::from(met.len() > what.len() && met[0] == "answered");
        assert_eq!(&met[under_way..], what, "{kind}, seed {seed}");
    };
    let met = luck.clone();
    simulation.block_on(async {
        wait(1).await;
        heard(&["no connection"]);
        start();
        wait(1).await;
        heard(&["answered"]);

        simulation.crash(server);
        wait(1).await;
        heard(&["broken", "no connection"]);
        start();
        wait(1).await;
        heard(&["answered"]);

        let link = Link { blocked: true, ..Link::default() };
        simulation.set_link(server, client.node(), link);
        wait(2).await;
        heard(&[]);
        simulation.set_link(server, client.node(), Link::default());
        wait(1).await;
        heard(&["answered"]);

        simulation.reset_connections(server, client.node());
        wait(1).await;
        heard(&["broken", "answered"]);

        // Nobody says that a machine has lost power; a deadline, or the machine when it is back, tells.
        simulation.power_loss(server, PowerRates::DROP_ALL);
        wait(4).await;
        {
            // An answer may have been under way.
            let mut met = luck.lock().unwrap();
            met.retain(|&what| what != "answered");
            let first = if kind.has_half_open_connections() { "silent" } else { "broken" };
            assert_eq!(met.first(), Some(&first), "{kind}, seed {seed}");
        }
        start();
        wait(4).await;
    });
    (met.lock().unwrap().clone(), simulation.hash())
}

#[test]
fn nodes_meet_the_same_on_every_engine() {
    for &kind in EngineKind::ALL {
        let mut hashes = Vec::new();
        for seed in 1..=10 {
            let (met, hash) = run(kind, seed);
            assert_eq!(met.last(), Some(&"answered"), "{kind}, seed {seed}");
            assert_eq!(run(kind, seed), (met, hash), "{kind}: one seed is one run");
            hashes.push(hash);
        }
        hashes.dedup();
        assert_eq!(hashes.len(), 10, "{kind}: seeds differ");
    }
}

#[test]
fn ready_tasks_of_a_node_run_in_any_order() {
    for &kind in EngineKind::ALL {
        let order = |seed| {
            let simulation = Simulation::on(kind, seed);
            let env = simulation.node("a");
            let order = Arc::new(Mutex::new(Vec::new()));
            for number in 0..5 {
                let order = order.clone();
                env.spawn("task", async move { order.lock().unwrap().push(number) }).detach();
            }
            simulation.block_on(simulation.sleep(Duration::from_millis(10)));
            std::mem::take(&mut *order.lock().unwrap())
        };
        let orders: std::collections::BTreeSet<Vec<u32>> = (0..30).map(order).collect();
        assert!(orders.len() > 15, "{kind}: {orders:?}");
    }
}
