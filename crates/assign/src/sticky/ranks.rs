//! Who of those that want a topic has the fewest partitions, without looking at all of them.

use crate::Demand;
use highwater_wire::Str;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A member, behind how many partitions it has.
type Rank<'a> = (usize, &'a Str);

/// Members by how much they have.
#[derive(Debug, Default)]
struct Ranking<'a> {
    all: BTreeSet<Rank<'a>>,
    /// The same of those that say in which rack they are.
    by_rack: BTreeMap<&'a Str, BTreeSet<Rank<'a>>>,
}

/// The rankings of a group. Topics that the same members want have one together.
#[derive(Debug)]
pub(super) struct Ranks<'a, T> {
    demand: &'a Demand<T>,
    /// Those that have the most first.
    everybody: BTreeSet<(Reverse<usize>, &'a Str)>,
    rankings: Vec<Ranking<'a>>,
    /// Which ranking is that of a topic.
    of_topic: BTreeMap<&'a T, usize>,
    /// Which rankings a member stands in.
    of_member: BTreeMap<&'a Str, Vec<usize>>,
}

impl<'a, T: Clone + Ord> Ranks<'a, T> {
    /// Everybody, with nothing.
    pub(super) fn new(demand: &'a Demand<T>, wanting: &BTreeMap<&'a T, Vec<&'a Str>>) -> Self {
        let mut known: BTreeMap<&[&Str], usize> = BTreeMap::new();
        let mut ranks = Self {
            demand,
            everybody: demand.members.keys().map(|member| (Reverse(0), member)).collect(),
            rankings: Vec::new(),
            of_topic: BTreeMap::new(),
            of_member: BTreeMap::new(),
        };
        for (topic, members) in wanting {
            let next = known.len();
            let number = *known.entry(members.as_slice()).or_insert(next);
            ranks.of_topic.insert(topic, number);
            if number == next {
                ranks.rankings.push(Ranking::default());
                for member in members {
                    ranks.of_member.entry(member).or_default().push(number);
                    ranks.enter(number, (0, member));
                }
            }
        }
        ranks
    }

    fn rack(&self, member: &Str) -> Option<&'a Str> {
        self.demand.members.get(member)?.rack.as_ref()
    }

    fn enter(&mut self, ranking: usize, rank: Rank<'a>) {
        let rack = self.rack(rank.1);
        let ranking = &mut self.rankings[ranking];
        ranking.all.insert(rank);
        if let Some(rack) = rack {
            ranking.by_rack.entry(rack).or_default().insert(rank);
        }
    }

    /// A member that had so many has so many now.
    pub(super) fn change(&mut self, member: &Str, before: usize, now: usize) {
        let Some((member, _)) = self.demand.members.get_key_value(member) else { return };
        self.everybody.remove(&(Reverse(before), member));
        self.everybody.insert((Reverse(now), member));
        let rack = self.rack(member);
        for number in self.of_member.get(member).cloned().unwrap_or_default() {
            let ranking = &mut self.rankings[number];
            ranking.all.remove(&(before, member));
            if let Some(ranked) = rack.and_then(|rack| ranking.by_rack.get_mut(rack)) {
                ranked.remove(&(before, member));
            }
            self.enter(number, (now, member));
        }
    }

    /// Members from those that have the most on.
    pub(super) fn richest(&self) -> impl Iterator<Item = &'a Str> {
        self.everybody.iter().map(|(_, member)| *member)
    }

    /// Who wants a topic and has the fewest.
    pub(super) fn poorest(&self, topic: &T) -> Option<Rank<'a>> {
        self.ranking(topic)?.all.first().copied()
    }

    /// The same of those in some racks.
    pub(super) fn poorest_near(&self, topic: &T, racks: &BTreeSet<Str>) -> Option<Rank<'a>> {
        let ranking = self.ranking(topic)?;
        racks.iter().filter_map(|rack| ranking.by_rack.get(rack)?.first().copied()).min()
    }

    fn ranking(&self, topic: &T) -> Option<&Ranking<'a>> {
        self.rankings.get(*self.of_topic.get(topic)?)
    }
}
