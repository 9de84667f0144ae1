//! The memory of this process, as the system counts it.

/// Resident anonymous memory now, in bytes: what was allocated and touched.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    of_status(&status).expect("/proc/self/status has RssAnon")
}

fn of_status(status: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The load average over the last minute: above zero, others worked too.
pub fn load_average() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_by_name_and_in_bytes() {
        let status = "VmRSS:\t     900 kB\nRssAnon:\t     700 kB\nRssFile:\t     200 kB\n";
        assert_eq!((of_status(status), of_status("VmRSS:\t900 kB\n")), (Some(716_800), None));
        assert_eq!(of_status("RssAnon:\t7 MB\n"), None);
    }

    #[test]
    fn what_is_allocated_and_used_shows() {
        let before = resident();
        let used = vec![1_u8; 256 << 20];
        // Other tests free some meanwhile.
        assert!(resident() >= before + (128 << 20), "{}", used.len());
    }
}
