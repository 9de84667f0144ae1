//! Makes families of metrics with all their children, and registers them.
//!
//! A child is looked up once, here. Counting is then an array index and an atomic add: no hash, no lock.

use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::labels::Label;

/// One child for each value of a label.
pub(super) struct By<L, C> {
    children: Vec<C>,
    label: PhantomData<L>,
}

impl<L: Label, C> By<L, C> {
    fn new(child: impl FnMut(&L) -> C) -> Self {
        Self { children: L::ALL.iter().map(child).collect(), label: PhantomData }
    }

    pub(super) fn get(&self, value: L) -> &C {
        &self.children[value.index()]
    }
}

/// Registers families.
pub(super) struct Families<'a> {
    pub(super) registry: &'a Registry,
}

impl Families<'_> {
    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    pub(super) fn counter_by<L: Label>(&self, name: &str, help: &str, label: &str) -> By<L, IntCounter> {
        let family = self.register(IntCounterVec::new(Opts::new(name, help), &[label]));
        By::new(|value: &L| family.with_label_values(&[value.as_str()]))
    }

    pub(super) fn counter_by_two<A: Label, B: Label>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
    ) -> By<A, By<B, IntCounter>> {
        let family = self.register(IntCounterVec::new(Opts::new(name, help), &labels));
        By::new(|a: &A| By::new(|b: &B| family.with_label_values(&[a.as_str(), b.as_str()])))
    }

    /// For labels whose values are constants of other modules. Those in `known` exist from the start.
    pub(super) fn counter_by_text(
        &self,
        name: &str,
        help: &str,
        label: &str,
        known: &[&str],
    ) -> IntCounterVec {
        let family = self.register(IntCounterVec::new(Opts::new(name, help), &[label]));
        for value in known {
            family.with_label_values(&[value]);
        }
        family
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    pub(super) fn gauge_by<L: Label>(&self, name: &str, help: &str, label: &str) -> By<L, IntGauge> {
        let family = self.register(IntGaugeVec::new(Opts::new(name, help), &[label]));
        By::new(|value: &L| family.with_label_values(&[value.as_str()]))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    pub(super) fn histogram_by<L: Label>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> By<L, Histogram> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let family = self.register(HistogramVec::new(opts, &[label]));
        By::new(|value: &L| family.with_label_values(&[value.as_str()]))
    }

    /// A gauge that is always 1 and says something by its label.
    pub(super) fn info(&self, name: &str, help: &str, label: &str, value: &str) {
        self.register(IntGauge::with_opts(Opts::new(name, help).const_label(label, value))).set(1);
    }

    /// Definitions are constants of this module, and no two have the same name: both are seen by the first test
    /// that makes a [`super::Metrics`], so there is nothing for a caller to handle.
    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let registered = made.and_then(|family| {
            self.registry.register(Box::new(family.clone()))?;
            Ok(family)
        });
        match registered {
            Ok(family) => family,
            Err(error) => panic!("a metric is defined wrongly: {error}"),
        }
    }
}
