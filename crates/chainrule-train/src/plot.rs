//! Curves as SVG files.

use crate::error::{Error, Result};
use plotters::prelude::*;
use std::path::Path;

/// A named line of points.
#[derive(Clone, Debug)]
pub struct Curve {
    /// The name in the legend.
    pub name: String,
    /// (x, y), in order of x. Points that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// Draws the curves into one SVG file.
///
/// # Errors
/// A file that cannot be written.
pub fn plot_curves(path: impl AsRef<Path>, title: &str, x_label: &str, y_label: &str, curves: &[Curve]) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, title, x_label, y_label, curves).map_err(|message| Error::File { path: path.as_ref().display().to_string(), message })?;
    std::fs::write(&path, svg).map_err(|error| Error::File { path: path.as_ref().display().to_string(), message: error.to_string() })
}

fn draw(svg: &mut String, title: &str, x_label: &str, y_label: &str, curves: &[Curve]) -> Result<(), String> {
    let finite = || curves.iter().flat_map(|c| &c.points).filter(|(x, y)| x.is_finite() && y.is_finite());
    let range = |value: fn(&(f64, f64)) -> f64| {
        let (low, high) = finite().map(value).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        if low < high { low..high } else { low.min(0.0)..low.max(1.0) }
    };
    let area = SVGBackend::with_string(svg, (800, 500)).into_drawing_area();
    let text = |error: DrawingAreaErrorKind<_>| error.to_string();
    area.fill(&WHITE).map_err(text)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(range(|p| p.0), range(|p| p.1))
        .map_err(text)?;
    chart.configure_mesh().x_desc(x_label).y_desc(y_label).draw().map_err(text)?;
    for (i, curve) in curves.iter().enumerate() {
        let color = Palette99::pick(i).to_rgba();
        let points = curve.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite());
        let line = chart.draw_series(LineSeries::new(points, color.stroke_width(2))).map_err(text)?;
        line.label(&curve.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw().map_err(text)?;
    area.present().map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_svg_with_every_curve() {
        let curve = |name: &str, k: f64| Curve { name: name.into(), points: (0..10).map(|i| (i as f64, k / (1.0 + i as f64))).collect() };
        let mut svg = String::new();
        draw(&mut svg, "loss", "step", "nats", &[curve("training", 2.0), curve("test", 3.0)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("training") && svg.contains("test") && svg.contains("polyline"));
        draw(&mut String::new(), "empty", "", "", &[curve("one point", f64::NAN)]).unwrap();
        assert!(plot_curves("/no/such/folder/x.svg", "", "", "", &[]).unwrap_err().to_string().contains("/no/such/folder/x.svg"));
    }
}
