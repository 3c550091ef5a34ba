//! Metrics as this program reads them itself: what Prometheus would get at that moment.

/// One sample.
struct Sample {
    name: String,
    /// As they are written, without the braces.
    labels: String,
    value: f64,
}

/// All samples of a moment.
#[derive(Default)]
pub struct Reading(Vec<Sample>);

impl Reading {
    /// Of a text in Prometheus's format that this program has written.
    pub fn of(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some(Sample {
                name: name.to_owned(),
                labels: labels.strip_suffix('}').unwrap_or(labels).to_owned(),
                value: value.parse().ok()?,
            })
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(sample).collect())
    }

    fn samples<'a>(&'a self, name: &'a str, label: &'a str) -> impl Iterator<Item = &'a Sample> {
        let all = self.0.iter();
        all.filter(move |sample| sample.name == name && sample.labels.contains(label))
    }

    /// The sum of a metric over the series with that label (`key="value"`, or "" for all); `None` when there is none.
    pub fn sum(&self, name: &str, label: &str) -> Option<f64> {
        let values = self.samples(name, label).map(|sample| sample.value);
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// What a histogram of seconds has counted so far, over all its series.
    pub fn histogram(&self, name: &str) -> Histogram {
        let of = |suffix: &str| self.sum(&format!("{name}{suffix}"), "").unwrap_or(0.0);
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.samples(&format!("{name}_bucket"), "") {
            let bound = sample.labels.rsplit_once("le=\"").and_then(|(_, rest)| {
                let (bound, _) = rest.split_once('"')?;
                bound.parse::<f64>().ok()
            });
            let Some(bound) = bound.filter(|bound| bound.is_finite()) else {
                continue;
            };
            match buckets.iter_mut().find(|(one, _)| one.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        Histogram {
            count: of("_count"),
            sum: of("_sum"),
            buckets,
        }
    }
}

/// What a histogram has counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub count: f64,
    pub sum: f64,
    /// Bounds, rising, and how much was at most that.
    buckets: Vec<(f64, f64)>,
}

impl Histogram {
    /// What has come since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let old = |at: usize| before.buckets.get(at).map_or(0.0, |(_, count)| *count);
        let buckets = self.buckets.iter().enumerate();
        Self {
            count: self.count - before.count,
            sum: self.sum - before.sum,
            buckets: buckets.map(|(at, (bound, count))| (*bound, count - old(at))).collect(),
        }
    }

    /// `None` when it has counted nothing.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// A bound that this share of values did not pass: that of its bucket, or the last one's for values beyond all.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = (self.count > 0.0).then_some(self.count * share)?;
        let fitting = self.buckets.iter().find(|(_, count)| *count >= wanted);
        fitting.or(self.buckets.last()).map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP lag So much.\n# TYPE lag gauge\n\
        lag{topic=\"a b\",partition=\"0\"} 3\nlag{topic=\"c\",partition=\"0\"} 4.5\nup 1\n\
        t_seconds_bucket{le=\"0.1\"} 1\nt_seconds_bucket{le=\"1\"} 9\nt_seconds_bucket{le=\"+Inf\"} 10\n\
        t_seconds_sum 12.5\nt_seconds_count 10\n";

    #[test]
    fn series_are_added_up_and_what_is_not_there_is_nothing() {
        let reading = Reading::of(TEXT);
        assert_eq!(reading.sum("lag", ""), Some(7.5));
        assert_eq!(reading.sum("lag", "topic=\"c\""), Some(4.5));
        assert_eq!(reading.sum("lag", "topic=\"d\""), None);
        assert_eq!((reading.sum("up", ""), reading.sum("down", "")), (Some(1.0), None));
    }

    #[test]
    fn a_histogram_tells_what_came_since() {
        let all = Reading::of(TEXT).histogram("t_seconds");
        assert_eq!((all.count, all.mean()), (10.0, Some(1.25)));
        assert_eq!(all.quantile(0.1), Some(0.1));
        assert_eq!(all.quantile(0.5), Some(1.0));
        assert_eq!(all.quantile(0.99), Some(1.0), "beyond every bound");
        let later = TEXT
            .replace("le=\"0.1\"} 1", "le=\"0.1\"} 4")
            .replace("le=\"1\"} 9", "le=\"1\"} 12")
            .replace("sum 12.5", "sum 12.8")
            .replace("count 10", "count 13");
        let since = Reading::of(&later).histogram("t_seconds").since(&all);
        assert_eq!((since.count, since.quantile(0.99)), (3.0, Some(0.1)));
        assert_eq!(all.since(&all).mean(), None);
        assert_eq!(Reading::of("").histogram("t_seconds"), Histogram::default());
    }
}
