use super::*;
use crate::testing::{all_have_owners, any_demand, demand, shown};
use proptest::prelude::*;

const BOTH: &[&str] = &["t", "u"];

fn check(members: &[(&str, &[&str], &str)], topics: &[(&str, &[&str])], expected: &str) {
    assert_eq!(shown(&demand(members, topics).range()), expected);
}

#[test]
fn every_topic_is_cut_into_runs() {
    let members: &[(&str, &[&str], &str)] = &[("a", BOTH, ""), ("b", BOTH, "")];
    check(members, &[("t", &[""; 5]), ("u", &[""; 2])], "a t-0 t-1 t-2 u-0; b t-3 t-4 u-1");
    check(&[("a", &["t"], ""), ("b", BOTH, "")], &[("t", &[""]), ("u", &[""; 2])], "a t-0; b u-0 u-1");
    check(&[("a", &["t"], ""), ("b", &["t"], "")], &[("t", &[""])], "a t-0; b");
    check(&[("a", &["missing"], "")], &[], "a");
    check(&[], &[("t", &[""])], "");
}

#[test]
fn members_get_what_is_in_their_rack_first() {
    let members: &[(&str, &[&str], &str)] = &[("a", &["t"], "x"), ("b", &["t"], "y"), ("c", &["t"], "")];
    check(members, &[("t", &["y", "y", "x", "x", "z", "z"])], "a t-2 t-3; b t-0 t-1; c t-4 t-5");
    // Nobody gets more than the others for it.
    check(members, &[("t", &["x", "x", "x", "x", "x", "y"])], "a t-0 t-1; b t-2 t-5; c t-3 t-4");
    // Where everything is near to everybody it is as if nobody had asked.
    check(members, &[("t", &["xyz"; 6])], "a t-0 t-1; b t-2 t-3; c t-4 t-5");
}

#[test]
fn numbers_stay_together_that_the_same_members_want() {
    let members: &[(&str, &[&str], &str)] = &[("a", BOTH, "x"), ("b", BOTH, "y")];
    let topics: &[(&str, &[&str])] = &[("t", &["y", "x", "x", "y"]), ("u", &["y", "y", "x", "x"])];
    check(members, topics, "a t-1 t-2 u-1 u-2; b t-0 t-3 u-0 u-3");
}

proptest! {
    #[test]
    fn every_wanted_partition_has_one_owner_and_shares_of_a_topic_are_even(demand in any_demand()) {
        let shares = demand.range();
        all_have_owners(&demand, &shares)?;
        for topic in demand.topics.keys() {
            let wanting = demand.members.keys().filter(|member| demand.wants(member, topic));
            let sizes = || wanting.clone().map(|member| shares[member].iter().filter(|key| key.0 == *topic).count());
            let (least, most) = (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0));
            prop_assert!(most - least <= 1, "{}", shown(&shares));
        }
        prop_assert_eq!(demand.range(), shares);
    }

    #[test]
    fn nothing_is_farther_than_by_runs(mut demand in any_demand()) {
        let near = |demand: &Demand<Str>, shares: &Shares<Str>| {
            let each = shares.iter().flat_map(|(member, share)| share.iter().map(move |key| (member, key)));
            each.filter(|(member, key)| demand.is_near(member, &key.0, key.1)).count()
        };
        // One topic alone: of several, what stays together may cost something.
        let first = demand.topics.pop_first().expect("four topics");
        demand.topics = BTreeMap::from([first]);
        let shares = demand.range();
        let mut placeless = demand.clone();
        placeless.members.values_mut().for_each(|member| member.rack = None);
        prop_assert!(near(&demand, &shares) >= near(&demand, &placeless.range()));
    }
}
