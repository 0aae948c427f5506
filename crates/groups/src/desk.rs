//! What groups work with: settings, timers, and what is to be done.

use crate::timers::Timers;
use crate::{Action, Answer, GroupSettings, Note, Record, Token, WriteId};
use highwater_wire::{ErrorCode, Str};
use std::collections::VecDeque;

/// What all groups of a coordinator share.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) settings: GroupSettings,
    pub(crate) timers: Timers,
    actions: VecDeque<Action>,
    /// What is being written, in the order of the log.
    writes: VecDeque<Write>,
    next_write: u64,
}

/// Records of one group that are being written.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) id: WriteId,
    pub(crate) group: Str,
    pub(crate) records: Vec<Record>,
    pub(crate) then: Then,
    /// The answers to requests that changed nothing, but speak of what these records say.
    pub(crate) behind: Vec<(Token, Answer)>,
}

/// What depends on records that are being written.
#[derive(Debug)]
pub(crate) enum Then {
    Nothing,
    /// The answer to a request.
    Answer(Token, Answer),
    /// The answer to a commit of offsets.
    Commit {
        token: Token,
        answer: Answer,
        generation: i32,
        member: Str,
    },
    /// The members of a generation get their assignments.
    Assign {
        generation: i32,
    },
    /// A static member came back under another id.
    Replaced {
        token: Token,
        answer: Answer,
        instance: Str,
        old: Str,
        new: Str,
    },
}

impl Desk {
    pub(crate) fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            timers: Timers::default(),
            actions: VecDeque::new(),
            writes: VecDeque::new(),
            next_write: 0,
        }
    }

    pub(crate) fn answer(&mut self, token: Token, answer: Answer) {
        self.actions.push_back(Action::Answer(token, answer));
    }

    pub(crate) fn heartbeat(&mut self, token: Token, code: ErrorCode) {
        self.answer(token, Answer::Heartbeat(code));
    }

    /// Has records of a group written. To be called by the group, which counts what of it is being written.
    pub(crate) fn write(&mut self, group: &Str, records: Vec<Record>, then: Then) {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.actions.push_back(Action::Write(id, records.clone()));
        self.writes.push_back(Write { id, group: group.clone(), records, then, behind: Vec::new() });
    }

    /// Answers once all that is being written of a group is committed. To be called by the group.
    pub(crate) fn answer_behind(&mut self, group: &Str, token: Token, answer: Answer) {
        match self.writes.iter_mut().rfind(|write| write.group == *group) {
            Some(write) => write.behind.push((token, answer)),
            None => self.answer(token, answer),
        }
    }

    /// The oldest of what is being written, which must be this.
    ///
    /// # Panics
    ///
    /// If it is another: the driver tells of writes in their order.
    pub(crate) fn written(&mut self, id: WriteId) -> Write {
        let write = self.writes.pop_front().expect("what was written is one of the writes under way");
        assert_eq!(write.id, id, "writes are told of in their order");
        write
    }

    pub(crate) fn reload(&mut self) {
        self.actions.push_back(Action::Reload);
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.actions.push_back(Action::Note(note));
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
