//! What a connection does, and what of it is too long.

use super::*;

const HEAD: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_mins(2);

fn settings() -> Settings {
    Settings { head_timeout: HEAD, idle_connection_timeout: IDLE, ..Settings::default() }
}

#[tokio::test(start_paused = true)]
async fn each_thing_that_a_connection_does_has_its_own_limit() {
    let clock = Clock::start();
    let activity = Activity::new(clock);
    let (settings, start) = (settings(), clock.now());
    assert_eq!(activity.due(&settings), Some((start + IDLE, Overdue::Idle)));

    tokio::time::advance(Duration::from_secs(7)).await;
    let first_byte = clock.now();
    activity.read();
    tokio::time::advance(Duration::from_secs(1)).await;
    activity.read();
    assert_eq!(activity.due(&settings), Some((first_byte + HEAD, Overdue::Head)));

    assert_eq!(activity.begin(false), first_byte, "a request arrives with the first byte of its head");
    activity.listen();
    assert_eq!(activity.due(&settings), None, "a request that is served may take its time");
    activity.read();

    let blocked = clock.now();
    activity.written(true);
    tokio::time::advance(Duration::from_secs(1)).await;
    activity.written(true);
    assert_eq!(activity.due(&settings), Some((blocked + IDLE, Overdue::Stalled)));
    activity.written(false);
    assert_eq!(activity.due(&settings), None);

    let end = clock.now();
    activity.end(end);
    assert_eq!(activity.due(&settings), Some((end + IDLE, Overdue::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_rests_between_requests_and_neither_before_nor_with_http2() {
    let clock = Clock::start();
    let activity = Activity::new(clock);
    let settings = settings();
    let (idle, rest) = (clock.now() + IDLE, clock.now() + settings.rest_after);
    assert_eq!(activity.due(&settings), Some((idle, Overdue::Idle)), "nobody has asked");
    activity.ask(Version::HTTP_11);
    assert_eq!(activity.due(&settings), Some((rest, Overdue::Rest)));
    let never = Settings { rest_after: IDLE, ..settings.clone() };
    assert_eq!(activity.due(&never), Some((idle, Overdue::Idle)));
    activity.rest(true);
    assert_eq!(activity.due(&settings), Some((idle, Overdue::Idle)), "it is at rest");
    activity.read();
    activity.rest(false);
    assert_eq!(activity.due(&settings), Some((clock.now() + HEAD, Overdue::Head)));
    activity.begin(true);
    activity.end(clock.now());
    assert_eq!(activity.due(&settings), Some((idle, Overdue::Idle)), "there is more to read of it");
    activity.begin(false);
    activity.end(clock.now());
    assert_eq!(activity.due(&settings), Some((rest, Overdue::Rest)));
    activity.multiplex();
    assert_eq!(activity.due(&settings), Some((idle, Overdue::Idle)));
}

#[tokio::test(start_paused = true)]
async fn it_is_looked_now_and_then_whether_a_caller_is_there_to_whom_nobody_listens() {
    let clock = Clock::start();
    let activity = Activity::new(clock);
    let settings = settings();
    let begun = clock.now();
    activity.begin(true);
    assert_eq!(activity.due(&settings), Some((begun + LOOK_EVERY, Overdue::Unheard)));
    tokio::time::advance(Duration::from_millis(700)).await;
    assert_eq!(activity.due(&settings), Some((begun + LOOK_EVERY, Overdue::Unheard)), "not put off");
    activity.looked();
    let looked = clock.now();
    assert_eq!(activity.due(&settings), Some((looked + LOOK_EVERY, Overdue::Unheard)));
    activity.silence.begin(looked, Duration::from_millis(10));
    let silent = looked + Duration::from_millis(10);
    assert_eq!(activity.due(&settings), Some((silent, Overdue::Silent)), "what is first counts");
    activity.silence.end();
    activity.listen();
    assert_eq!(activity.due(&settings), None, "hyper is told");
    activity.turn();
    tokio::time::advance(Duration::from_millis(700)).await;
    assert_eq!(activity.due(&settings), Some((clock.now() + LOOK_EVERY, Overdue::Unheard)));
    activity.multiplex();
    assert_eq!(activity.due(&settings), None);
}

/// How often.
#[derive(Default)]
struct Woken(AtomicU32);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn no_more_of_an_answer_is_wanted_than_its_caller_takes() {
    let activity = Activity::new(Clock::start());
    activity.begin(false);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let cx = Context::from_waker(&waker);
    activity.gave(MAX_UNWRITTEN - 1);
    assert!(!activity.is_behind());
    activity.gave(1);
    assert!(activity.is_behind());
    activity.took_bytes(1, &cx);
    assert!(!activity.is_behind());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "whoever was told to wait asks again");
    activity.took_bytes(MAX_UNWRITTEN, &cx);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "nobody waits");
    activity.gave(MAX_UNWRITTEN);
    activity.begin(false);
    assert!(!activity.is_behind(), "that was the request before");
    activity.multiplex();
    activity.gave(MAX_UNWRITTEN);
    assert!(!activity.is_behind(), "HTTP/2 has windows");
}
