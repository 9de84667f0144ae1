//! Pure: which replicas owe an answer, and for how long. Silence is a no, so one that never answers keeps all agents up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Other;
use crate::time::Moment;

use super::record::ReplicaId;

/// How long a replica may answer nothing before people are told. One that starts anew takes some seconds.
pub(super) const TELL_AFTER: Duration = Duration::from_secs(10);

/// Since when each replica owes an answer that does.
#[derive(Default)]
pub(super) struct Silence(BTreeMap<ReplicaId, Moment>);

impl Silence {
    /// It is asked now.
    pub(super) fn asked(&mut self, id: &ReplicaId, now: Moment) {
        self.0.entry(id.clone()).or_insert(now);
    }

    /// It has answered. That is enough, also if it was asked more than that: something may be lost.
    pub(super) fn answered(&mut self, id: &ReplicaId) {
        self.0.remove(id);
    }

    /// Nobody else takes part.
    pub(super) fn keep(&mut self, others: &[Other]) {
        self.0.retain(|id, _| others.iter().any(|other| other.id == id.0));
    }

    /// Nobody can be heard.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Who has owed an answer for so long.
    pub(super) fn owing(&self, span: Duration, now: Moment) -> Vec<ReplicaId> {
        let owing = self.0.iter().filter(|(_, since)| now >= **since + span);
        owing.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_owed_from_the_first_question_to_any_answer_or_the_end_of_the_replica() {
        let at = |secs| Moment::START + Duration::from_secs(secs);
        let [a, b] = ["a", "b"].map(|id| ReplicaId(id.into()));
        let owing = |silence: &Silence, secs| {
            silence.owing(TELL_AFTER, at(secs)).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let mut silence = Silence::default();
        silence.asked(&a, at(0));
        silence.asked(&b, at(1));
        silence.asked(&a, at(5));
        assert_eq!(owing(&silence, 9), [""; 0]);
        assert_eq!(owing(&silence, 10), ["a"]);
        silence.answered(&b);
        assert_eq!(owing(&silence, 20), ["a"]);
        silence.asked(&b, at(21));
        silence.keep(&[Other { id: "b".into(), pod: "drowse-b".into() }]);
        assert_eq!(owing(&silence, 31), ["b"]);
        silence.forget();
        assert_eq!(owing(&silence, 31), [""; 0]);
    }
}
