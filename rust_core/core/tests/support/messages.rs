//! `ra_guard.v1` for prost, written by hand so that tests need no protobuf compiler.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct RerankRequest {
    #[prost(string, tag = "1")]
    pub request_id: String,
    #[prost(string, tag = "2")]
    pub user_id: String,
    #[prost(oneof = "Query", tags = "3, 4")]
    pub query: Option<Query>,
    #[prost(string, tag = "5")]
    pub domain: String,
    #[prost(string, repeated, tag = "6")]
    pub candidate_ids: Vec<String>,
    #[prost(float, repeated, tag = "7")]
    pub baseline_scores: Vec<f32>,
    #[prost(uint32, tag = "8")]
    pub top_k: u32,
    #[prost(string, repeated, tag = "9")]
    pub required_labels: Vec<String>,
    #[prost(string, repeated, tag = "10")]
    pub forbidden_labels: Vec<String>,
    #[prost(string, repeated, tag = "11")]
    pub allowed_licences: Vec<String>,
    #[prost(bool, tag = "12")]
    pub explain: bool,
    #[prost(uint32, tag = "13")]
    pub pool_size: u32,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Query {
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(message, tag = "4")]
    Embedding(QueryEmbedding),
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryEmbedding {
    #[prost(bytes = "vec", tag = "1")]
    pub values: Vec<u8>,
    #[prost(string, tag = "2")]
    pub space: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct RerankResponse {
    #[prost(string, tag = "1")]
    pub request_id: String,
    #[prost(int32, tag = "2")]
    pub assigned_arm: i32,
    #[prost(int32, tag = "3")]
    pub served_arm: i32,
    #[prost(int32, tag = "4")]
    pub status: i32,
    #[prost(int32, tag = "5")]
    pub reason: i32,
    #[prost(string, tag = "6")]
    pub experiment_key: String,
    #[prost(uint64, tag = "7")]
    pub plan_revision: u64,
    #[prost(uint64, tag = "8")]
    pub generation: u64,
    #[prost(string, tag = "9")]
    pub space: String,
    #[prost(uint32, repeated, tag = "10")]
    pub ranking: Vec<u32>,
    #[prost(string, repeated, tag = "11")]
    pub ranked_ids: Vec<String>,
    #[prost(float, repeated, tag = "12")]
    pub scores: Vec<f32>,
    #[prost(message, optional, tag = "13")]
    pub counts: Option<Counts>,
    #[prost(bytes = "vec", tag = "14")]
    pub candidate_states: Vec<u8>,
    #[prost(message, optional, tag = "15")]
    pub stages: Option<StageTimes>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Counts {
    #[prost(uint32, tag = "1")]
    pub candidates: u32,
    #[prost(uint32, tag = "2")]
    pub scored: u32,
    #[prost(uint32, tag = "3")]
    pub cold: u32,
    #[prost(uint32, tag = "4")]
    pub unknown: u32,
    #[prost(uint32, tag = "5")]
    pub unlicensed: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct StageTimes {
    #[prost(uint32, tag = "1")]
    pub decode_ns: u32,
    #[prost(uint32, tag = "2")]
    pub assign_ns: u32,
    #[prost(uint32, tag = "3")]
    pub lookup_ns: u32,
    #[prost(uint32, tag = "4")]
    pub score_ns: u32,
    #[prost(uint32, tag = "5")]
    pub order_ns: u32,
    #[prost(uint32, tag = "6")]
    pub encode_ns: u32,
    #[prost(uint32, tag = "7")]
    pub wait_ns: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Plan {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(string, tag = "2")]
    pub experiment_key: String,
    #[prost(string, tag = "3")]
    pub salt: String,
    #[prost(uint32, tag = "4")]
    pub ramp_bp: u32,
    #[prost(bool, tag = "5")]
    pub killed: bool,
    #[prost(uint32, tag = "6")]
    pub lease_s: u32,
    #[prost(message, optional, tag = "7")]
    pub default_weights: Option<Weights>,
    #[prost(message, repeated, tag = "8")]
    pub domain_weights: Vec<DomainWeights>,
    #[prost(string, repeated, tag = "9")]
    pub spaces: Vec<String>,
    #[prost(int32, tag = "10")]
    pub mode: i32,
    #[prost(uint32, tag = "11")]
    pub epoch: u32,
    #[prost(uint32, tag = "12")]
    pub feedback_window_s: u32,
    #[prost(uint32, tag = "13")]
    pub retention_days: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Weights {
    #[prost(float, tag = "1")]
    pub cosine: f32,
    #[prost(float, tag = "2")]
    pub consistency: f32,
    #[prost(float, tag = "3")]
    pub contradiction: f32,
    #[prost(float, tag = "4")]
    pub prior: f32,
}

#[derive(Clone, PartialEq, Message)]
pub struct DomainWeights {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(message, optional, tag = "2")]
    pub weights: Option<Weights>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SealedPlan {
    #[prost(bytes = "vec", tag = "1")]
    pub plan: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    pub checksum: u64,
}
