//! Whatever members of both protocols do, in whichever state the group is: no partition is with two of them, what was
//! acknowledged is kept, and a coordinator made from the log stands where the one before it stood.

use super::bench::{Bench, Key, Member, SESSION_MS, state};
use crate::consumer::tests::World;
use crate::testing::GROUP;
use crate::topics::Topics;
use crate::{Answer, MigrationPolicy};
use bytes::Bytes;
use highwater_types::PartitionIndex;
use highwater_wire::ErrorCode;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    /// A client does what its protocol asks for next.
    Act(usize),
    Leave(usize),
    /// A client crashes, and is started again.
    Restart(usize),
    /// A client crashes, and is started again with the other protocol.
    Switch(usize),
    Commit(usize),
    /// Somebody says what makes no sense.
    Garbage(Vec<u8>),
    Pass(u64),
    Grow,
    Hold(bool),
    FailWrite,
    /// The coordinator moves.
    Reload,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..4usize;
    prop_oneof![
        24 => client.clone().prop_map(Step::Act),
        1 => client.clone().prop_map(Step::Leave),
        1 => client.clone().prop_map(Step::Restart),
        2 => client.clone().prop_map(Step::Switch),
        2 => client.prop_map(Step::Commit),
        1 => proptest::collection::vec(any::<u8>(), 0..24).prop_map(Step::Garbage),
        5 => prop_oneof![Just(100), Just(3_000), Just(3_000), Just(11_000)].prop_map(Step::Pass),
        1 => Just(Step::Grow),
        2 => any::<bool>().prop_map(Step::Hold),
        1 => Just(Step::FailWrite),
        1 => Just(Step::Reload),
    ]
}

struct Run {
    bench: Bench,
    members: Vec<Member>,
    lives: usize,
    commits: BTreeMap<u64, i64>,
    acknowledged: Option<i64>,
    reloads: u32,
}

impl Run {
    fn new(eager: bool, migration: MigrationPolicy) -> Self {
        let bench = Bench::new(World::default().with("t", 5).with("u", 2), migration);
        let wants: [&[&str]; 4] = [&["t"], &["t", "u"], &["t", "u"], &["u", "t", "missing"]];
        let member = |(number, wants): (usize, &&[&str])| {
            let classic = number < 3;
            let instance = (number == 1).then(|| "i".into());
            Member { classic, eager, instance, ..Member::consumer(&format!("m{number}x0"), wants) }
        };
        let mut members: Vec<Member> = wants.iter().enumerate().map(member).collect();
        members.iter_mut().for_each(Member::forget);
        Self { bench, members, lives: 0, commits: BTreeMap::new(), acknowledged: None, reloads: 0 }
    }

