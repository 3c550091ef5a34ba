// Documents to begin with.

const PIPELINE = `externalId: squares
labels: { team: example }
tasks:
  # A pipeline in four replicas, which share the records: source, transforms, sink.
  - externalId: squares
    replicas: 4
    dag:
      - { id: numbers, commandName: generatesource, config: { count: 1000 }, outputs: [odd] }
      - { id: odd, commandName: filter, config: { condition: "mod(to_int!(.index), 2) == 1" }, outputs: [out] }
      - { id: out, commandName: stdout, config: { encoding: ndjson }, outputs: [] }
`;

const PROGRAM = `externalId: host-facts
retry: { maxRetries: 3, baseSeconds: 1, factor: 2 }
timeouts: { run: 60s }
tasks:
  # Exit code 0 completes it, 78 fails it for good, any other is tried again.
  - externalId: facts
    command: ["sh", "-c", "echo attempt $GRID_ATTEMPT; uname -a"]
`;

const MANY = `externalId: many
maxParallel: 100
tasks:
  - externalId: noop
    replicas: 1000
    executor: noop
`;

export const EXAMPLES: Record<string, string> = { "A program": PROGRAM, "A pipeline": PIPELINE, "Many small tasks": MANY };
export const FIRST = PROGRAM;
