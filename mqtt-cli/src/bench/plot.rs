//! The diagrams of a benchmark: throughput and latency over time, and the distribution of latencies.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::Report;

type Area<'s> = DrawingArea<SVGBackend<'s>, Shift>;
/// A line: its name and its points.
type Line = (String, Vec<(f64, f64)>);

const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), RGBColor(148, 103, 189)];

/// An SVG with three diagrams, one below the other.
pub(super) fn draw(reports: &[Report]) -> Result<String, String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (900, 1050)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let parts = area.split_evenly((3, 1));
        let [throughput, latency, distribution] = parts.as_slice() else {
            return Err("no room for three diagrams".to_owned());
        };
        diagram(throughput, "Messages received per second", "second", &over_time(reports, "", received))?;
        diagram(latency, "Latency in ms over time", "second", &latencies(reports))?;
        let axis = "percentile: 1 is p90, 2 is p99, 3 is p99.9";
        diagram(distribution, "Distribution of the latency in ms", axis, &percentiles(reports))?;
        area.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

fn received(second: &super::Second) -> f64 {
    if second.received == 0 { second.sent as f64 } else { second.received as f64 }
}

fn over_time(reports: &[Report], what: &str, value: fn(&super::Second) -> f64) -> Vec<Line> {
    let line = |report: &Report| {
        let points = report.seconds.iter().map(|(number, second)| (*number as f64, value(second)));
        (format!("{} {what}", report.target), points.collect())
    };
    reports.iter().map(line).collect()
}

fn latencies(reports: &[Report]) -> Vec<Line> {
    let mut lines = over_time(reports, "p50", |second| second.latency.value_at_percentile(50.0) as f64 / 1e6);
    lines.extend(over_time(reports, "p99", |second| second.latency.value_at_percentile(99.0) as f64 / 1e6));
    lines
}

/// Over the number of nines, so that the slowest are seen.
fn percentiles(reports: &[Report]) -> Vec<Line> {
    let line = |report: &Report| {
        let points = (0..=40).map(|step| {
            let nines = f64::from(step) / 10.0;
            let percentile = 100.0 - 100.0 * 10_f64.powf(-nines);
            (nines, report.latency.value_at_percentile(percentile) as f64 / 1e6)
        });
        (report.target.clone(), points.collect())
    };
    reports.iter().map(line).collect()
}

fn diagram(area: &Area<'_>, title: &str, axis: &str, lines: &[Line]) -> Result<(), String> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let first = points().map(|point| point.0).fold(f64::MAX, f64::min).min(1e9);
    let last = points().map(|point| point.0).fold(first + 1.0, f64::max);
    let highest = points().map(|point| point.1).fold(1e-3, f64::max) * 1.1;
    let fault = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d(first..last, 0.0..highest)
        .map_err(fault)?;
    chart.configure_mesh().x_desc(axis).light_line_style(WHITE).draw().map_err(fault)?;
    for ((name, points), colour) in lines.iter().zip(COLOURS.into_iter().cycle()) {
        let series = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        let drawn = chart.draw_series(series).map_err(fault)?;
        drawn
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw().map_err(fault)
}
