//! Whether somebody told us to end. A flag, not a handler: whoever waits looks at it, so that cleaning up runs as
//! ordinary code.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static IGNORED: AtomicBool = AtomicBool::new(false);

/// From now on, SIGINT, SIGTERM and SIGHUP end waits instead of the program.
pub fn listen() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ASKED))?;
    }
    Ok(())
}

/// Whether one of the signals came, and matters.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed) && !IGNORED.load(Ordering::Relaxed)
}

/// From now on the signals change nothing: what is left to do is to clean up.
pub fn ignore() {
    IGNORED.store(true, Ordering::Relaxed);
}
