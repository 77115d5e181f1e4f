//! A plot over the number of tenants, as SVG.

use std::{fmt::Write, fs, path::Path};

use crate::distributions::Distribution;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 48.0;
/// Distinguishable with colour blindness (Okabe and Ito).
const COLOURS: [&str; 4] = ["#000000", "#0072b2", "#e69f00", "#d55e00"];

#[derive(Default)]
pub struct Plot {
    lines: Vec<Line>,
}

struct Line {
    name: &'static str,
    distribution: Distribution,
    points: Vec<(f64, f64)>,
}

impl Plot {
    /// Adds a point; with one tenant it is the first of both lines.
    pub fn add(
        &mut self,
        name: &'static str,
        distribution: Distribution,
        tenants: usize,
        rate: f64,
    ) {
        let both: &[Distribution] = if tenants == 1 {
            &[Distribution::Uniform, Distribution::Zipf]
        } else {
            &[distribution]
        };
        for distribution in both {
            let point = (tenants as f64, rate);
            let same = |line: &&mut Line| line.name == name && line.distribution == *distribution;
            match self.lines.iter_mut().find(same) {
                Some(line) => line.points.push(point),
                None => {
                    self.lines.push(Line {
                        name,
                        distribution: *distribution,
                        points: vec![point],
                    });
                }
            }
        }
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, self.svg()).unwrap();
    }

    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most = points().map(|point| point.0).fold(10.0, f64::max);
        let fastest = points().map(|point| point.1).fold(1.0, f64::max);
        let step = nice(fastest / 5.0);
        let steps = (fastest / step).ceil();
        let x = |tenants: f64| LEFT + (WIDTH - LEFT - RIGHT) * tenants.log10() / most.log10();
        let y = |rate: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rate / (step * steps);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"14\">reads by primary key, per second</text>\n"
        );
        for number in 0..=steps as usize {
            let rate = number as f64 * step;
            let (at, end) = (y(rate), WIDTH - RIGHT);
            writeln!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{rate}</text>",
                LEFT - 8.0,
                at + 4.0
            )
            .unwrap();
        }
        let ticks = (0..).map(|power| 10_f64.powi(power)).take_while(|tenants| *tenants <= most);
        for tenants in ticks {
            let (at, below) = (x(tenants), HEIGHT - BOTTOM + 18.0);
            writeln!(
                svg,
                "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{tenants}</text>"
            )
            .unwrap();
        }
        let (middle, below) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 10.0);
        writeln!(svg, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">tenants</text>")
            .unwrap();
        for (number, line) in self.lines.iter().enumerate() {
            // Both lines of a contender are adjacent and have its colour.
            let colour = COLOURS[number / 2 % COLOURS.len()];
            let dashes = if line.distribution == Distribution::Uniform { "6 4" } else { "none" };
            let stroke =
                format!("stroke=\"{colour}\" stroke-dasharray=\"{dashes}\" stroke-width=\"2\"");
            let points: Vec<String> = line
                .points
                .iter()
                .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
                .collect();
            let (from, at) = (WIDTH - RIGHT + 16.0, TOP + 12.0 + 22.0 * number as f64);
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" {stroke}/>\n\
                 <path d=\"M{from} {at}h28\" {stroke}/><text x=\"{}\" y=\"{}\">{}, {}</text>",
                points.join(" "),
                from + 36.0,
                at + 4.0,
                line.name,
                line.distribution.name(),
            )
            .unwrap();
        }
        svg + "</svg>\n"
    }
}

/// The next larger of 1, 2 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    power * factors.into_iter().find(|factor| power * factor >= step).unwrap_or(10.0)
}
