//! Whatever members do: every request is answered once, no partition has two owners in one generation, and a
//! coordinator made from the log knows what the one before it knew.

use crate::Answer;
use crate::testing::{Bench, Who, new, short};
use highwater_wire::ErrorCode;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CLIENTS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    /// A client does what its protocol asks for next.
    Act(usize),
    /// A client forgets who it was.
    Restart(usize),
    /// A client takes itself for who it was before.
    Zombie(usize),
    Leave(usize),
    Commit(usize),
    Pass(u64),
    Hold(bool),
    FailWrite,
    /// The coordinator moves.
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS.len();
    prop_oneof![
        12 => client.clone().prop_map(Step::Act),
        1 => client.clone().prop_map(Step::Restart),
        1 => client.clone().prop_map(Step::Zombie),
        1 => client.clone().prop_map(Step::Leave),
        4 => client.prop_map(Step::Commit),
        3 => prop_oneof![Just(100), Just(3_000), Just(6_000), Just(12_000)].prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => Just(Step::FailWrite),
        1 => Just(Step::Reload),
    ]
}

/// A client as it takes itself to be.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    generation: i32,
    /// The members to assign to, if it leads.
    members: Vec<String>,
    /// It joined and has no assignment yet.
    joined: bool,
    /// The request that it waits for.
    waits: Option<u64>,
    before: Option<(String, i32)>,
}

struct Run {
    bench: Bench,
    clients: Vec<Client>,
    /// Requests without an answer, and whose they are.
    open: BTreeMap<u64, usize>,
    /// Who was assigned what in each generation.
    owners: BTreeMap<(i32, String), String>,
    /// The highest offset that was acknowledged.
    acknowledged: BTreeMap<&'static str, i64>,
    next_offset: i64,
    offsets: BTreeMap<u64, (usize, i64)>,
}

impl Run {
    fn who(&self, index: usize) -> Who {
        // Every second client is a static member.
        let instance = (index % 2 == 1).then_some(CLIENTS[index]);
        let id = self.clients[index].id.clone();
        Who { id: Box::leak(id.into_boxed_str()), instance, ..new(CLIENTS[index]) }
    }

    fn act(&mut self, index: usize) {
        if self.clients[index].waits.is_some() {
            return;
        }
        let who = self.who(index);
        let client = &self.clients[index];
        let (generation, joined) = (client.generation, client.joined);
        let token = if who.id.is_empty() || generation == 0 {
            self.bench.join(who)
        } else if joined {
            let members = client.members.clone();
            let assignments: Vec<(&str, &'static str)> = members
                .iter()
                .enumerate()
                .map(|(at, id)| (id.as_str(), ["0", "1", "2", "3", "4", "5", "6", "7"][at % 8]))
                .collect();
            self.bench.sync(who, generation, &assignments)
        } else {
            self.bench.heartbeat(who, generation)
        };
        self.open.insert(token, index);
        self.clients[index].waits = Some(token);
    }

    fn settle(&mut self) {
        for (token, answer) in self.bench.take_answers() {
            let index = self.open.remove(&token).expect("a request is answered once");
            let client = &mut self.clients[index];
            let awaited = client.waits == Some(token);
            if awaited {
                client.waits = None;
            }
            match answer {
                Answer::Join(response) if awaited => match response.error_code {
                    ErrorCode::NONE => {
                        client.id = short(&response.member_id);
                        client.generation = response.generation_id;
                        client.members =
                            response.members.iter().map(|member| short(&member.member_id)).collect();
                        client.joined = true;
                    }
                    ErrorCode::MEMBER_ID_REQUIRED => client.id = short(&response.member_id),
                    ErrorCode::REBALANCE_IN_PROGRESS => {}
                    _ => *client = Client::default(),
                },
                Answer::Sync(response) if awaited => match response.error_code {
                    ErrorCode::NONE => {
                        client.joined = false;
                        let part = String::from_utf8_lossy(&response.assignment).into_owned();
                        if !part.is_empty() {
                            // A static member goes on under another id.
                            let owner =
                                if index % 2 == 1 { CLIENTS[index].to_owned() } else { client.id.clone() };
                            let before = self.owners.insert((client.generation, part), owner.clone());
                            assert!(before.is_none_or(|before| before == owner), "two owners");
                        }
                    }
                    ErrorCode::REBALANCE_IN_PROGRESS | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
                        client.generation = 0
                    }
                    _ => *client = Client::default(),
                },
                Answer::Heartbeat(code) if awaited => match code {
                    ErrorCode::NONE => {}
                    ErrorCode::REBALANCE_IN_PROGRESS => client.generation = 0,
                    _ => *client = Client::default(),
                },
                Answer::Commit(Ok(codes)) => {
                    assert_eq!(codes, [ErrorCode::NONE]);
                    let (_, offset) = self.offsets[&token];
                    let last = self.acknowledged.entry("topic").or_insert(offset);
                    *last = offset.max(*last);
                }
                _ => {}
            }
        }
    }

