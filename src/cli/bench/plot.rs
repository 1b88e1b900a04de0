//! A picture of a run, as an SVG file: the latencies by percentile, or the pings over time.
//!
//! The axis of percentiles has as much room for the last percent as for those before it, and for
//! the last tenth of it again: that is where servers differ.

use std::path::Path;

use plotters::prelude::*;

use crate::load::Report;

/// The picture in pixels.
const SIZE: (u32, u32) = (900, 500);

/// A line and what its axes mean.
struct Picture {
    caption: String,
    x: &'static str,
    y: &'static str,
    format_x: fn(&f64) -> String,
    points: Vec<(f64, f64)>,
}

/// Draws the pings, or the latencies of messages, or of handshakes if there were neither.
pub(super) fn draw(report: &Report, path: &Path) -> Result<(), String> {
    let picture = pings(report).or_else(|| latencies(report)).ok_or("nothing was measured")?;
    render(path, &picture).map_err(|error| error.to_string())
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

fn render<'a>(path: &'a Path, picture: &Picture) -> Result<(), Failure<'a>> {
    let most = |value: fn(&(f64, f64)) -> f64| picture.points.iter().map(value).fold(0.0, f64::max);
    let (width, height) = (most(|point| point.0).max(1.0), most(|point| point.1));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(&picture.caption, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..width, 0.0..height * 1.05)?;
    chart
        .configure_mesh()
        .x_desc(picture.x)
        .y_desc(picture.y)
        .x_labels(6)
        .x_label_formatter(&picture.format_x)
        .draw()?;
    chart.draw_series(LineSeries::new(picture.points.iter().copied(), BLUE.stroke_width(2)))?;
    area.present()
}
