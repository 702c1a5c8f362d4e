//! Which idle environment takes the next invoke: the one that fell idle last, provisioned ones
//! before all others.
//!
//! An environment that is reaped is not searched for: its number stays behind until it comes to one
//! of the ends, which for the least recently used one, whose turn it is, is at once.

use std::collections::VecDeque;

use super::environment::Stage;
use super::input::EnvironmentId;
use super::table::Table;

/// Idle environments, in the order in which they fell idle, and some that are not idle any more.
#[derive(Debug, Default)]
pub(super) struct Idle {
    on_demand: VecDeque<EnvironmentId>,
    provisioned: VecDeque<EnvironmentId>,
}

impl Idle {
    /// `id` has fallen idle.
    pub(super) fn push(&mut self, id: EnvironmentId, provisioned: bool) {
        let list = if provisioned { &mut self.provisioned } else { &mut self.on_demand };
        list.push_back(id);
    }

    /// Takes the one that comes first.
    pub(super) fn pop(&mut self, table: &Table) -> Option<EnvironmentId> {
        let lists = [&mut self.provisioned, &mut self.on_demand];
        lists.into_iter().find_map(|list| {
            while let Some(id) = list.pop_back() {
                if is_idle(table, id) {
                    return Some(id);
                }
            }
            None
        })
    }

    /// Forgets those at the far end that are not idle any more.
    pub(super) fn trim(&mut self, table: &Table) {
        for list in [&mut self.provisioned, &mut self.on_demand] {
            while list.front().is_some_and(|id| !is_idle(table, *id)) {
                list.pop_front();
            }
        }
    }

    /// All that are idle, the least recently used first, provisioned ones last.
    pub(super) fn iter(&self, table: &Table) -> impl Iterator<Item = EnvironmentId> {
        let all = self.on_demand.iter().chain(&self.provisioned);
        all.copied().filter(|id| is_idle(table, *id))
    }
}

fn is_idle(table: &Table, id: EnvironmentId) -> bool {
    table.get(id).is_some_and(|there| there.stage == Stage::Idle)
}
