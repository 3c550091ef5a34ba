import { graphql } from "../gen";
import type { MetricAggregation, MetricsQuery } from "../gen/graphql";

export const METRICS = graphql(`
  query Metrics($filter: MetricFilter!, $from: String!, $to: String!, $interval: String!) {
    metrics(filter: $filter, from: $from, to: $to, interval: $interval, limit: 10000) {
      truncated interval dataPoints { timestamp metric value tags }
    }
  }
`);

export const METRICS_FOLLOWED = graphql(`
  subscription MetricsFollowed($filter: MetricFilter!, $from: String!, $interval: String!) {
    metrics(filter: $filter, from: $from, interval: $interval) {
      dataPoints { timestamp metric value tags }
    }
  }
`);

/** Which metrics, of what, and what is kept apart. */
export interface Question {
  metrics: readonly string[];
  tags?: readonly { key: string; values: readonly string[] }[];
  groupBy: string;
  /** How values of a window become one; the mean when nothing is said. */
  aggregation?: MetricAggregation;
}

export type DataPoint = MetricsQuery["metrics"]["dataPoints"][number];
