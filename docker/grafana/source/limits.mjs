// Where alert rules strike, for the rules and for the panels that show the same.
export const LIMITS = {
  /** Seconds without a point of a worker. */
  silence: 180,
  /** Of the tasks that ended lately, the share that failed. */
  failures: 0.1,
  /** Tasks that wait for their retry. */
  retrying: 100,
  /** Seconds for which a running task does nothing. */
  standstill: 900,
  /** Events or messages that a process is behind. */
  lag: 10_000,
  /** Parts of a process that were begun anew within ten minutes. */
  restarts: 3,
  /** Seconds that one of a hundred commits takes. */
  commits: 2,
  /** Bytes that a process has left on its disk. */
  disk: 5 * 1024 ** 3,
};
