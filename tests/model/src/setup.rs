//! What one run of the model has in it, and how often each thing may happen.

/// A part of the world that makes it harder. Every pair of them is together in some setup of [`ALL`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Feature {
    ThreeFrontDoors,
    /// A second one believes that it leads.
    DeposedLeader,
    TwoSuspends,
    CutOff,
    /// The controller says that it has acted although the pod that it sees is being deleted.
    StalePodCache,
    TimeTravel,
    Crash,
    PodDies,
    AddressReused,
}

impl Feature {
    pub const ALL: [Self; 9] = [
        Self::ThreeFrontDoors,
        Self::DeposedLeader,
        Self::TwoSuspends,
        Self::CutOff,
        Self::StalePodCache,
        Self::TimeTravel,
        Self::Crash,
        Self::PodDies,
        Self::AddressReused,
    ];
}

/// A rule of the protocol that can be switched off, to see that it is needed and that the model would notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// The leader waits for the word of every other front door.
    Ack,
    /// A front door that has acknowledged routes nothing.
    Fence,
    /// A pod is believed once its controller has acted on the newest generation.
    Obs,
    /// A connection is used once a read past every cache says that this pod is there.
    Ident,
    /// One that starts routes nothing to an agent that it first sees running until its object has changed since.
    Join,
    /// One that is counted out by the others is as one that starts, before they do and once it counts again.
    Rejoin,
    /// To one that takes part anew, what was written before that is as what one that starts sees first.
    FoundUntil,
    /// A resume is conditional on the generation that it ends, and on the mode.
    Precondition,
    /// What has no answer when its deadline has come is tried again.
    Deadline,
}

/// One run of the model. The numbers are of how often a thing may happen in one history.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Setup {
    pub name: &'static str,
    pub front_doors: usize,
    /// How many of them believe that they lead, the first ones.
    pub leaders: usize,
    /// The last one does not exist at first.
    pub newcomer: bool,
    pub suspends: u8,
    pub requests: u8,
    /// Calls to the API whose answer is lost, that are applied late, or that are not sent.
    pub losses: u8,
    pub crashes: u8,
    pub cuts: u8,
    /// Of those that are cut off, how many the others do not wait for any more.
    pub count_outs: u8,
    pub deaths: u8,
    pub reuses: u8,
    /// How often a controller is reminded that there is no pod.
    pub reminders: u8,
    pub stale_pod_cache: bool,
    pub time_travel: bool,
    /// An answer comes at once with what it tells: of the API to a write, of an attested pod. A smaller space where there is much else.
    pub prompt_answers: bool,
    /// An address is given away at once, also while a front door serves the pod that had it and was not told of its end.
    /// Without, the model assumes what the product does: it trusts a watch that stands.
    pub address_reused_at_once: bool,
    pub without: Option<Guard>,
}

/// What the others are written as differences to.
pub const SMALLEST: Setup = Setup {
    name: "two front doors",
    front_doors: 2,
    leaders: 1,
    newcomer: false,
    suspends: 1,
    requests: 2,
    losses: 0,
    crashes: 0,
    cuts: 0,
    count_outs: 0,
    deaths: 0,
    reuses: 0,
    reminders: 0,
    stale_pod_cache: false,
    time_travel: false,
    prompt_answers: false,
    address_reused_at_once: false,
    without: None,
};

impl Setup {
    pub fn features(&self) -> Vec<Feature> {
        let has = |feature: &Feature| match feature {
            Feature::ThreeFrontDoors => self.front_doors >= 3,
            Feature::DeposedLeader => self.leaders >= 2,
            Feature::TwoSuspends => self.suspends >= 2,
            Feature::CutOff => self.cuts > 0,
            Feature::StalePodCache => self.stale_pod_cache,
            Feature::TimeTravel => self.time_travel,
            Feature::Crash => self.crashes > 0,
            Feature::PodDies => self.deaths > 0,
            Feature::AddressReused => self.reuses > 0,
        };
        Feature::ALL.into_iter().filter(has).collect()
    }

    #[must_use]
    pub const fn without(self, guard: Guard) -> Self {
        Self { without: Some(guard), ..self }
    }

    pub fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }
}
