//! How many requests may be under way at once.

/// Adapts to what the receiver takes: one more for each round of successes, half for each sign of overload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    size: f64,
    max: f64,
}

impl Window {
    /// Starts with one request, and never has more than `max`.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { size: 1.0, max: f64::from(max.max(1)) }
    }

    /// Requests that may be under way.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to max")]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// A request was taken.
    pub fn grow(&mut self) {
        self.size = (self.size + 1.0 / self.size).min(self.max);
    }

    /// The receiver is overloaded or away.
    pub fn shrink(&mut self) {
        self.size = (self.size / 2.0).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_between_one_and_the_most() {
        let mut window = Window::new(4);
        assert_eq!(window.size(), 1);
        for _ in 0..100 {
            window.grow();
        }
        assert_eq!(window.size(), 4);
        window.shrink();
        assert_eq!(window.size(), 2);
        for _ in 0..100 {
            window.shrink();
        }
        assert_eq!(window.size(), 1);
        assert_eq!(Window::new(0).size(), 1);
    }
}
