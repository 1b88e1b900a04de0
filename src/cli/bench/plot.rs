//! The latencies of a run by percentile, as an SVG file.
//!
//! The horizontal axis has as much room for the last percent as for those before it, and for the
//! last tenth of it again: that is where servers differ.

use std::path::Path;

use plotters::prelude::*;

use crate::load::Report;

/// The picture in pixels.
const SIZE: (u32, u32) = (900, 500);

/// Draws the latencies of messages, or of handshakes if there were no messages.
pub(super) fn draw(report: &Report, path: &Path) -> Result<(), String> {
    let latencies = &report.latencies;
    if latencies.is_empty() {
        return Err("nothing was measured".to_owned());
    }
    let points: Vec<(f64, f64)> = latencies
        .iter_quantiles(5)
        .filter(|at| at.quantile_iterated_to() < 1.0)
        .map(|at| (nines(at.quantile_iterated_to()), at.value_iterated_to() as f64 / 1e6))
        .collect();
    let width = points.last().map_or(1.0, |(nines, _)| *nines).max(1.0);
    let height = latencies.max() as f64 / 1e6;
    let caption = format!("{}: {} connections", report.scenario, report.connections);
    render(path, &caption, points, (width, height)).map_err(|error| error.to_string())
}

/// How many nines a quantile has: 0.9 has one, 0.99 two.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

type Failure<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn render<'a>(
    path: &'a Path,
    caption: &str,
    points: Vec<(f64, f64)>,
    (width, height): (f64, f64),
) -> Result<(), Failure<'a>> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..width, 0.0..height * 1.05)?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .y_desc("milliseconds")
        .x_labels(6)
        .x_label_formatter(&|nines| format!("{}", (100.0 - 100.0 * 10f64.powf(-nines)) as f32))
        .draw()?;
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    area.present()
}
