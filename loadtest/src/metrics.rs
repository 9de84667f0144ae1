//! Reads what Drowse counts, from its metrics in the Prometheus text format.

/// The sum over all labels of one metric.
pub(crate) fn counted(metrics: &str, name: &str) -> u64 {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let own = samples.filter(|rest| rest.starts_with(['{', ' ']));
    own.filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// The value of one series, which is named with all its labels; `None` if there is none.
pub(crate) fn series(metrics: &str, name: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other_is() {
        let metrics =
            "# TYPE a_total counter\na_total{x=\"y z\"} 2\na_total{x=\"w\"} 3\na_total_more 7\nb 9\n";
        let sums = ["a_total", "a_total_more", "none"].map(|name| counted(metrics, name));
        assert_eq!(sums, [5, 7, 0]);
    }

    #[test]
    fn one_series_is_read_by_its_whole_name() {
        let metrics = "a{x=\"y\"} 2\na{x=\"y z\"} 3\nb 9\n";
        let values = ["a{x=\"y\"}", "a", "b", "c"].map(|name| series(metrics, name));
        assert_eq!(values, [Some(2), None, Some(9), None]);
    }
}
