//! Connections that are open without a request, and the data that callers and agents send on them.
//!
//! The oracle: nobody is suspended for being idle within the idle timeout of data, and once a replica has closed its
//! gate for a suspension, no data passes it on the way to the agent that is being suspended.

use std::time::Duration;

use drowse::agent::Life;
use drowse::lifecycle::{Entry, Event, Phase};
use drowse::time::Moment;

use crate::faults::Sabotage;
use crate::history::{Happening, History};

/// One connection, open or over.
pub struct Connection {
    pub replica: usize,
    life: Life,
    open: bool,
    /// The last data of either side, as it was noted.
    noted: Option<Moment>,
    /// The last data that went to the agent.
    passed: Option<Moment>,
    /// Data from its caller has come and is not passed on yet.
    waits: bool,
}

/// How soon a caller who did not get in tries again.
const AGAIN: Duration = Duration::from_millis(200);

impl History {
    pub fn schedule_connections(&mut self, chaos: Duration) {
        for _ in 0..self.plan.connections {
            let at = Duration::from_micros(self.rng.u64(0..chaos.as_micros() as u64));
            self.after(at, Happening::ConnectionAsked);
        }
    }

    /// A request that the agent answers by keeping its connection open. The place at the gate is given back in the
    /// step that counts the connection.
    pub fn connection_asked(&mut self) {
        if self.calm {
            return;
        }
        let number = self.rng.usize(0..self.replicas.len());
        let (limit, now) = (self.plan.policy.in_flight_limit(), self.now);
        let replica = &mut self.replicas[number];
        let life = replica.life.clone().filter(|_| replica.up);
        let Some(life) = life.filter(|_| replica.gate.enter(limit) == Entry::Admitted) else {
            return self.after(AGAIN, Happening::ConnectionAsked);
        };
        replica.machine.activity().connection_opened(now);
        let (others_wait, incarnation) = (replica.gate.leave(Some(now)), replica.incarnation);
        let connection = self.connections.len();
        self.note(|_| format!("connection {connection} opens at {number} to {:?}", life.pod));
        self.connections.push(Connection {
            replica: number,
            life,
            open: true,
            noted: None,
            passed: None,
            waits: false,
        });
        if others_wait {
            self.to(number, incarnation, Event::PlaceFreed);
        }
        let lasts = self.delay(1, 20_000);
        self.after(lasts, Happening::ConnectionCloses(connection));
        self.schedule_data(connection);
    }

    fn schedule_data(&mut self, connection: usize) {
        let pause = Duration::from_micros(self.rng.u64(0..=2 * self.plan.between_data.as_micros() as u64));
        self.after(pause, Happening::Data(connection));
    }

    /// Data has come: noted, then the gate is looked at, then it is passed on.
    pub fn data(&mut self, number: usize) {
        let connection = &self.connections[number];
        if !connection.open {
            return;
        }
        let (replica, to_agent) = (connection.replica, self.rng.bool());
        if self.sabotage != Some(Sabotage::UnnotedData) {
            self.replicas[replica].machine.activity().note_data(self.now);
        }
        let open = self.replicas[replica].gate.is_open();
        self.note(|_| format!("data on connection {number}, to the agent: {to_agent}, gate open: {open}"));
        let connection = &mut self.connections[number];
        connection.noted = Some(self.now);
        connection.waits |= to_agent;
        if !open {
            let incarnation = self.replicas[replica].incarnation;
            self.to(replica, incarnation, Event::DataMoved);
        }
        self.pass_data(replica);
        self.schedule_data(number);
    }

    /// What waits for a replica's gate is passed on if that is open.
    pub fn pass_data(&mut self, replica: usize) {
        let open = self.replicas[replica].gate.is_open() || self.sabotage == Some(Sabotage::PassedData);
        let now = self.now;
        for connection in self.connections.iter_mut().filter(|connection| connection.replica == replica) {
            if open && std::mem::take(&mut connection.waits) && connection.open {
                connection.passed = Some(now);
            }
        }
    }

    pub fn connection_closes(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if std::mem::take(&mut connection.open) {
            let replica = connection.replica;
            self.replicas[replica].machine.activity().connection_closed(self.now);
            self.note(|_| format!("connection {number} closes"));
        }
    }

    /// The life that a replica has served is over, and with it all connections to it, with what still waits.
    pub fn end_connections(&mut self, replica: usize) {
        for number in 0..self.connections.len() {
            if self.connections[number].replica == replica {
                self.connection_closes(number);
            }
        }
    }

    /// A replica has just closed its gate for a suspension, its own or its leader's.
    pub fn expect_no_data_lately(&mut self, replica: usize) {
        let (now, idle_timeout) = (self.now, self.plan.policy.idle_timeout);
        self.replicas[replica].closed_at = now;
        let lately = |at: Option<Moment>| at.is_some_and(|at| at + idle_timeout > now);
        let used = self
            .connections
            .iter()
            .position(|connection| connection.replica == replica && lately(connection.noted));
        if let Some(number) = used {
            self.violated(format!("{replica} drains within the idle timeout of data on connection {number}"));
        }
    }

    /// An agent that lived was just suspended for being idle.
    pub fn expect_no_data_passed(&mut self) {
        let Some(pod) = self.world.pod.as_ref().filter(|pod| pod.listening && !pod.terminating) else {
            return;
        };
        let pod = pod.uid();
        let passed = self.connections.iter().position(|connection| {
            let replica = &self.replicas[connection.replica];
            let closed = matches!(replica.machine.phase(), Phase::Draining(_)).then_some(replica.closed_at);
            connection.open
                && connection.life.pod == pod
                && connection.passed.is_some_and(|at| closed.is_none_or(|closed| at > closed))
        });
        if let Some(number) = passed {
            self.violated(format!(
                "data went past a gate that was closed for a suspension, on connection {number}"
            ));
        }
    }
}
