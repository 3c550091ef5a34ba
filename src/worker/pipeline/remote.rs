//! Sinks that speak to a server: what all of them can do.

use std::time::Instant;

use vrl::value::Value;

use super::http_sink::HttpSink;
use super::kafka_sink::KafkaSink;
use super::report::PipelineFailure;

pub(super) enum RemoteSink {
    Http(HttpSink),
    Kafka(KafkaSink),
}

impl RemoteSink {
    /// The outer error is the server's, the inner one the record's. Gives the bytes it became.
    pub fn write(&mut self, record: &Value) -> Result<Result<usize, String>, PipelineFailure> {
        match self {
            Self::Http(sink) => sink.write(record),
            Self::Kafka(sink) => sink.write(record),
        }
    }

    /// Does what is due; until when it can be left alone.
    pub fn tend(&mut self) -> Result<Option<Instant>, PipelineFailure> {
        match self {
            Self::Http(sink) => sink.tend(),
            Self::Kafka(sink) => sink.tend().map(|()| None),
        }
    }

    /// Everything has arrived.
    pub fn flush(&mut self) -> Result<(), PipelineFailure> {
        match self {
            Self::Http(sink) => sink.flush(),
            Self::Kafka(sink) => sink.flush(),
        }
    }
}
