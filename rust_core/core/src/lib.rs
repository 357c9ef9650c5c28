//! One Rerank call, from request bytes to response bytes, over memory-mapped features.
//!
//! The six steps of a call, in the order of the modules that do them:
//!
//! 1. [`wire`] decodes the request, refusing what is out of bounds;
//! 2. [`assign`] places the user in an arm, under the [`plan`] in force;
//! 3. [`shard`] looks the candidates up in the generation in force;
//! 4. [`score`] computes the terms, with the dot products of [`kernel`];
//! 5. [`score`] orders them, totally;
//! 6. [`log`] records what was scored and [`wire`] encodes the answer.
//!
//! [`rerank`] is the call itself, [`engine`] what calls share, [`serving`] a generation made ready for them and
//! [`score_buffer`] what one call computes; [`interleave`] mixes two orders, and [`replay`] computes a logged call again. The crate reads no clock, prints nothing and knows no Python: time comes in
//! as an argument, and every fallback goes out as a value.

pub mod assign;
pub mod detection;
pub mod engine;
pub mod interleave;
pub mod kernel;
pub mod limits;
pub mod log;
pub mod plan;
pub mod replay;
pub mod rerank;
pub mod score;
pub mod score_buffer;
pub mod serving;
pub mod shard;
pub mod wire;
