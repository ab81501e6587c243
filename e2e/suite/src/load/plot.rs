//! A plot of lines, as SVG.

use std::fmt::Write as _;

use super::page::escaped;

/// Lines over a common axis.
pub struct Plot<'p> {
    /// What is drawn, with its unit.
    pub title: &'p str,
    /// The unit of the axis at the bottom. An axis without a unit has no numbers.
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
/// The width of a letter, which is rather less.
const LETTER: f64 = 6.4;
/// Colours that people tell apart, also those who see few.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

impl Plot<'_> {
    /// Adds the plot, with its title and what its colours mean.
    pub fn draw(&self, html: &mut String) {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let right = points().map(|(x, _)| *x).fold(0.0, f64::max).max(1e-9);
        let (step, steps) = round(points().map(|(_, y)| *y).fold(0.0, f64::max));
        let top = step * f64::from(steps);
        let x = |value: f64| LEFT + value / right * (WIDTH - LEFT - 6.0);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
        let _infallible = write!(
            html,
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escaped(self.title),
            escaped(self.title)
        );
        for part in 0..=steps {
            let value = step * f64::from(part);
            let _infallible = write!(
                html,
                "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#8883\"/>\
                 <text x=\"{end}\" y=\"{text:.1}\" text-anchor=\"end\">{value}</text>",
                at = y(value),
                end = LEFT - 5.0,
                text = y(value) + 4.0,
                value = tick(value)
            );
        }
        let bounds: Vec<_> = self.bounds.iter().filter(|(at, _)| *at <= right).collect();
        for (number, (at, name)) in bounds.iter().enumerate() {
            let end = bounds.get(number + 1).map_or(WIDTH, |(next, _)| x(*next));
            let _infallible = write!(
                html,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#8886\" stroke-dasharray=\"3 3\"/>\
                 <text x=\"{text:.1}\" y=\"11\">{}</text>",
                escaped(&shortened(name, end - x(*at) - 4.0)),
                at = x(*at),
                bottom = HEIGHT - BOTTOM,
                text = x(*at) + 2.0
            );
        }
        let (step, steps) = round(right);
        let marks = (0..=steps).map(|part| step * f64::from(part)).filter(|at| *at <= right && !self.x.is_empty());
        for at in marks {
            let (anchor, unit) = if at + step > right { ("end", self.x) } else { ("middle", "") };
            let place = if anchor == "end" { (x(at) + 8.0).min(WIDTH) } else { x(at) };
            let _infallible = write!(
                html,
                "<text x=\"{place:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{} {}</text>",
                HEIGHT - 6.0,
                tick(at),
                escaped(unit)
            );
        }
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

/// A step that people count in, and how many of them reach a value, which are four or five at most.
fn round(value: f64) -> (f64, u32) {
    let least = value.max(1e-9) / 4.0;
    let magnitude = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0].map(|part| part * magnitude).into_iter().find(|step| *step >= least * 0.999);
    let step = step.unwrap_or(10.0 * magnitude);
    let steps = (1..=5).find(|steps| step * f64::from(*steps) >= value).unwrap_or(5);
    (step, steps)
}

/// A number at an axis.
fn tick(value: f64) -> String {
    let value = format!("{value:.6}");
    value.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// As much of a name as has room, in the units of the plot; nothing if that says nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some letters")]
fn shortened(name: &str, room: f64) -> String {
    let letters = (room / LETTER).max(0.0) as usize;
    match name.chars().count() {
        all if all <= letters => name.to_owned(),
        _ if letters < 4 => String::new(),
        _ => name.chars().take(letters - 1).collect::<String>().trim_end().to_owned() + "…",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers_and_names_have_room() {
        for (value, expected) in
            [(789.0, (200.0, 4)), (1.05, (0.5, 3)), (4.0, (1.0, 4)), (0.0, (2.5e-10, 1)), (130.0, (50.0, 3))]
        {
            let (step, steps) = round(value);
            assert!((step - expected.0).abs() < 1e-9 && steps == expected.1, "{value}: {step} {steps}");
            assert!(step * f64::from(steps) >= value);
        }
        assert_eq!((tick(2000.0), tick(0.25), tick(0.0)), ("2000".to_owned(), "0.25".to_owned(), "0".to_owned()));
        assert_eq!(
            (shortened("rush hour", 60.0), shortened("rush hour", 40.0), shortened("night", 20.0)),
            ("rush hour".to_owned(), "rush…".to_owned(), String::new())
        );
    }

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
