//! Turns an agent's state into what people are shown: one sentence that says why.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::AgentKey;
use crate::lifecycle::{Failure, Machine, Phase, PhaseName, SuspendedBy};
use crate::policy::Policy;
use crate::policy::idle::{Says, Signal, Source, Verdict, verdict};
use crate::policy::keep_awake::{Open, open_at};
use crate::policy::ping::{Said, Word};
use crate::time::{Clock, Moment};

use super::elsewhere::{Counts, Share, Silent, in_words};
use super::hold::Caller;
use super::roles::Seen;
use super::snapshot::{AgentDetail, AgentView, FailureView, PolicyKeyView, SignalView};
use super::{Engine, Slot};

impl Engine {
    /// One agent, as the list shows it.
    pub fn summary(&self, key: &AgentKey) -> Option<AgentView> {
        self.slot(key).map(|slot| self.view(&slot))
    }

    /// One agent, explained.
    pub fn detail(&self, key: &AgentKey) -> Option<AgentDetail> {
        let slot = self.slot(key)?;
        let (policy, now, calendar) = (slot.policy(), self.clock.now(), Clock::calendar());
        let machine = slot.machine.lock();
        let signals = machine.signals(&policy, now, calendar);
        let shown = Shown {
            policy: &policy,
            now,
            clock: self.clock,
            window: open_at(&policy.keep_awake, calendar),
            word: machine.word(&policy),
        };
        let signals = signals.iter().map(|signal| shown.signal(signal)).collect();
        let failure = machine.last_failure().map(|(failure, attempts)| FailureView {
            class: failure.class.as_str().to_owned(),
            detail: failure.detail.to_string(),
            attempts,
            retry_at: match machine.phase() {
                Phase::Failed { retry_at, .. } => Some(self.clock.wall(*retry_at)),
                _ => None,
            },
        });
        drop(machine);
        let activity = slot.activity();
        let shares = self.elsewhere.shares(key, now);
        let upstream = slot.upstream.load_full();
        let agent = self.view(&slot);
        let policy_keys: Vec<_> =
            self.rules.load().resolve(key, &slot.profile()).provenance.iter().map(policy_key_view).collect();
        Some(AgentDetail {
            decided_by: agent.decided_by(&policy_keys).cloned(),
            recent: self.history.of(key, self.clock),
            refusals: self.history.refusals_of(key, self.clock),
            agent,
            signals,
            leases: self.leases_of(key),
            subjects: policy.messages.subjects(key).iter().map(ToString::to_string).collect(),
            subscribed: activity.is_subscribed(),
            elsewhere: self.elsewhere_views(&shares),
            silent: self.silent_views(),
            open_connections: shares
                .iter()
                .fold(activity.connections(), |sum, share| sum.saturating_add(share.said.connections)),
            last_data: (activity.data() > Moment::START).then(|| self.clock.wall(activity.data())),
            log: if failure.is_some() { self.backend.last_log_lines(key) } else { Vec::new() },
            failure,
            address: upstream
                .map(|upstream| std::net::SocketAddr::new(upstream.address, upstream.ready_port).to_string()),
            policy: policy_keys,
        })
    }

    /// One agent as the list shows it.
    pub(super) fn view(&self, slot: &Arc<Slot>) -> AgentView {
        let (policy, now) = (slot.policy(), self.clock.now());
        let (shares, silent) = (self.elsewhere.shares(slot.key(), now), self.elsewhere.silent(now));
        let there = Counts::of(&shares);
        let machine = slot.machine.lock();
        let state = State {
            machine: &machine,
            policy: &policy,
            now,
            calendar: Clock::calendar(),
            takes_part: self.roles.takes_part(),
            seen: self.roles.seen(),
            synced: self.is_synced(),
            elsewhere: in_words(&shares),
            silent,
        };
        let active = machine.last_activity();
        let active = (active > Moment::START).then(|| self.clock.wall(active));
        AgentView {
            namespace: slot.key().namespace().to_owned(),
            name: slot.key().name().to_owned(),
            phase: machine.phase().name(),
            since: self.clock.wall(machine.since()),
            last_activity: active.into_iter().chain(shares.iter().filter_map(|it| self.active_at(it))).max(),
            in_flight: machine.gate().in_flight().saturating_add(there.in_flight),
            held: u32::try_from(machine.held()).unwrap_or(u32::MAX).saturating_add(there.held),
            messages_waiting: machine.messages_waiting().saturating_add(there.messages),
            idle_deadline: state.idle_deadline(self.clock),
            reason: state.reason(),
            managed: policy.manage,
        }
    }

