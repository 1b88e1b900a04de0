//! A picture of a run, as an SVG file: the latencies by percentile, or the pings over time.
//!
//! The axis of percentiles has as much room for the last percent as for those before it, and for
//! the last tenth of it again: that is where servers differ.

use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use crate::Report;

/// The picture in pixels.
const SIZE: (u32, u32) = (900, 500);

/// Its part above the chart, which holds caption and subtitle.
const HEAD: u32 = 64;

/// Percentiles that have a tick, as far as there are measurements.
const PERCENTILES: [f64; 7] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999];

/// A line and what its axes mean.
struct Picture {
    caption: String,
    x: &'static str,
    y: &'static str,
    format_x: fn(&f64) -> String,
    /// Where the horizontal axis has ticks.
    ticks: Vec<f64>,
    points: Vec<(f64, f64)>,
}

/// The horizontal axis, from 0.
struct Axis {
    end: f64,
    ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (left, right): (i32, i32)) -> i32 {
        left + (f64::from(right - left) * value / self.end).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        0.0..self.end
    }
}

/// Draws the pings, or the latencies of messages, or of handshakes if there were neither.
pub(super) fn draw(report: &Report, subtitle: &str, path: &Path) -> Result<(), String> {
    let picture = pings(report).or_else(|| latencies(report)).ok_or("nothing was measured")?;
    render(path, &picture, subtitle).map_err(|error| error.to_string())
}

/// Pings of every tenth of a second, if there were any.
fn pings(report: &Report) -> Option<Picture> {
    let pings = report.pings.as_ref().filter(|pings| pings.count > 0)?;
    let tenths = pings.per_100_ms.iter().enumerate();
    Some(Picture {
        caption: format!("pings to {} idle connections", report.connections),
        x: "seconds",
        y: "pings in 100 ms",
        format_x: |seconds| format!("{seconds}"),
        ticks: (0..=10).map(|tenth| tenth as f64 * pings.per_100_ms.len() as f64 / 100.0).collect(),
        points: tenths.map(|(tenth, &count)| (tenth as f64 / 10.0, count as f64)).collect(),
    })
}

fn latencies(report: &Report) -> Option<Picture> {
    let latencies = &report.latencies;
    let quantiles = latencies.iter_quantiles(5).filter(|at| at.quantile_iterated_to() < 1.0);
    (!latencies.is_empty()).then(|| Picture {
        caption: format!("{}: {} connections", report.scenario, report.connections),
        x: "percentile",
        y: "milliseconds",
        format_x: |nines| format!("{}", (100.0 - 100.0 * 10f64.powf(-nines)) as f32),
        ticks: PERCENTILES.iter().map(|percent| nines(percent / 100.0)).collect(),
        points: quantiles
            .map(|at| (nines(at.quantile_iterated_to()), at.value_iterated_to() as f64 / 1e6))
            .collect(),
    })
}

/// How many nines a quantile has: 0.9 has one, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn render<'a>(path: &'a Path, picture: &Picture, subtitle: &str) -> Result<(), Failure<'a>> {
    let most = |value: fn(&(f64, f64)) -> f64| picture.points.iter().map(value).fold(0.0, f64::max);
    let (width, height) = (most(|point| point.0).max(1.0), most(|point| point.1));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, body) = area.split_vertically(HEAD);
    head.draw_text(&picture.caption, &("sans-serif", 20).into_text_style(&head), (86, 14))?;
    head.draw_text(subtitle, &("sans-serif", 14).into_text_style(&head), (86, 40))?;
    let ticks = picture.ticks.iter().copied().filter(|tick| *tick <= width).collect();
    let mut chart = ChartBuilder::on(&body)
        .margin(16)
        // Half of the last label stands beyond the axis.
        .margin_right(48)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(Axis { end: width, ticks }, 0.0..height * 1.05)?;
    chart
        .configure_mesh()
        .x_desc(picture.x)
        .y_desc(picture.y)
        .x_label_formatter(&picture.format_x)
        .draw()?;
    chart.draw_series(LineSeries::new(picture.points.iter().copied(), BLUE.stroke_width(2)))?;
    area.present()
}
