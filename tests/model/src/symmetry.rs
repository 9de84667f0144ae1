//! One state for all that nothing can tell apart.
//!
//! What cannot matter any more is forgotten: a late write whose precondition will never hold again, a question about a revision
//! that its reader has left behind, a revision of the object that everybody knows. And two front doors of the same kind change
//! places so that the state is the smaller one of both: nothing names them.

use std::cmp::Ordering;

use crate::model::Protocol;
use crate::product::{Doing, Object, Request};
use crate::state::{Ask, Call, Door, NOBODY, Place, PodRevision, Question, Stage, State};
use crate::step::byte;

impl Protocol {
    pub(crate) fn canonical(&self, mut state: State) -> State {
        self.forget(&mut state);
        let Some((a, b)) = self.twins() else { return state };
        // All but the question, which names others.
        let order = |door: &Door| {
            (door.id, door.up, door.cut_off, door.pod_seen, door.attested, door.in_flight, door.past_gate)
        };
        match order(&state.doors[a]).cmp(&order(&state.doors[b])) {
            Ordering::Less => state,
            Ordering::Greater => swapped(&state, a, b),
            Ordering::Equal => {
                let swapped = swapped(&state, a, b);
                state.min(swapped)
            }
        }
    }

    /// The two front doors of the same kind, if there are two.
    fn twins(&self) -> Option<(usize, usize)> {
        match (self.setup.front_doors, self.setup.leaders) {
            (3, 1) => Some((1, 2)),
            (2 | 3, 2) => Some((0, 1)),
            _ => None,
        }
    }

    fn forget(&self, state: &mut State) {
        let object = state.object();
        state
            .calls
            .retain(|call| call.by != NOBODY || (call.place == Place::Sent && may_apply(*call, object)));
        state.calls.sort_unstable();
        for door in &mut state.doors {
            if !matches!(door.facts.doing, Doing::Drains { fenced: false, .. }) {
                door.question = None;
            }
        }
        let doors = &state.doors;
        state.asks.retain(|ask| doors[usize::from(ask.to)].facts.revision <= ask.revision);
        state.asks.sort_unstable();
        state.asks.dedup();
        let seen = state.doors.iter().filter(|door| door.up).map(|door| door.pod_seen).min();
        if let Some(seen) = seen.filter(|_| !self.setup.time_travel) {
            // Everybody knows of their end.
            state.ended &= u8::MAX << (seen.pod + u8::from(seen.stage == Stage::Gone));
            state.address_taken =
                state.address_taken.filter(|pod| seen < PodRevision { pod: *pod, stage: Stage::Gone });
        }
        if let Some((_newest, before)) = state.objects.split_last_mut() {
            for seen in before {
                seen.observed = if seen.observed < seen.generation { 0 } else { seen.generation };
            }
        }
        if !self.setup.time_travel {
            let known = |door: &Door| if door.up { door.facts.revision } else { object.revision };
            let oldest = state.doors.iter().map(known).min().unwrap_or(0);
            state.objects.retain(|seen| seen.revision > oldest || seen.revision == object.revision);
        }
    }
}

/// Whether the precondition of a write may yet hold: revisions and generations only grow.
fn may_apply(call: Call, object: Object) -> bool {
    match call.request {
        Request::Suspend { revision } => revision >= object.revision,
        Request::Resume { generation, .. } => generation >= object.generation,
        Request::Read => false,
    }
}

fn swapped(state: &State, a: usize, b: usize) -> State {
    let other = |door: u8| match usize::from(door) {
        door if door == a => byte(b),
        door if door == b => byte(a),
        _ => door,
    };
    let bits = |bits: u8| {
        let (at_a, at_b) = (bits >> a & 1, bits >> b & 1);
        bits & !(1 << a) & !(1 << b) | at_a << b | at_b << a
    };
    let mut state = state.clone();
    state.doors.swap(a, b);
    for question in state.doors.iter_mut().filter_map(|door| door.question.as_mut()) {
        *question = Question {
            missing: bits(question.missing),
            yes: bits(question.yes),
            no: bits(question.no),
            ..*question
        };
    }
    for call in &mut state.calls {
        call.by = other(call.by);
    }
    state.calls.sort_unstable();
    for ask in &mut state.asks {
        *ask = Ask { from: other(ask.from), to: other(ask.to), ..*ask };
    }
    state.asks.sort_unstable();
    state
}