    fn restart(&mut self, index: usize) {
        self.lives += 1;
        self.members[index].name = format!("m{index}x{}", self.lives);
        self.members[index].forget();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Act(index) => {
                self.members[index].act(&mut self.bench);
            }
            Step::Leave(index) => {
                self.bench.leave(&mut self.members[index]);
                self.restart(index);
            }
            Step::Restart(index) => self.restart(index),
            Step::Switch(index) => {
                self.members[index].classic ^= true;
                self.restart(index);
            }
            Step::Commit(index) => {
                let offset = self.acknowledged.unwrap_or_default() + self.commits.len() as i64 + 1;
                let token = self.bench.commit(&self.members[index], offset);
                self.commits.insert(token, offset);
            }
            Step::Garbage(bytes) => {
                let stranger = Member { id: "stranger".into(), ..Member::classic("stranger", &[]) };
                self.bench.join(&stranger, "consumer", &Bytes::from(bytes));
            }
            Step::Pass(ms) => self.bench.pass(ms),
            Step::Grow => {
                let (_, count) = self.bench.world.topic("t").expect("it is there");
                self.bench.world = self.bench.world.clone().with("t", (count + 1).min(8));
            }
            Step::Hold(hold) => {
                self.bench.hold = hold;
                self.bench.run();
            }
            Step::FailWrite => self.bench.fail_write(),
            Step::Reload => self.bench.reload(),
        }
        self.settle();
    }

    fn settle(&mut self) {
        if self.bench.reloads != self.reloads {
            self.reloads = self.bench.reloads;
            // The connections are gone.
            self.members.iter_mut().for_each(|member| member.waits = None);
            self.commits.clear();
            let kept = self.bench.core.offset(GROUP, "t", PartitionIndex(0)).map(|offset| offset.offset.0);
            assert!(kept >= self.acknowledged, "an acknowledged commit is lost");
            self.acknowledged = kept;
        }
        for member in &mut self.members {
            member.hear(&mut self.bench);
        }
        let open = std::mem::take(&mut self.commits);
        for (token, offset) in open {
            match self.bench.take(token) {
                Some(Answer::Commit(Ok(codes))) => {
                    assert_eq!(codes, [ErrorCode::NONE]);
                    self.acknowledged = self.acknowledged.max(Some(offset));
                }
                Some(_) => {}
                None => drop(self.commits.insert(token, offset)),
            }
        }
    }

    /// What each has that was heard of within a session.
    fn owners(&self) -> Result<BTreeMap<Key, &str>, String> {
        let mut owners = BTreeMap::new();
        for member in &self.members {
            let alive = self.bench.now_ms - member.heard < SESSION_MS as u64;
            for key in member.owned.iter().filter(|_| alive) {
                if let Some(other) = owners.insert(key.clone(), member.name.as_str()) {
                    return Err(format!("{key:?} is with {other} and {}", member.name));
                }
            }
        }
        Ok(owners)
    }

    /// A coordinator made from the log at this point knows the same, but for what is under way.
    fn agrees(&self) -> Result<(), String> {
        let next = self.bench.replayed();
        let group = next.groups.get(GROUP);
        if let Some(group) = group
            && group.consumers.is_some()
            && !group.classic.members.is_empty()
        {
            return Err("the log tells of a group of both kinds".to_owned());
        }
        if !self.bench.held.is_empty() {
            return Ok(());
        }
        let (id, world) = (GROUP.into(), &self.bench.world);
        let (was, is) = (self.bench.core.describe_consumers(&id, world), next.describe_consumers(&id, world));
        if was != is {
            return Err(format!("{was:?}, and after a reload {is:?}"));
        }
        Ok(())
    }
}

fn go(eager: bool, migration: MigrationPolicy, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut run = Run::new(eager, migration);
    for step in steps {
        run.step(step);
        run.owners().map_err(TestCaseError::fail)?;
        run.agrees().map_err(TestCaseError::fail)?;
    }
    run.bench.hold = false;
    run.bench.run();
    run.settle();
    // All do what they should, for long enough.
    for _ in 0..90 {
        for index in 0..run.members.len() {
            run.members[index].act(&mut run.bench);
            run.settle();
            run.owners().map_err(TestCaseError::fail)?;
        }
        run.bench.pass(1_000);
        run.settle();
    }
    run.agrees().map_err(TestCaseError::fail)?;
    let world = &run.bench.world;
    let all: i32 = world.names().iter().filter_map(|name| world.topic(name)).map(|(_, count)| count).sum();
    let owned = run.owners().map_err(TestCaseError::fail)?.len();
    prop_assert_eq!(owned, all as usize, "{} {:?}", run.bench.state(), run.members);
    if migration == MigrationPolicy::Bidirectional {
        let kind = if run.members.iter().all(|member| member.classic) { "Classic" } else { "Consumer" };
        prop_assert_eq!(run.bench.state(), format!("{kind} Stable"));
        prop_assert_eq!(state(&run.bench.replayed()), format!("{kind} Stable"));
    }
    Ok(())
}

fn policy() -> impl Strategy<Value = MigrationPolicy> {
    // Without upgrades, members of the new protocol may have to wait for as long as there are others.
    prop_oneof![3 => Just(MigrationPolicy::Bidirectional), 1 => Just(MigrationPolicy::Upgrade)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nobody_has_what_another_has_in_whichever_protocol(
        eager in any::<bool>(),
        migration in policy(),
        steps in proptest::collection::vec(step(), 0..160),
    ) {
        go(eager, migration, steps)?;
    }
}
