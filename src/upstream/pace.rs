//! How often an agent that is on its way up is asked again. Whoever waits for it must not wait much longer than it
//! takes, so a pause is a small part of all the time that has passed, between two bounds.

use std::time::Duration;

/// The first pause. A local connect costs some ten microseconds, so this is not rude.
const FIRST: Duration = Duration::from_millis(2);

/// Pauses that grow.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    /// Each pause is longer than the one before by this part of it, and so about this part of all before.
    part: u32,
    longest: Duration,
}

impl Pace {
    /// Between dials: an agent that listens a second after its address shows is noticed within 8 ms.
    pub(super) const fn of_dials() -> Self {
        Self { pause: FIRST, part: 200, longest: Self::LONGEST_DIAL }
    }

    /// Between checks that were answered by a no, which cost the agent more than a dial.
    pub(super) const fn of_checks() -> Self {
        Self { pause: FIRST, part: 20, longest: Duration::from_millis(50) }
    }

    /// The longest pause between dials.
    pub(super) const LONGEST_DIAL: Duration = Duration::from_millis(20);

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause + pause / self.part).min(self.longest);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pause after this much waiting, and how many there were.
    fn after(mut pace: Pace, waited: Duration) -> (Duration, u32) {
        let (mut passed, mut count) = (Duration::ZERO, 0);
        loop {
            let pause = pace.next();
            passed += pause;
            count += 1;
            if passed >= waited {
                return (pause, count);
            }
        }
    }

    #[test]
    fn a_pause_is_a_small_part_of_the_wait_and_the_number_of_dials_stays_small() {
        let millis = Duration::from_millis;
        assert_eq!(after(Pace::of_dials(), millis(1)), (FIRST, 1));
        let (pause, count) = after(Pace::of_dials(), millis(1000));
        assert!(pause <= millis(8) && count < 300, "{pause:?} {count}");
        let (pause, count) = after(Pace::of_dials(), Duration::from_mins(1));
        assert!(pause == Pace::LONGEST_DIAL && count < 3500, "{pause:?} {count}");
    }

    #[test]
    fn an_agent_that_says_no_is_asked_less_often() {
        let waited = Duration::from_secs(1);
        let (dials, checks) = (after(Pace::of_dials(), waited).1, after(Pace::of_checks(), waited).1);
        assert!(checks * 2 < dials, "{checks} {dials}");
        assert_eq!(after(Pace::of_checks(), Duration::from_secs(9)).0, Duration::from_millis(50));
    }
}
