//! A bound on distinct routes.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet, hash_map::EntryRef};

use super::{OTHER_ROUTE, route_of};
use crate::memo::Memo;

/// The most services whose routes are told apart; all routes of any further one are [`OTHER_ROUTE`].
const SERVICE_LIMIT: usize = 512;

/// Makes routes, lets the first ones of each service pass, and turns its others into [`OTHER_ROUTE`].
///
/// First come, first served, for as long as it lives: a route that once passed always will.
#[derive(Debug)]
pub struct RouteLimiter {
    limit: usize,
    services: HashMap<String, HashSet<Arc<str>>>,
    other: Arc<str>,
    folded: u64,
    /// Routes by path.
    known: Memo<Arc<str>>,
}

impl RouteLimiter {
    /// A limiter that lets `limit` routes of each service pass.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, services: HashMap::new(), other: OTHER_ROUTE.into(), folded: 0, known: Memo::default() }
    }

    /// The route of a service's path (without query), or [`OTHER_ROUTE`] when the service has too many.
    pub fn route(&mut self, service: &str, path: &str) -> Arc<str> {
        let route = self.known.get(path, |path| Some(route_of(path).into()));
        let Some(route) = route.filter(|route| &**route != OTHER_ROUTE) else {
            return Arc::clone(&self.other);
        };
        let is_full = self.services.len() >= SERVICE_LIMIT;
        let routes = match self.services.entry_ref(service) {
            EntryRef::Occupied(entry) => Some(entry.into_mut()),
            EntryRef::Vacant(_) if is_full => None,
            EntryRef::Vacant(entry) => Some(entry.insert(HashSet::new())),
        };
        if let Some(routes) = routes {
            if let Some(route) = routes.get(&*route) {
                return Arc::clone(route);
            }
            if routes.len() < self.limit {
                routes.insert(Arc::clone(&route));
                return route;
            }
        }
        self.folded += 1;
        Arc::clone(&self.other)
    }

    /// How many times a route was turned into [`OTHER_ROUTE`].
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded
    }

    /// Distinct routes that are known, of all services.
    #[must_use]
    pub fn known(&self) -> usize {
        self.services.values().map(HashSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_beyond_the_limit_are_folded_and_counted() {
        let mut limiter = RouteLimiter::new(2);
        assert_eq!(&*limiter.route("a", "/x/1"), "/x/{id}");
        assert_eq!(&*limiter.route("a", "/x/2"), "/x/{id}");
        assert_eq!(&*limiter.route("a", "/y"), "/y");
        assert_eq!(&*limiter.route("a", "/z"), OTHER_ROUTE);
        assert_eq!(&*limiter.route("a", "/y"), "/y");
        assert_eq!(&*limiter.route("b", "/z"), "/z");
        assert_eq!(&*limiter.route("b", "*"), OTHER_ROUTE);
        assert_eq!((limiter.folded(), limiter.known()), (1, 3));
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = RouteLimiter::new(100);
        for service in 0..SERVICE_LIMIT + 10 {
            for route in 0..200_u8 {
                let word: String =
                    [route / 26, route % 26].map(|letter| char::from(b'a' + letter)).iter().collect();
                limiter.route(&service.to_string(), &format!("/{word}"));
            }
        }
        assert_eq!(limiter.known(), SERVICE_LIMIT * 100);
        assert_eq!(limiter.folded(), (SERVICE_LIMIT * 100 + 10 * 200) as u64);
    }
}