    fn active_at(&self, share: &Share) -> Option<Timestamp> {
        share.said.active.map(|(past, _)| self.clock.wall_before(past.at, past.before))
    }
}

struct State<'a> {
    machine: &'a Machine<Caller>,
    policy: &'a Policy,
    now: Moment,
    calendar: Timestamp,
    takes_part: bool,
    seen: Seen,
    synced: bool,
    /// How it is in use by way of others now.
    elsewhere: Option<String>,
    silent: Vec<Silent>,
}

impl State<'_> {
    fn idle_deadline(&self, clock: Clock) -> Option<Timestamp> {
        let suspends = self.policy.manage
            && self.policy.suspend
            && !self.policy.dry_run
            && self.policy.obstacle.is_none()
            && self.takes_part
            && self.seen.hindrance.is_none()
            && self.synced;
        if !suspends || self.elsewhere.is_some() || self.machine.phase().name() != PhaseName::Running {
            return None;
        }
        match self.verdict() {
            Verdict::Idle => Some(clock.wall(self.now)),
            Verdict::UpUntil(_, Source::KeepAwake) => self.window().map(|open| open.until),
            Verdict::UpUntil(until, _) => Some(clock.wall(until)),
            Verdict::Busy(_) => None,
        }
    }

    fn verdict(&self) -> Verdict {
        let signals = self.machine.signals(self.policy, self.now, self.calendar);
        verdict(&signals, self.policy.idle_timeout, self.now)
    }

    /// Whether connections to it are open that count whatever moves on them.
    fn is_kept_open(&self) -> bool {
        let signals = self.machine.signals(self.policy, self.now, self.calendar);
        signals
            .iter()
            .any(|signal| signal.source == Source::Connections && matches!(signal.says, Says::BusyUntil(_)))
    }

    fn window(&self) -> Option<Open<'_>> {
        open_at(&self.policy.keep_awake, self.calendar)
    }

    fn reason(&self) -> String {
        match self.machine.phase() {
            Phase::Unknown if !self.policy.route && !self.policy.manage => {
                let obstacle = self.policy.obstacle.as_deref();
                obstacle.unwrap_or("no rule names it, so Drowse leaves it alone").to_owned()
            }
            Phase::Unknown => "nothing is known about it yet".to_owned(),
            Phase::Running { .. } => self.why_up(),
            Phase::Draining(_) if self.machine.phase().name() == PhaseName::Running => {
                "up; the next call by way of this replica first makes sure that nobody is suspending it"
                    .to_owned()
            }
            Phase::Draining(_) => "idle; its suspension is being settled".to_owned(),
            Phase::Suspending => {
                format!("{}{}; its pod is still ending", self.who_suspended(), self.overruled())
            }
            Phase::Suspended => match self.machine.last_failure() {
                Some((failure, _)) => format!("{}; before that, {}", self.who_suspended(), failed(failure)),
                None => format!("{}{}", self.who_suspended(), self.overruled()),
            },
            Phase::Resuming(_) => format!("starting: {}", self.machine.waiting_for()),
            Phase::Failed { failure, .. } if !self.policy.manage => {
                format!(
                    "{}; no rule has manage: true for it, so calls do not start it again",
                    failed(failure)
                )
            }
            Phase::Failed { failure, retry_at } if *retry_at > self.now => {
                let (why, pause) = (failed(failure), human(retry_at.since(self.now)));
                if self.machine.held() > 0 {
                    format!("{why}; the next attempt is made in {pause}")
                } else {
                    format!("{why}; the next call starts it again, in {pause} at the earliest")
                }
            }
            Phase::Failed { failure, .. } => format!("{}; the next call starts it again", failed(failure)),
        }
    }

    fn who_suspended(&self) -> &'static str {
        match self.machine.agent().map(|agent| agent.suspended_by) {
            _ if !self.policy.manage => {
                "suspended; no rule has manage: true for it, so calls do not resume it"
            }
            Some(SuspendedBy::Person) if self.policy.resume_user_suspended => {
                "suspended by a person; the next call resumes it all the same"
            }
            Some(SuspendedBy::Person) => "suspended by a person; calls do not resume it",
            _ => "suspended by Drowse; the next call resumes it",
        }
    }

    /// What it had said when it was suspended all the same.
    fn overruled(&self) -> String {
        let cap = human(self.policy.busy_cap);
        match self.machine.overruled() {
            None => String::new(),
            Some(Said::Busy) => {
                format!("; it still said HealthyBusy, which counts for {cap} at most (busy_cap)")
            }
            Some(Said::Nothing(fault)) => {
                format!("; its ping had failed for as long as that may last ({cap}, busy_cap): {fault}")
            }
        }
    }

    fn why_up(&self) -> String {
        if !self.policy.manage {
            return "up; Drowse does not manage it".to_owned();
        }
        if !self.policy.suspend {
            return "up; all suspensions are switched off (suspend: off)".to_owned();
        }
        if let Some(obstacle) = &self.policy.obstacle {
            return format!("up; {obstacle}");
        }
        if !self.synced {
            return "up; not all of what happens can be seen at present, and until then nobody is suspended; see the log"
                .to_owned();
        }
        if !self.takes_part {
            return "up; this replica does not take part in suspensions at present; see the log".to_owned();
        }
        if let Some(hindrance) = &self.seen.hindrance {
            return format!("up; {hindrance}");
        }
        let dry_run = if self.policy.dry_run { " (dry_run: it will not be suspended)" } else { "" };
        let why = match (self.verdict(), &self.elsewhere) {
            (Verdict::Busy(_), _) | (_, None) => self.why_up_here(),
            (_, Some(elsewhere)) => elsewhere.clone(),
        };
        let both = matches!(self.verdict(), Verdict::Busy(_)).then_some(self.elsewhere.as_ref()).flatten();
        let both = both.map(|elsewhere| format!("; {elsewhere}")).unwrap_or_default();
        format!("{why}{both}{dry_run}{}", self.unknown())
    }

    /// Who may use it without this replica hearing of it.
    fn unknown(&self) -> String {
        let silent = self.silent.iter().map(|it| {
            format!("; {} was not heard of for {}, and may use it", it.pod, human(self.now.since(it.since)))
        });
        silent.collect()
    }

    /// What keeps it up as far as that is not in use elsewhere.
    fn why_up_here(&self) -> String {
        match self.verdict() {
            Verdict::Busy(_) => match (self.machine.gate().in_flight(), self.machine.held()) {
                (1, 0) => "1 request in flight".to_owned(),
                (n, 0) => format!("{n} requests in flight"),
                (n, held) => format!("{n} in flight, {held} waiting for a place"),
            },
            Verdict::UpUntil(until, source) => {
                let left = human(until.since(self.now));
                match source {
                    Source::Requests => format!("last request {} ago; idle in {left}", self.ago()),
                    Source::Messages => format!("last message lately; idle in {left}"),
                    Source::Connections if self.is_kept_open() => format!(
                        "open connections keep it up (open_connections: keep); without data, for {left} more (busy_cap)"
                    ),
                    Source::Connections => format!("data moved on an open connection lately; idle in {left}"),
                    Source::Unanswered => {
                        format!("a message to it is not answered yet; it is waited for {left} more at most")
                    }
                    Source::Lease => format!("a busy lease keeps it up, or did lately; idle in {left}"),
                    Source::Ping => {
                        let word = self.machine.word(self.policy);
                        let word = word.map(|word| own_word(word, self.policy, self.now)).unwrap_or_default();
                        format!("idle, but kept up by its ping; asked again in {left}: it {word}")
                    }
                    Source::KeepAwake => {
                        let window = self.window().map(|open| open.window.to_string()).unwrap_or_default();
                        format!("in a keep-awake window ({window}); may be suspended in {left}")
                    }
                    Source::MinRunning => format!("came up lately (min_running); may be suspended in {left}"),
                    Source::Elsewhere => {
                        format!("used by way of another replica of Drowse lately; idle in {left}")
                    }
                    Source::Start => format!("came up or was wanted lately; idle in {left}"),
                }
            }
            Verdict::Idle if self.machine.is_asked() => "idle; being asked whether it is at work".to_owned(),
            Verdict::Idle => match &self.seen.leader {
                Some(leader) => format!("idle; {leader} leads, and suspends it if it is idle there, too"),
                None => "idle".to_owned(),
            },
        }
    }

    fn ago(&self) -> String {
        human(self.now.since(self.machine.gate().last_activity()))
    }
}

