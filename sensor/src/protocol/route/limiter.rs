//! A bound on distinct routes.

use std::collections::{HashMap, HashSet};

use super::OTHER;

/// The bounds of a [`RouteLimiter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// Distinct routes of one service.
    pub routes_per_service: usize,
    /// Services whose routes are told apart; all routes of any further one are [`OTHER`].
    pub services: usize,
}

impl Default for RouteLimits {
    fn default() -> Self {
        Self { routes_per_service: 100, services: 512 }
    }
}

/// Lets the first routes of each service pass, and turns the others into [`OTHER`].
///
/// First come, first served, for as long as it lives: a route that once passed always will.
#[derive(Debug)]
pub struct RouteLimiter {
    limits: RouteLimits,
    services: HashMap<Box<str>, HashSet<Box<str>>>,
    folded: u64,
}

impl RouteLimiter {
    /// A limiter that let nothing pass yet.
    #[must_use]
    pub fn new(limits: RouteLimits) -> Self {
        Self { limits, services: HashMap::new(), folded: 0 }
    }

    /// The route, or [`OTHER`] when the service has too many.
    pub fn limit<'a>(&mut self, service: &str, route: &'a str) -> &'a str {
        if route == OTHER || self.admits(service, route) {
            return route;
        }
        self.folded += 1;
        OTHER
    }

    /// How many times a route was turned into [`OTHER`].
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// Distinct routes that are known, of all services.
    #[must_use]
    pub fn routes(&self) -> usize {
        self.services.values().map(HashSet::len).sum()
    }

    fn admits(&mut self, service: &str, route: &str) -> bool {
        if !self.services.contains_key(service) {
            if self.services.len() >= self.limits.services {
                return false;
            }
            self.services.insert(service.into(), HashSet::new());
        }
        let Some(routes) = self.services.get_mut(service) else { return false };
        if routes.contains(route) {
            return true;
        }
        let has_room = routes.len() < self.limits.routes_per_service;
        if has_room {
            routes.insert(route.into());
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_beyond_the_limit_are_folded_and_counted() {
        let mut limiter = RouteLimiter::new(RouteLimits { routes_per_service: 2, services: 2 });
        assert_eq!(limiter.limit("a", "/1"), "/1");
        assert_eq!(limiter.limit("a", "/2"), "/2");
        assert_eq!(limiter.limit("a", "/3"), OTHER);
        assert_eq!(limiter.limit("a", "/1"), "/1");
        assert_eq!(limiter.limit("b", "/3"), "/3");
        assert_eq!(limiter.limit("c", "/1"), OTHER);
        assert_eq!(limiter.limit("c", OTHER), OTHER);
        assert_eq!((limiter.folded(), limiter.routes()), (2, 3));
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = RouteLimiter::new(RouteLimits::default());
        for service in 0..1000 {
            for route in 0..200 {
                limiter.limit(&service.to_string(), &format!("/{route}"));
            }
        }
        assert_eq!(limiter.routes(), 512 * 100);
        assert_eq!(limiter.folded(), 1000 * 200 - 512 * 100);
    }
}
