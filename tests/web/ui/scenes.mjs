// Jobs that are fit to be seen: what a team may have running on an evening.

const source = (count, rate) => ({ commandName: "generatesource", config: { count, rate } });
const filter = (condition) => ({ commandName: "filter", config: { condition } });
const shape = (text) => ({ commandName: "eval", config: { source: text } });
const file = (path, more = {}) => ({ commandName: "filesink", config: { path: `${path}-\${REPLICA_INDEX}.ndjson`, encoding: "ndjson", ...more } });
const node = (id, what, ...outputs) => ({ id, ...what, outputs });

/** Orders, of which some name no customer, are told apart by what they are worth. */
export const orders = {
  externalId: "orders-enrichment",
  labels: { team: "payments", env: "prod" },
  retry: { maxRetries: 3, baseSeconds: 2, factor: 2 },
  tasks: [
    {
      externalId: "enrich",
      replicas: 4,
      dag: [
        node("orders", source(1_000_000, 700), "known"),
        node(
          "known",
          { commandName: "assertion", config: { condition: "mod(to_int!(.index), 97) != 0", message: "the order names no customer" } },
          "large",
          "small",
          "audit",
        ),
        node("large", filter("mod(to_int!(.index), 10) == 0"), "review"),
        node("small", filter("mod(to_int!(.index), 10) != 0"), "score"),
        node("review", shape(".review = true"), "reviewed"),
        node("score", shape(".score = mod(to_int!(.index), 7)"), "scored"),
        node("reviewed", file("reviewed")),
        node("scored", file("scored")),
        node("audit", file("audit")),
        node("rejected", file("rejected", { deadletter: true })),
      ],
    },
  ],
};

/** Shops are asked for their receipts; some do not answer at once, one never. */
export const receipts = {
  externalId: "receipts-by-shop",
  labels: { team: "payments", env: "prod" },
  retry: { maxRetries: 2, baseSeconds: 2, factor: 2 },
  tasks: [
    {
      externalId: "shop",
      replicas: 24,
      command: [
        "sh",
        "-c",
        `echo "asking shop $REPLICA_INDEX"
         sleep $((1 + REPLICA_INDEX * 7 % 5)).$((REPLICA_INDEX * 3 % 10))
         test "$REPLICA_INDEX" -ne 17 || { echo "ERROR shop 17: connection refused" >&2; exit 1; }
         test $((REPLICA_INDEX % 5)) -ne 3 || test "$GRID_ATTEMPT" -gt 1 || { echo "ERROR shop $REPLICA_INDEX: timed out" >&2; exit 1; }
         echo "shop $REPLICA_INDEX is read"`,
      ],
    },
  ],
};

export const invoices = {
  externalId: "invoices-nightly",
  labels: { team: "billing" },
  retry: { maxRetries: 0 },
  tasks: [
    { externalId: "render", replicas: 6, command: ["sh", "-c", 'sleep 1; test "$REPLICA_INDEX" -ne 4 || { echo "ERROR no template for locale pt-BR" >&2; exit 78; }'] },
  ],
};

/** Runs longer than it may. */
export const backup = {
  externalId: "warehouse-backup",
  labels: { team: "platform" },
  retry: { maxRetries: 0 },
  timeouts: { run: "1s" },
  tasks: [{ externalId: "dump", command: ["sleep", "60"] }],
};

/** One part of it runs too long, one fails. */
export const reports = {
  externalId: "weekly-reports",
  labels: { team: "billing" },
  retry: { maxRetries: 0 },
  tasks: [
    { externalId: "revenue", command: ["sleep", "60"], timeouts: { run: "1s" } },
    { externalId: "churn", command: ["sh", "-c", "echo 'ERROR no such table: accounts' >&2; exit 1"] },
    { externalId: "signups", command: ["true"] },
  ],
};

/** No worker has what it needs. */
export const training = {
  externalId: "model-training",
  labels: { team: "search" },
  tasks: [{ externalId: "epoch", replicas: 8, executor: "noop", requires: { gpu: "a100" } }],
};

export const nothing = { externalId: "dead-letters-replay", labels: { team: "payments" }, tasks: [] };

export const index = {
  externalId: "search-index",
  labels: { team: "search" },
  tasks: [{ externalId: "shard", replicas: 40, command: ["sh", "-c", "sleep 0.$((REPLICA_INDEX % 9 + 1))"] }],
};
