//! One plot as inline SVG: lines over an axis, and a legend if there are several.

use std::fmt::Write as _;

use super::escape;
use super::ticks::Axis;

/// In units of the drawing, which scales with the page.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Lines of no more points than this have marks at them, since they may be too short to be seen.
const MARKED: usize = 12;
/// Colours in the style sheet.
const COLOURS: usize = 6;

/// Lines over one axis.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) log_y: bool,
    pub(super) lines: Vec<Line>,
}

/// A name and its points, in order.
#[derive(Debug)]
pub(super) struct Line {
    class: String,
    name: String,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// In the colour of its number.
    pub(super) fn new(number: usize, name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { class: format!("c{}", number % COLOURS), name: name.to_owned(), points }
    }

    /// In the colour of what is wrong.
    pub(super) fn bad(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { class: "bad".to_owned(), name: name.to_owned(), points }
    }
}

impl Plot {
    pub(super) fn html(&self) -> String {
        let title = escape(self.title);
        let drawing = if self.lines.iter().all(|line| line.points.is_empty()) {
            "<p class=\"nothing\">nothing to show</p>\n".to_owned()
        } else {
            self.svg(&title)
        };
        format!("<figure>\n<figcaption>{title}{}</figcaption>\n{drawing}</figure>\n", self.legend())
    }

    fn legend(&self) -> String {
        if self.lines.len() < 2 {
            return String::new();
        }
        let item = |line: &Line| format!("<span class=\"key {}\">{}</span>", line.class, escape(&line.name));
        format!("<span class=\"legend\">{}</span>", self.lines.iter().map(item).collect::<String>())
    }

    /// Over all lines. A log axis leaves out what is not above zero.
    fn y_axis(&self) -> Axis {
        let values = self.lines.iter().flat_map(|line| &line.points).map(|point| point.1);
        let most = values.clone().fold(0.0, f64::max);
        if self.log_y {
            Axis::decades(values.filter(|value| *value > 0.0).fold(f64::MAX, f64::min), most)
        } else {
            Axis::linear(most)
        }
    }

    fn svg(&self, title: &str) -> String {
        let y = self.y_axis();
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n");
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, text) in &y.ticks {
            let at = y_of(&y, *value);
            _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
            _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                escape(text)
            );
        }
        for (value, text) in &self.x.ticks {
            let at = x_of(&self.x, *value);
            _ = writeln!(svg, "<path class=\"tick\" d=\"M{at:.1} {bottom}v4\"/>");
            _ = writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                escape(text)
            );
        }
        _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>");
        for line in &self.lines {
            self.draw(&mut svg, &y, line);
        }
        svg + "</svg>\n"
    }

    fn draw(&self, svg: &mut String, y: &Axis, line: &Line) {
        let Line { class, points, .. } = line;
        let places: Vec<_> = points.iter().map(|(x, value)| (x_of(&self.x, *x), y_of(y, *value))).collect();
        if places.len() > 1 {
            let steps = places.iter().map(|(x, y)| format!("{x:.1} {y:.1}"));
            let path = steps.collect::<Vec<_>>().join("L");
            _ = writeln!(svg, "<path class=\"line {class}\" d=\"M{path}\"/>");
        }
        if places.len() <= MARKED {
            for (x, y) in places {
                _ = writeln!(svg, "<circle class=\"mark {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
            }
        }
    }
}

fn x_of(axis: &Axis, value: f64) -> f64 {
    LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)
}

fn y_of(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_where_their_values_are() {
        let lines =
            vec![Line::new(7, "a", vec![(0.0, 0.0), (10.0, 100.0)]), Line::bad("<b>", vec![(5.0, 50.0)])];
        let html = Plot { title: "t", x: Axis::seconds(10.0), log_y: false, lines }.html();
        assert!(html.contains("<path class=\"line c1\" d=\"M46.0 214.0L490.0 10.0\"/>"), "{html}");
        assert!(html.contains("<circle class=\"mark bad\" cx=\"268.0\" cy=\"112.0\" r=\"2.5\"/>"), "{html}");
        assert!(html.contains("<span class=\"key bad\">&lt;b&gt;</span>"), "{html}");
    }

    #[test]
    fn a_plot_of_nothing_says_so() {
        let lines = vec![Line::new(0, "a", Vec::new())];
        let html = Plot { title: "t", x: Axis::seconds(10.0), log_y: true, lines }.html();
        assert!(html.contains("nothing to show") && !html.contains("<svg"), "{html}");
    }
}
