use super::super::Partitions;
use super::*;
use highwater_assign::Share;
use proptest::prelude::*;

fn wanting(id: &str, topics: &[&str]) -> Wanting {
    let mut wanting = Wanting { id: id.into(), ..Wanting::default() };
    wanting.member.topics = topics.iter().map(|topic| (*topic).into()).collect();
    wanting
}

fn demand(members: &[Wanting], topics: &BTreeMap<Str, i32>) -> Demand<Str> {
    let members = members.iter().map(|wanting| (wanting.id.clone(), wanting.member.clone())).collect();
    Demand { members, topics: topics.clone(), ..Demand::default() }
}

fn shown(shares: &Shares<Str>) -> String {
    let line = |(member, share): (&Str, &Share<Str>)| {
        let names = share.iter().map(|(topic, partition)| format!(" {topic}-{partition}"));
        format!("{member}{}", names.collect::<String>())
    };
    shares.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn topics(topics: &[(&str, i32)]) -> BTreeMap<Str, i32> {
    topics.iter().map(|(topic, count)| ((*topic).into(), *count)).collect()
}

/// A member that has some partitions of `t` as of a generation.
fn owning(member: &str, generation: i32, partitions: &[i32]) -> Wanting {
    let owned = partitions.iter().map(|partition| ("t".into(), PartitionIndex(*partition))).collect();
    Wanting { owned, generation, ..wanting(member, &["t"]) }
}

fn check(members: &[Wanting], partitions: i32, expected: &str) {
    assert_eq!(shown(&assign(members, &demand(members, &topics(&[("t", partitions)])))), expected);
}

#[test]
fn what_moves_is_withheld_for_a_round() {
    check(&[owning("a", -1, &[])], 4, "a t-0 t-1 t-2 t-3");
    check(&[owning("a", 1, &[0, 1, 2, 3]), owning("b", -1, &[])], 4, "a t-0 t-1; b");
    check(&[owning("a", 2, &[0, 1]), owning("b", 2, &[])], 4, "a t-0 t-1; b t-2 t-3");
    // One that leaves frees what it had at once.
    check(&[owning("b", 3, &[2, 3])], 4, "b t-0 t-1 t-2 t-3");
}

#[test]
fn the_claim_of_a_later_generation_counts() {
    check(&[owning("a", 1, &[0, 1]), owning("b", 2, &[0])], 2, "a t-1; b t-0");
    // Two of the same generation must both give it up.
    check(&[owning("a", 2, &[0, 1]), owning("b", 2, &[0])], 2, "a t-1; b");
}

#[test]
fn claims_that_make_no_sense_are_ignored() {
    let mut odd = owning("a", 1, &[-1, 0, 7, i32::MAX]);
    odd.owned.insert(("missing".into(), PartitionIndex(0)));
    check(&[odd], 2, "a t-0 t-1");
    check(&[owning("a", i32::MIN, &[0])], 1, "a t-0");
    check(&[owning("a", 1, &[0])], 0, "a");
}

#[test]
fn who_wants_a_topic_no_more_gives_it_up_first() {
    let leaving = Wanting { member: wanting("a", &["u"]).member, ..owning("a", 1, &[0]) };
    let members = [leaving, owning("b", 1, &[1])];
    assert_eq!(shown(&assign(&members, &demand(&members, &topics(&[("t", 2), ("u", 1)])))), "a u-0; b t-1");
}

/// What members have after rounds enough, each of which has taken what it was given.
fn settled(members: &mut [Wanting], partitions: &BTreeMap<Str, i32>) -> usize {
    for round in 0..8 {
        let shares = assign(members, &demand(members, partitions));
        let mut changed = false;
        for member in members.iter_mut() {
            let share = shares[&member.id].clone();
            changed |= share != member.owned;
            (member.owned, member.generation) = (share, round);
        }
        if !changed {
            return round as usize;
        }
    }
    panic!("it does not settle: {members:?}");
}

proptest! {
    #[test]
    fn partitions_are_never_handed_out_that_another_has_and_end_up_shared_evenly(
        wants in proptest::collection::vec(proptest::collection::btree_set(0..4u8, 0..4), 1..8),
        claims in proptest::collection::vec((0..8usize, 0..4u8, 0..9i32, -1..3i32), 0..20),
        counts in proptest::collection::vec(0..9i32, 4),
        leaving in 0..8usize,
        same in any::<bool>(),
    ) {
        let partitions: BTreeMap<Str, i32> =
            counts.iter().enumerate().map(|(topic, count)| (format!("t{topic}").into(), *count)).collect();
        let mut members: Vec<Wanting> = wants
            .iter()
            .enumerate()
            .map(|(number, topics)| {
                let topics = if same { &wants[0] } else { topics };
                let topics: Vec<String> = topics.iter().map(|topic| format!("t{topic}")).collect();
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                wanting(&format!("m{number}"), &topics)
            })
            .collect();
        for (member, topic, partition, generation) in claims {
            let count = members.len();
            let member = &mut members[member % count];
            member.owned.insert((format!("t{topic}").into(), PartitionIndex(partition)));
            member.generation = generation;
        }
        for _ in 0..2 {
            // No partition is given to one while another has it by a claim that is as good.
            let shares = assign(&members, &demand(&members, &partitions));
            let mut owners = BTreeMap::new();
            for member in &members {
                for key in &shares[&member.id] {
                    prop_assert!(member.topics().contains(&key.0) && key.1.0 >= 0 && key.1.0 < partitions[&key.0]);
                    prop_assert!(owners.insert(key.clone(), member.id.clone()).is_none());
                    let mine = member.owned.contains(key).then_some(member.generation);
                    let others = members.iter().filter(|it| it.id != member.id && it.owned.contains(key));
                    prop_assert!(others.map(|it| Some(it.generation)).max().is_none_or(|other| mine > other));
                }
            }
            // A few rounds bring everything to its place, and nothing moves after that. Where all want the same it is
            // two; else what was withheld may find another place than it was meant for, and move something in turn.
            let rounds = if same { 2 } else { 4 };
            prop_assert!(settled(&mut members, &partitions) <= rounds);
            let owned: Partitions = members.iter().flat_map(|member| member.owned.clone()).collect();
            for (topic, count) in &partitions {
                let wanted = members.iter().any(|member| member.topics().contains(topic));
                let here = owned.iter().filter(|key| key.0 == *topic).count();
                prop_assert_eq!(here, if wanted { *count as usize } else { 0 });
            }
            for member in &members {
                for key in &member.owned {
                    for other in members.iter().filter(|other| other.topics().contains(&key.0)) {
                        prop_assert!(member.owned.len() <= other.owned.len() + 1, "{:?}", members);
                    }
                }
            }
            if members.len() > 1 {
                members.remove(leaving % members.len());
            }
        }
    }

    /// Who stays keeps what it has, but for what it has too much of.
    #[test]
    fn no_more_moves_than_must(count in 0..30i32, before in 1..6usize, after in 1..6usize) {
        let partitions = topics(&[("t", count)]);
        let mut members: Vec<Wanting> =
            (0..before).map(|number| wanting(&format!("m{number}"), &["t"])).collect();
        settled(&mut members, &partitions);
        let old = members.clone();
        members.truncate(after);
        members.extend((before..after).map(|number| wanting(&format!("m{number}"), &["t"])));
        settled(&mut members, &partitions);
        let most = (count as usize).div_ceil(after);
        for (new, old) in members.iter().zip(&old) {
            prop_assert!(new.owned.intersection(&old.owned).count() >= old.owned.len().min(most).saturating_sub(1));
        }
    }
}
