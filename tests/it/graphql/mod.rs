//! GraphQL: the public audits, the reference clients of its transports, and what subscriptions promise.

mod clients;
