//! What made a pod in the end, where the pod alone does not tell.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::{Api, Client};
use lru::LruCache;

use super::object::{self, Job};
use super::pod::{self, Owner, cron_job};
use crate::identity::workload::WorkloadKind;

/// Jobs that are remembered.
const JOBS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
/// How long the API server may take for one: pods wait for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long nothing is asked after it took longer, or refused.
const PAUSE: Duration = Duration::from_secs(30);

/// Owners, remembered by namespace and name of the Job.
pub(super) struct Owners {
    client: Client,
    jobs: LruCache<(String, Arc<str>), Option<Arc<str>>>,
    paused: Option<Instant>,
}

impl Owners {
    pub(super) fn new(client: Client) -> Self {
        Self { client, jobs: LruCache::new(JOBS), paused: None }
    }

    /// What made a pod. A Job whose maker can't be asked for stands for itself.
    pub(super) async fn of(&mut self, pod: &object::Pod) -> Option<(WorkloadKind, Arc<str>)> {
        let job = match pod::owner(pod) {
            Owner::Known(kind, name) => return Some((kind, name)),
            Owner::Nothing => return None,
            Owner::Job(job) => job,
        };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let made = match self.jobs.get(&(namespace.clone(), Arc::clone(&job))) {
            Some(known) => known.clone(),
            None => self.ask(namespace, &job).await,
        };
        Some(made.map_or((WorkloadKind::Job, job), |name| (WorkloadKind::CronJob, name)))
    }

    async fn ask(&mut self, namespace: String, job: &Arc<str>) -> Option<Arc<str>> {
        if self.paused.is_some_and(|since| since.elapsed() < PAUSE) {
            return None;
        }
        self.paused = None;
        let api = Api::<Job>::namespaced(self.client.clone(), &namespace);
        match tokio::time::timeout(PATIENCE, api.get_opt(job)).await {
            Ok(Ok(found)) => {
                let made = found.as_ref().and_then(cron_job);
                self.jobs.put((namespace, Arc::clone(job)), made.clone());
                made
            }
            Ok(Err(error)) => {
                tracing::warn!("what made the job {namespace}/{job} is not known: {error}");
                self.paused = Some(Instant::now());
                None
            }
            Err(_) => {
                tracing::warn!("what made the job {namespace}/{job} is not known: no answer in {PATIENCE:?}");
                self.paused = Some(Instant::now());
                None
            }
        }
    }
}
