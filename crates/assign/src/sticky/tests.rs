use super::*;
use crate::Member;
use crate::testing::{all_have_owners, any_demand, demand, owners, shown};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn nobody(_: &Key<Str>) -> Option<Str> {
    None
}

/// What comes of it when members have shares.
fn after(demand: &Demand<Str>, before: &Shares<Str>) -> Shares<Str> {
    let owners = owners(before);
    demand.sticky(|key| owners.get(key).cloned())
}

fn of(members: &[&str], partitions: usize) -> Demand<Str> {
    let members: Vec<(&str, &[&str], &str)> = members.iter().map(|id| (*id, ["t"].as_slice(), "")).collect();
    demand(&members, &[("t", &vec![""; partitions])])
}

#[test]
fn no_more_moves_than_must() {
    let first = of(&["a", "b"], 6).sticky(nobody);
    assert_eq!(shown(&first), "a t-0 t-2 t-4; b t-1 t-3 t-5");
    let second = after(&of(&["a", "b", "c"], 6), &first);
    assert_eq!(shown(&second), "a t-0 t-2; b t-1 t-3; c t-4 t-5");
    assert_eq!(shown(&after(&of(&["a", "c"], 6), &second)), "a t-0 t-1 t-2; c t-3 t-4 t-5");
}

#[test]
fn members_that_want_different_topics_have_as_many() {
    let members: &[(&str, &[&str], &str)] = &[("a", &["t"], ""), ("b", &["t", "u"], ""), ("c", &["u"], "")];
    let shares = demand(members, &[("t", &[""; 4]), ("u", &[""; 2])]).sticky(nobody);
    let sizes: Vec<usize> = shares.values().map(Share::len).collect();
    assert_eq!(sizes, [2, 2, 2], "{}", shown(&shares));
}

#[test]
fn partitions_go_where_they_are_near_but_shares_stay_even() {
    let members: &[(&str, &[&str], &str)] = &[("a", &["t"], "x"), ("b", &["t"], "y")];
    let shares = |racks: &[&str]| demand(members, &[("t", racks)]).sticky(nobody);
    assert_eq!(shown(&shares(&["y", "y", "x", "x"])), "a t-2 t-3; b t-0 t-1");
    assert_eq!(shown(&shares(&["y", "y", "y", "x"])), "a t-1 t-3; b t-0 t-2");
    // The odd one is had by whom it is near to.
    assert_eq!(shown(&shares(&["y"])), "a; b t-0");
    // Even if it was somebody else's.
    let before = Shares::from([("a".into(), BTreeSet::from([("t".into(), PartitionIndex(0))]))]);
    assert_eq!(shown(&after(&demand(members, &[("t", &["y"])]), &before)), "a; b t-0");
}

#[test]
fn three_exchange_in_a_circle() {
    let members: &[(&str, &[&str], &str)] = &[("a", &["t"], "x"), ("b", &["t"], "y"), ("c", &["t"], "z")];
    let demand = demand(members, &[("t", &["y", "z", "x"])]);
    let share = |number| BTreeSet::from([("t".into(), PartitionIndex(number))]);
    let before = Shares::from([("a".into(), share(0)), ("b".into(), share(1)), ("c".into(), share(2))]);
    assert_eq!(shown(&after(&demand, &before)), "a t-2; b t-0; c t-1");
}

/// Whether moving one partition, or exchanging two, would make shares more even, or as even and nearer.
fn could_be_better(demand: &Demand<Str>, shares: &Shares<Str>) -> Option<String> {
    let near = |member: &Str, key: &Key<Str>| i32::from(demand.is_near(member, &key.0, key.1));
    for (giver, key) in shares.iter().flat_map(|(giver, share)| share.iter().map(move |key| (giver, key))) {
        for (taker, theirs) in shares.iter().filter(|(taker, _)| demand.wants(taker, &key.0)) {
            let gain = near(taker, key) - near(giver, key);
            let (more, less) = (shares[giver].len(), theirs.len());
            if more > less + 1 || (more == less + 1 && gain > 0) {
                return Some(format!("{key:?} from {giver} to {taker}"));
            }
            let better = |back: &&Key<Str>| {
                demand.wants(giver, &back.0) && gain + near(giver, back) - near(taker, back) > 0
            };
            if let Some(back) = theirs.iter().find(better) {
                return Some(format!("{key:?} of {giver} for {back:?} of {taker}"));
            }
        }
    }
    None
}

proptest! {
    #[test]
    fn shares_are_complete_and_could_not_be_better_and_stay(
        demand in any_demand(),
        leaving in 0..8usize,
    ) {
        let first = demand.sticky(nobody);
        all_have_owners(&demand, &first)?;
        let mut fewer = demand.clone();
        if fewer.members.len() > 1 {
            fewer.members.remove(format!("m{leaving}").as_str());
        }
        for demand in [&demand, &fewer] {
            let shares = after(demand, &first);
            all_have_owners(demand, &shares)?;
            prop_assert_eq!(could_be_better(demand, &shares), None, "{}", shown(&shares));
            prop_assert_eq!(&after(demand, &shares), &shares);
        }
    }

    /// Where each rack has as many members as another, and partitions to feed them, everything is near.
    #[test]
    fn everything_is_near_where_it_can_be(
        heads in 1..4usize,
        each in 1..5usize,
        shift in 0..12usize,
    ) {
        let mut demand = Demand::default();
        let racks = ["x", "y", "z"];
        for rack in racks {
            for head in 0..heads {
                let member = Member { topics: BTreeSet::from(["t".into()]), rack: Some(rack.into()) };
                demand.members.insert(format!("{head}{rack}").into(), member);
            }
        }
        let count = racks.len() * heads * each;
        demand.topics.insert("t".into(), i32::try_from(count).expect("few"));
        let placed = (0..count).map(|number| BTreeSet::from([Str::from(racks[number / (heads * each)])]));
        demand.racks.insert("t".into(), placed.collect());
        // Somebody has each already, and nobody what is near.
        let members: Vec<Str> = demand.members.keys().cloned().collect();
        let shares = demand.sticky(|key| {
            let number = usize::try_from(key.1.0).unwrap_or(0);
            Some(members[(number / each + heads + shift) % members.len()].clone())
        });
        for (member, share) in &shares {
            prop_assert_eq!(share.len(), each);
            for key in share {
                prop_assert!(demand.is_near(member, &key.0, key.1), "{}", shown(&shares));
            }
        }
    }

    /// Who stays keeps what it has, but for what it has too much of.
    #[test]
    fn who_stays_keeps_what_it_has(count in 0..30usize, before in 1..6usize, now in 1..6usize) {
        let names = ["m0", "m1", "m2", "m3", "m4"];
        let old = of(&names[..before.min(5)], count).sticky(nobody);
        let new = after(&of(&names[..now.min(5)], count), &old);
        let most = count.div_ceil(now.min(5));
        for (member, share) in &new {
            let had = old.get(member).cloned().unwrap_or_default();
            prop_assert!(share.intersection(&had).count() >= had.len().min(most).saturating_sub(1));
        }
    }
}