fn failed(failure: &Failure) -> String {
    format!("{}: {}", failure.class.as_str(), failure.detail)
}

/// What it takes to show signals.
struct Shown<'a> {
    policy: &'a Policy,
    now: Moment,
    clock: Clock,
    window: Option<Open<'a>>,
    word: Option<&'a Word>,
}

impl Shown<'_> {
    fn signal(&self, signal: &Signal) -> SignalView {
        let until = signal.keeps_up_until(self.policy.idle_timeout);
        let active = until.is_none_or(|until| until > self.now);
        let until = match (signal.source, self.window) {
            _ if !active => None,
            // As it stands in the calendar, also if that was set since the start.
            (Source::KeepAwake, Some(open)) => Some(open.until),
            _ => until.map(|until| self.clock.wall(until)),
        };
        SignalView { source: signal.source.as_str().to_owned(), says: self.says(signal), until, active }
    }

    fn says(&self, signal: &Signal) -> String {
        let ago = |at| human(self.now.since(at));
        match (signal.source, signal.says) {
            (Source::Connections, Says::BusyUntil(_)) => "connections are open".to_owned(),
            (Source::Connections, Says::LastActive(at)) => format!("last data {} ago", ago(at)),
            (_, Says::Busy) => "busy, open how long".to_owned(),
            (Source::Ping, _) => {
                self.word.map(|word| own_word(word, self.policy, self.now)).unwrap_or_default()
            }
            (Source::KeepAwake, _) => self.window.map(|open| open.window.to_string()).unwrap_or_default(),
            (Source::MinRunning, _) => format!("stays up {} after a start", human(self.policy.min_running)),
            (Source::Messages, Says::LastActive(at)) => format!("last message {} ago", ago(at)),
            (Source::Lease, Says::LastActive(at)) if at > self.now => {
                format!("leased for {}", human(at.since(self.now)))
            }
            (Source::Lease, Says::LastActive(at)) => format!("the last lease ended {} ago", ago(at)),
            (Source::Elsewhere, Says::LastActive(at)) if at > self.now => {
                "in use by way of another replica".to_owned()
            }
            (Source::Unanswered, _) => "has a request that it has not answered".to_owned(),
            (Source::Requests, Says::LastActive(at)) => format!("last request {} ago", ago(at)),
            (_, Says::LastActive(at)) => format!("{} ago", ago(at)),
            (_, Says::BusyUntil(_)) => "busy until then".to_owned(),
        }
    }
}

/// What an agent says of itself, since when, and how long that may go on.
fn own_word(word: &Word, policy: &Policy, now: Moment) -> String {
    let (spell, ago) = (human(now.since(word.since)), human(now.since(word.at)));
    let left = human((word.since + policy.busy_cap).since(now));
    match &word.said {
        Said::Busy => format!("says HealthyBusy for {spell}, last {ago} ago; {left} more at most (busy_cap)"),
        Said::Nothing(fault) => {
            format!(
                "cannot be asked for {spell}, last tried {ago} ago; {left} more at most (busy_cap): {fault}"
            )
        }
    }
}

fn policy_key_view(origin: &crate::policy::rules::KeyOrigin) -> PolicyKeyView {
    PolicyKeyView { key: origin.key.to_owned(), value: origin.value.clone(), from: origin.from.clone() }
}

/// To the millisecond under a second, to the second above.
pub(super) fn human(span: Duration) -> String {
    let rounded = if span < Duration::from_secs(1) {
        Duration::from_millis(u64::from(span.subsec_millis()))
    } else {
        Duration::from_secs(span.as_secs())
    };
    humantime::format_duration(rounded).to_string()
}
