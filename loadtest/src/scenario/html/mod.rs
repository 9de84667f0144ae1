//! The report as one page of HTML that needs nothing else: tables, and plots as inline SVG, for light and dark screens.

mod plot;
mod series;
#[cfg(test)]
mod tests;
mod ticks;

use std::fmt::Write as _;

use super::figures::{Figures, Latency, PartFigures, cells};
use super::machine::Machine;
use super::watch::{Look, PartLook};
use plot::{Line, Plot};
use series::{largest, mean};
use ticks::Axis;

/// All runs, and what they ran on.
pub(super) fn page(machine: &Machine, all: &[Figures]) -> String {
    let style = include_str!("style.css");
    let facts = facts(machine.facts.iter().map(|(name, value)| (*name, value.as_str())));
    let runs: String = all.iter().map(run).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"/>\n<title>Drowse under load</title>\n<style>\n{style}</style>\n</head>\n\
         <body>\n<header>\n<h1>Drowse under load</h1>\n{facts}</header>\n<main>\n{runs}</main>\n<footer>A latency counts from \
         when a call should have been made, whenever it was. Generator, Drowse and agents share the CPUs: compare what comes \
         from one machine.</footer>\n</body>\n</html>\n"
    )
}

/// What stands for itself in text and in attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn facts<'a>(facts: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = "<dl>\n".to_owned();
    for (name, value) in facts {
        _ = writeln!(text, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    text + "</dl>\n"
}

fn run(figures: &Figures) -> String {
    let own = figures.facts();
    format!(
        "<section>\n<h2>{}</h2>\n<p>{}</p>\n{}{}{}{}<div class=\"plots\">\n{}</div>\n</section>\n",
        escape(&figures.name),
        escape(&figures.about),
        goals(figures),
        calls(figures),
        latencies(figures),
        facts(own.iter().map(|(name, value)| (*name, value.as_str()))),
        plots(figures),
    )
}

fn goals(figures: &Figures) -> String {
    let mut text = "<ul class=\"goals\">\n".to_owned();
    for goal in &figures.goals {
        let class = if goal.is_met() { "met" } else { "missed" };
        _ = writeln!(text, "<li class=\"{class}\">{}</li>", escape(goal.text().trim()));
    }
    text + "</ul>\n"
}

/// The first cell of each row is its head. Columns of numbers are to the right. On a narrow screen it scrolls by itself.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let is_number =
        |row: &Vec<String>, at: usize| row.get(at).is_some_and(|cell| cell.parse::<f64>().is_ok());
    let class = |at| if rows.iter().all(|row| is_number(row, at)) { " class=\"number\"" } else { "" };
    let mut text = "<div class=\"scroll\"><table>\n<thead><tr>".to_owned();
    for (at, head) in heads.iter().enumerate() {
        _ = write!(text, "<th scope=\"col\"{}>{}</th>", class(at), escape(head));
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in rows {
        text += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            _ = if at == 0 {
                write!(text, "<th scope=\"row\">{cell}</th>")
            } else {
                write!(text, "<td{}>{cell}</td>", class(at))
            };
        }
        text += "</tr>\n";
    }
    text + "</tbody>\n</table></div>\n"
}

fn calls(figures: &Figures) -> String {
    let rows = figures.parts.iter().map(|part| {
        let PartFigures { name, kind, arrivals, popularity, calls, answered, hung_up, failed, .. } = part;
        let failed =
            if *failed > 0 { format!("{failed} ({})", part.failures.text()) } else { "0".to_owned() };
        let mut when = arrivals.clone();
        if let Some(cut) = &part.trace {
            _ = write!(when, ": {}", cut.text());
        }
        let to = popularity.clone().unwrap_or_else(|| "as in the trace".to_owned());
        vec![
            name.clone(),
            (*kind).to_owned(),
            calls.to_string(),
            answered.to_string(),
            hung_up.to_string(),
            failed,
            when,
            to,
        ]
    });
    table(
        &["calls", "kind", "due", "answered", "hung up", "failed", "when", "to whom"],
        &rows.collect::<Vec<_>>(),
    )
}

fn latencies(figures: &Figures) -> String {
    let rows = lines_of_latency(figures).map(|(name, Latency { quantiles, .. })| {
        let mut row = vec![name];
        row.extend(cells(quantiles));
        row
    });
    table(&["latency, ms", "calls", "p50", "p90", "p99", "p99.9", "max"], &rows.collect::<Vec<_>>())
}

fn lines_of_latency(figures: &Figures) -> impl Iterator<Item = (String, &Latency)> {
    figures.parts.iter().flat_map(|part| {
        part.latencies().map(move |(name, latency)| (format!("{}, {name}", part.name), latency))
    })
}

fn plots(figures: &Figures) -> String {
    let Figures { looks, parts, length_secs, .. } = figures;
    let last = looks.last().map_or(*length_secs, |look| look.at.max(*length_secs));
    let seconds = Axis::seconds(last);
    let of_part = |value: fn(&PartLook, f64) -> Option<f64>, fold: series::Fold| {
        let line = |(at, part): (usize, &PartFigures)| {
            let points = series::of(looks, fold, |look| value(look.parts.get(at)?, look.secs));
            Line::new(at, &part.name, points)
        };
        parts.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    let of_all = |name: &str, fold: series::Fold, value: fn(&Look) -> Option<f64>| {
        vec![Line::new(0, name, series::of(looks, fold, value))]
    };
    let mut rate = of_part(|part, secs| Some(part.answered as f64 / secs), mean);
    if parts.iter().any(|part| part.failed > 0) {
        let failed =
            |look: &Look| Some(look.parts.iter().map(|part| part.failed).sum::<u64>() as f64 / look.secs);
        rate.push(Line::bad("failed", series::of(looks, largest, failed)));
    }
    let curves = lines_of_latency(figures).enumerate();
    let curves = curves.map(|(at, (name, latency))| Line::new(at, &name, latency.curve.clone())).collect();
    let time = |title, lines, log: bool| Plot { title, x: seconds.clone(), log_y: log, lines };
    let most_calls =
        lines_of_latency(figures).map(|(_, latency)| latency.quantiles.count).max().unwrap_or_default();
    let plots = [
        Plot {
            title: "Latency by percentile, ms",
            x: Axis::percentiles(most_calls),
            log_y: true,
            lines: curves,
        },
        time("Answers a second", rate, false),
        time("p99 of the answers of each second, ms", of_part(|part, _| part.p99_ms, largest), true),
        time("Agents up", of_all("agents up", largest, |look| look.agents_up.map(|up| up as f64)), false),
        time(
            "Resident memory of Drowse, MB",
            of_all("memory", mean, |look| Some(look.rss_kb as f64 / 1000.0)),
            false,
        ),
        time("CPU of Drowse, % of one CPU", of_all("CPU", mean, |look| Some(look.cpu_percent)), false),
    ];
    plots.iter().map(Plot::html).collect()
}
