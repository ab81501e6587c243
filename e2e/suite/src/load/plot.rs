//! A plot of lines, as SVG.

use std::fmt::Write as _;

use super::page::escaped;
use super::text::number;

/// Lines over a common axis.
pub struct Plot<'p> {
    /// What is drawn, with its unit.
    pub title: &'p str,
    /// The unit of the axis at the bottom.
    pub x: &'p str,
    /// The lines.
    pub series: Vec<Series>,
    /// Upright lines, with what begins there.
    pub bounds: &'p [(f64, String)],
}

/// A line.
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 190.0;
/// The place of numbers at the left, and of those at the bottom and the top.
const LEFT: f64 = 46.0;
const BOTTOM: f64 = 22.0;
const TOP: f64 = 16.0;
/// Colours that people tell apart, also those who see few.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

impl Plot<'_> {
    /// Adds the plot, with its title and what its colours mean.
    pub fn draw(&self, html: &mut String) {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let right = points().map(|(x, _)| *x).fold(0.0, f64::max).max(1e-9);
        let top = points().map(|(_, y)| *y).fold(0.0, f64::max).max(1e-9) * 1.05;
        let x = |value: f64| LEFT + value / right * (WIDTH - LEFT - 6.0);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
        let _infallible = write!(
            html,
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escaped(self.title),
            escaped(self.title)
        );
        for part in 0..=4 {
            let value = top * f64::from(part) / 4.0;
            let _infallible = write!(
                html,
                "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#8883\"/>\
                 <text x=\"{end}\" y=\"{text:.1}\" text-anchor=\"end\">{value}</text>",
                at = y(value),
                end = LEFT - 5.0,
                text = y(value) + 4.0,
                value = number(value)
            );
        }
        for (at, name) in self.bounds.iter().filter(|(at, _)| *at <= right) {
            let _infallible = write!(
                html,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#8886\" stroke-dasharray=\"3 3\"/>\
                 <text x=\"{text:.1}\" y=\"11\">{}</text>",
                escaped(name),
                at = x(*at),
                bottom = HEIGHT - BOTTOM,
                text = x(*at) + 2.0
            );
        }
        let _infallible = write!(
            html,
            "<text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{} {}</text>",
            HEIGHT - 6.0,
            number(right),
            escaped(self.x)
        );
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let mut line = String::new();
            for (at, value) in &series.points {
                let _infallible = write!(line, "{:.1},{:.1} ", x(*at), y(*value));
            }
            let _infallible = write!(
                html,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
                line.trim_end()
            );
        }
        html.push_str("</svg><div class=\"legend\">");
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let _infallible =
                write!(html, "<span><i style=\"background:{colour}\"></i>{}</span>", escaped(&series.name));
        }
        html.push_str("</div></figure>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_stays_within_its_frame_and_escapes_names() {
        let series = |name: &str, points: &[(f64, f64)]| Series { name: name.to_owned(), points: points.to_vec() };
        let plot = Plot {
            title: "a < b",
            x: "s",
            series: vec![series("<x>", &[(0.0, 0.0), (10.0, 4.0)]), series("empty", &[])],
            bounds: &[(5.0, "second".to_owned()), (99.0, "outside".to_owned())],
        };
        let mut html = String::new();
        plot.draw(&mut html);
        assert!(html.contains("a &lt; b") && html.contains("&lt;x&gt;") && html.contains("second"), "{html}");
        assert!(!html.contains("outside"), "{html}");
        let points = html.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("points");
        for point in points.split(' ') {
            let (x, y) = point.split_once(',').expect("two numbers");
            let (x, y): (f64, f64) = (x.parse().expect("a number"), y.parse().expect("a number"));
            assert!((LEFT..=WIDTH).contains(&x) && (TOP..=HEIGHT).contains(&y), "{point}");
        }
    }
}
