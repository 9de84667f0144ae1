//! How many instructions something takes: unlike time, that is the same on a busy machine as on an idle one, so that a change of
//! it is a change of the program. Counted by callgrind, and compared with what is committed.
//!
//! Each is done N times and 2N times in a process of its own; what both have in common, such as the start, cancels out.

pub mod baseline;
mod callgrind;
mod repeated;
mod warm;

use std::path::Path;

use baseline::{Baseline, Counts};

pub use repeated::run;

/// The name of the whole way of a request.
const WARM_REQUEST: &str = "warm-request";

/// Counts all, prints the comparison with the baseline, and says whether nothing has become more expensive. With `renew`, writes
/// the baseline anew instead.
pub fn check(file: &Path, renew: bool) -> anyhow::Result<bool> {
    let counts = count_all()?;
    if renew {
        Baseline::of(counts).write(file)?;
        println!("wrote {}", file.display());
        return Ok(true);
    }
    let comparison = Baseline::read(file)?.compare(&counts);
    print!("{comparison}");
    Ok(comparison.is_good())
}

fn count_all() -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for (name, times) in repeated::ALL {
        let program = |times: u64| callgrind::this_program(["repeat", name, &times.to_string()]);
        let once = callgrind::collected(&mut program(times))?;
        let twice = callgrind::collected(&mut program(2 * times))?;
        counts.insert(name.to_owned(), per_time(once, twice, times));
    }
    counts.insert(WARM_REQUEST.to_owned(), warm::count()?);
    Ok(counts)
}

/// What one of the N takes that the second count has more than the first.
const fn per_time(once: u64, twice: u64, times: u64) -> u64 {
    (twice.saturating_sub(once) + times / 2) / times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_in_common_cancels_out() {
        assert_eq!(per_time(1_000_000 + 50 * 100, 1_000_000 + 50 * 200, 100), 50);
        assert_eq!(per_time(10, 10 + 149, 100), 1, "it is rounded");
        assert_eq!(per_time(10, 10 + 151, 100), 2);
    }

    #[test]
    fn the_baseline_that_is_committed_names_what_is_counted() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml");
        let mut named: Vec<_> = repeated::ALL.iter().map(|(name, _)| *name).chain([WARM_REQUEST]).collect();
        named.sort_unstable();
        let baseline = Baseline::read(&file).unwrap();
        assert_eq!(baseline.names().collect::<Vec<_>>(), named);
    }
}
