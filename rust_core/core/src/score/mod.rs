//! What a candidate is worth to a query, and in which order candidates are answered.
