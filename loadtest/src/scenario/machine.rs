//! What figures belong to: a machine, and a program.

use std::fmt::Display;
use std::process::Command;

use ::drowse::time::Clock;

use crate::drowse::Program;
use crate::procfs;

/// What was found out about it before the runs. What cannot be is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    /// What and how, in the order in which people want to know.
    pub(super) facts: Vec<(&'static str, String)>,
}

impl Machine {
    pub(super) fn read(program: &Program) -> Self {
        let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(0, Into::<usize>::into);
        let model = value(&read("/proc/cpuinfo"), "model name");
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let gigabytes = memory.trim_end_matches(" kB").parse::<f64>().map_or(0.0, |kb| kb / 1e6);
        let version = Command::new(&program.0).arg("--version").output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let generator = if cfg!(debug_assertions) {
            "built without optimisation: the figures mean nothing"
        } else {
            "built with optimisation"
        };
        let fact = |name, value: &dyn Display| (name, value.to_string());
        Self {
            facts: vec![
                fact("program", &version.unwrap_or_default()),
                fact("CPUs", &format!("{cpus}, {model}")),
                fact("memory", &format!("{gigabytes:.1} GB")),
                fact("kernel", &read("/proc/sys/kernel/osrelease").trim()),
                fact("load before", &procfs::load_average()),
                fact("generator", &generator),
                fact("date", &Clock::calendar().strftime("%Y-%m-%d %H:%M UTC")),
            ],
        }
    }
}

/// Of a line `name : value`.
fn value(text: &str, name: &str) -> String {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(found, _)| found.trim() == name);
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_name() {
        let text = "processor\t: 0\nmodel name\t: Fast CPU @ 3: GHz\nmodel name\t: other\n";
        assert_eq!(value(text, "model name"), "Fast CPU @ 3: GHz");
        assert_eq!(value(text, "none"), "");
    }
}
