//! How many requests may be under way at once, and how large each.

/// Bytes of a request before compression: receivers of gRPC take 4 MiB where nobody set another limit, and the parts of
/// Loki speak gRPC with each other.
const BYTES_MAX: usize = 3 * 1024 * 1024;
/// A request that is smaller than this is not made of several batches.
const BYTES_MIN: usize = 64 * 1024;

/// Adapts to what the receiver takes: one request more for each round of successes, half for each sign of overload; half the
/// bytes when one was too large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    size: f64,
    max: f64,
    bytes: usize,
}

impl Window {
    /// Starts with one request, and never has more than `max`.
    #[must_use]
    pub fn new(max: u32) -> Self {
        Self { size: 1.0, max: f64::from(max.max(1)), bytes: BYTES_MAX }
    }

    /// Requests that may be under way.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to max")]
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// Bytes that a request of several batches may have, before compression.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A request was taken.
    pub fn grow(&mut self) {
        self.size = (self.size + 1.0 / self.size).min(self.max);
    }

    /// The receiver is overloaded or away.
    pub fn shrink(&mut self) {
        self.size = (self.size / 2.0).max(1.0);
    }

    /// The receiver does not take requests that are so large.
    pub fn too_large(&mut self) {
        self.bytes = (self.bytes / 2).max(BYTES_MIN);
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

    #[test]
    fn requests_that_were_too_large_become_smaller() {
        let mut window = Window::new(4);
        assert_eq!(window.bytes(), BYTES_MAX);
        window.too_large();
        assert_eq!(window.bytes(), BYTES_MAX / 2);
        for _ in 0..100 {
            window.too_large();
        }
        assert_eq!(window.bytes(), BYTES_MIN);
    }
}
