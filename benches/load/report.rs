//! Minimum, median and maximum: what is reported of every figure.

use std::fmt;

/// Prints a title and, above the columns of spreads, what they are.
pub(crate) fn print_heading(title: &str) {
    println!("\n{title}\n{:41}{:>7} {:>7} {:>7}", "", "min", "median", "max");
}

/// The spread of some figures.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    /// The least.
    pub(crate) min: f64,
    /// The one in the middle.
    pub(crate) median: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let (last, middle) = (figures.len() - 1, figures.len() / 2);
        Self { min: figures[0], median: figures[middle], max: figures[last] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.max < 100.0 { 3 } else { 0 };
        write!(f, "{:7.digits$} {:7.digits$} {:7.digits$}", self.min, self.median, self.max)
    }
}
