//! Pipelines: a graph of sources, transforms and sinks that a worker runs in its own process, one replica of one
//! attempt on one thread.
//!
//! # What runs
//! Every record is an object. A source reads or makes records, every node passes them on to its outputs (each output
//! gets every record), sinks write them.
//!
//! | node | config | what it does |
//! |---|---|---|
//! | `filesource` | `path`, `encoding` ndjson (default), csv, text; csv: `delimiter` | this replica's records of a file |
//! | `generatesource` | `count` (over all replicas; without: until stopped), `fields`, `rate` a second | `{"index": n, …fields}` |
//! | `kafkasource` | `brokers`, `topic`, `encoding` ndjson or text, `from` earliest or latest, `follow`, `properties` | this replica's partitions: what is there when it begins, or on until stopped |
//! | `httpsource` | `url`, `headers`, `timeoutSeconds`, `encoding` ndjson, csv, text; csv: `delimiter` | this replica's records of the answer to a GET |
//! | `deadlettersource` | `job`, `node`, `firstTask`, `lastTask`, `upTo`, `count`, `encoding` | this replica's part of the records that failed at a node of a job |
//! | `filter` | `condition` (VRL, boolean) | keeps the records for which it is true; `abort` is false |
//! | `eval` | `source` (VRL) | changes the record; `abort` drops it; a list of objects becomes as many records |
//! | `assertion` | `condition`, `message` | a record for which it is false has failed |
//! | `parser` | `type` json, csv, logfmt or grok, `field` (`message`), `target`; csv: `columns`, `delimiter`; grok: `pattern` | turns text in a field into the record, or into the field `target` |
//! | `stdout` | `encoding`; csv: `columns`, `delimiter` | a line of the task's output |
//! | `filesink` | `path`, `encoding`; csv: `columns`, `delimiter` | one file, whole or not at all |
//! | `kafkasink` | `brokers`, `topic`, `encoding` ndjson or text, `key` (a field), `properties` | a message each, at least once |
//! | `httpsink` | `url`, `method` POST or PUT, `headers`, `timeoutSeconds`, `encoding` ndjson or text, `batchRecords` | requests of up to so many records, or 1 MiB, each at least once |
//!
//! Text records are `{"message": "<line>"}`, csv rows are objects of strings. Empty lines are no records, except in
//! text. Bytes that are not UTF-8 go through text and csv as they are; JSON cannot hold them: as input it is refused, in
//! output they are replaced by U+FFFD.
//!
//! # Records that fail
//! A line that cannot be read, a program's runtime error, an assertion that does not hold, a record that a sink cannot
//! encode: such a record is counted in `errors` of its node and goes no further. It is kept as a dead letter of its job, as
//! far as there is room ([`letterbox`]), with the record as it came into the node (the text, when it could not be read).
//! With `deadletter: true` on one sink it is written there as well, as `{"error", "node", "record"}`. With `failOnError: true` on a node, the first record that fails there fails
//! the task, without retry: the same record would fail again. Edges into the dead letter sink are allowed, for the
//! picture; it takes failed records only, from every node.
//!
//! # Servers
//! Values of `headers` and `properties` are texts, or `{"secret": "NAME"}`: a secret of the worker. A server that does not
//! take the credentials (401, 403, SASL, ACLs) fails the task without retry, as AUTHENTICATION. A request that fails for
//! the moment is tried again a few times; then the attempt fails, and the task's retries follow. Files take their names
//! only when everything that goes to servers has arrived.
//!
//! # What must stay true
//! - A run gives all of its output or none: files appear under their names only at the end ([`file_sink`]).
//! - A run that goes on from an earlier attempt's checkpoint gives the same files as one that starts over ([`checkpoint`]).
//! - The replicas of a task read every record of the same, unchanged input exactly once ([`split`]).
//! - A program is a pure function of the record ([`program`]), and files stay inside the allowed folders ([`paths`]).
//! - Building only the needed fields of a record ([`projection`]) changes no output.

mod checkpoint;
mod compiled;
mod config;
mod context;
mod counters;
mod csv;
mod dag;
mod encoding;
mod engine;
mod fields;
mod file_sink;
mod file_source;
mod framing;
mod generate;
mod http;
mod http_sink;
mod http_source;
mod json;
mod kafka;
mod kafka_sink;
mod kafka_source;
mod letter_source;
mod letterbox;
mod parser;
mod paths;
mod program;
mod projection;
mod remote;
mod remote_config;
mod report;
mod secret;
mod split;
#[cfg(test)]
mod tests;
mod undo;

pub use checkpoint::{Keeper, Resume, Taken};
pub use compiled::Pipeline;
pub use config::is_source;
pub use context::{Control, RunContext, RunState};
pub use counters::{NodeCounts, PipelineCounters};
pub use dag::{DagError, DagNode, MAX_NODE_ID_BYTES, MAX_NODES, ProgramPlace, check, check_replicas};
pub use letter_source::{LetterQuery, LetterReader, Unread};
pub use letterbox::Letterbox;
pub use report::{NodeError, PipelineFailure, PipelineFailureReason, PipelineReport};
pub use secret::SecretReader;