    fn reload(&mut self) {
        // What was not committed is gone with the coordinator; so are the connections.
        self.bench = self.bench.reloaded();
        self.open.clear();
        self.clients.iter_mut().for_each(|client| client.waits = None);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Act(index) => self.act(index),
            Step::Restart(index) => {
                let before = std::mem::take(&mut self.clients[index]);
                self.clients[index].before = Some((before.id, before.generation));
            }
            Step::Zombie(index) => {
                if let Some((id, generation)) =
                    self.clients[index].before.clone().filter(|(id, _)| !id.is_empty())
                {
                    let who = Who { id: Box::leak(id.into_boxed_str()), ..self.who(index) };
                    let token = self.bench.heartbeat(who, generation);
                    self.open.insert(token, index);
                }
            }
            Step::Leave(index) => {
                let token = self.bench.leave(self.who(index));
                self.open.insert(token, index);
                self.clients[index] = Client::default();
            }
            Step::Commit(index) => {
                self.next_offset += 1;
                let (who, generation) = (self.who(index), self.clients[index].generation);
                let (who, generation) = if who.id.is_empty() { (None, -1) } else { (Some(who), generation) };
                let token = self.bench.commit(who, generation, "topic", self.next_offset);
                self.offsets.insert(token, (index, self.next_offset));
                self.open.insert(token, index);
            }
            Step::Pass(ms) => self.bench.pass(ms),
            Step::Hold(hold) => {
                self.bench.hold = hold;
                self.bench.run();
            }
            Step::FailWrite if self.bench.is_writing() => {
                self.bench.fail_write(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            }
            Step::FailWrite => {}
            Step::Reload => self.reload(),
        }
        self.settle();
        assert_eq!(self.bench.offset("topic"), self.acknowledged.get("topic").copied());
    }
}

fn run(steps: &[Step]) -> Run {
    let mut run = Run {
        bench: Bench::new(),
        clients: vec![Client::default(); CLIENTS.len()],
        open: BTreeMap::new(),
        owners: BTreeMap::new(),
        acknowledged: BTreeMap::new(),
        next_offset: 0,
        offsets: BTreeMap::new(),
    };
    for step in steps {
        run.step(step);
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn groups_settle_and_are_the_same_after_a_reload(steps in proptest::collection::vec(step(), 0..120)) {
        let mut run = run(&steps);
        run.bench.hold = false;
        run.bench.run();
        run.settle();
        // All do what they should, for long enough.
        for _ in 0..80 {
            for index in 0..CLIENTS.len() {
                run.act(index);
                run.settle();
            }
            run.bench.pass(1_000);
            run.settle();
        }
        prop_assert!(run.open.is_empty(), "unanswered: {:?}", run.open);
        prop_assert_eq!(run.bench.state(), "Stable");
        let ids: BTreeSet<_> = run.clients.iter().map(|client| client.id.clone()).collect();
        let group = run.bench.core.describe(&crate::testing::GROUP.into(), 6);
        let members: BTreeSet<_> = group.members.iter().map(|member| short(&member.member_id)).collect();
        prop_assert_eq!(ids, members);
        let next = run.bench.reloaded();
        prop_assert_eq!(next.core.describe(&crate::testing::GROUP.into(), 6), group);
        prop_assert_eq!(next.offset("topic"), run.bench.offset("topic"));
    }
}
