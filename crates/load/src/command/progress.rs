//! The progress bar, on a terminal only: indicatif hides it elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use crate::Progress;

/// A bar that shows one stage after the other.
pub(super) struct Bar {
    bar: ProgressBar,
    stage: &'static str,
}

impl Bar {
    pub(super) fn new() -> Self {
        let style = "{msg:>10} {bar:40} {pos}/{len} {elapsed}";
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
        Self { bar, stage: "" }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        if self.stage != progress.stage {
            self.stage = progress.stage;
            self.bar.set_message(progress.stage);
            self.bar.reset();
        }
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done.min(progress.total));
    }

    /// Leaves the terminal as it was.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
