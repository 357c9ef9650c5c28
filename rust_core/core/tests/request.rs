//! Requests, against Google's protobuf (vectors), against prost (random messages) and against hostile bytes.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use ra_guard_core::limits::{MAX_CANDIDATES, MAX_ID_BYTES};
use ra_guard_core::wire::reader::{Cause, Malformed};
use ra_guard_core::wire::{Pool, Query, Request, RequestError, RequestScratch, count_candidates, decode};
use serde::Deserialize;
use support::messages::{Query as WireQuery, QueryEmbedding, RerankRequest};
use support::{SPACE, unhex, unit_vector, vectors};
use xxhash_rust::xxh3::xxh3_64;

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Case {
    name: String,
    bytes: String,
    candidate_ids: Vec<String>,
    baseline_scores: Vec<String>,
    dim: usize,
    space: String,
    text: String,
    top_k: usize,
    required_labels: Vec<String>,
    forbidden_labels: Vec<String>,
    allowed_licences: Vec<String>,
    explain: bool,
    pool_size: usize,
}

#[test]
fn reads_what_googles_protobuf_wrote() {
    let cases: Vec<Case> = vectors("wire_requests.json");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let bytes = unhex(&case.bytes);
        let mut scratch = RequestScratch::default();
        let request = decode(&bytes, &mut scratch).expect(&case.name);
        let ids: Vec<_> = case.candidate_ids.iter().map(String::as_bytes).collect();
        assert_eq!(request.candidates.iter().collect::<Vec<_>>(), ids);
        assert_eq!(request.candidates.hashes(), ids.iter().map(|id| xxh3_64(id)).collect::<Vec<_>>());
        let scores: Vec<_> = request.baseline_scores.iter().map(|score| format!("{:08x}", score.to_bits())).collect();
        assert_eq!(scores, case.baseline_scores);
        match request.query {
            Query::Text(text) => assert_eq!(text, case.text),
            Query::Embedding(embedding) => {
                assert_eq!((embedding.dim(), embedding.space), (case.dim, case.space.as_str()));
                assert_eq!(embedding.values, unit_vector(case.dim));
            }
        }
        assert_eq!((request.top_k, request.explain, request.pool_size), (case.top_k, case.explain, case.pool_size));
        assert_eq!(*request.required_labels, case.required_labels);
        assert_eq!(*request.forbidden_labels, case.forbidden_labels);
        assert_eq!(*request.allowed_licences, case.allowed_licences);
    }
}

fn valid() -> RerankRequest {
    RerankRequest {
        request_id: "r".into(),
        user_id: "u".into(),
        query: Some(WireQuery::Text("dog".into())),
        candidate_ids: vec!["a".into(), "b".into()],
        ..RerankRequest::default()
    }
}

fn embedded(values: Vec<u8>, space: &str) -> RerankRequest {
    RerankRequest { query: Some(WireQuery::Embedding(QueryEmbedding { values, space: space.into() })), ..valid() }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn error_of(bytes: &[u8]) -> RequestError {
    decode(bytes, &mut RequestScratch::default()).map(drop).expect_err("a request that is refused")
}

/// A valid request, changed; then the variant and the words that its message must hold.
fn refused(change: impl FnOnce(&mut RerankRequest), variant: &str, words: &[&str]) {
    let mut request = valid();
    change(&mut request);
    let error = error_of(&request.encode_to_vec());
    assert_eq!(error.variant(), variant, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not say {word}");
    }
}

#[test]
fn refuses_what_is_missing_or_empty() {
    refused(|r| r.request_id.clear(), "Missing", &["request_id", "1..64"]);
    refused(|r| r.user_id.clear(), "Missing", &["user_id", "1..128"]);
    refused(|r| r.query = None, "Missing", &["query", "text"]);
    refused(|r| r.query = Some(WireQuery::Text(String::new())), "Missing", &["text", "1..512"]);
    refused(|r| r.candidate_ids.clear(), "NoCandidates", &["candidate_ids", "1..1000", "pool_size"]);
    refused(|r| r.candidate_ids[1].clear(), "Empty", &["candidate_ids[1]"]);
    refused(|r| r.required_labels = vec![String::new()], "Empty", &["required_labels[0]"]);
}

#[test]
fn refuses_what_is_too_long_or_too_many() {
    refused(|r| r.request_id = "x".repeat(65), "TooLong", &["request_id", "65", "64"]);
    refused(|r| r.user_id = "x".repeat(129), "TooLong", &["user_id", "129", "128"]);
    refused(|r| r.query = Some(WireQuery::Text("x".repeat(513))), "TooLong", &["text", "513", "512"]);
    refused(|r| r.domain = "x".repeat(33), "TooLong", &["domain", "33", "32"]);
    refused(|r| r.candidate_ids[0] = "x".repeat(129), "TooLong", &["candidate_ids", "129", "128"]);
    refused(|r| r.forbidden_labels = vec!["x".repeat(65)], "TooLong", &["forbidden_labels", "65", "64"]);
    refused(|r| r.allowed_licences = vec!["x".repeat(33)], "TooLong", &["allowed_licences", "33", "32"]);
    refused(|r| r.required_labels = vec!["x".into(); 17], "TooMany", &["required_labels", "17", "16"]);
    let ids = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
    refused(|r| r.candidate_ids = ids(1001), "TooMany", &["candidate_ids", "1001", "1000"]);
    refused(|r| r.top_k = 1001, "TopK", &["top_k", "1001", "1000"]);
    refused(|r| r.pool_size = 201, "PoolSize", &["pool_size", "201", "200"]);
}

#[test]
fn the_largest_request_is_accepted() {
    let ids = (0..MAX_CANDIDATES).map(|i| format!("{i:0>MAX_ID_BYTES$}")).collect();
    let scores = vec![f32::MIN; MAX_CANDIDATES];
    let labels = vec!["é".repeat(32); 16];
    let request = RerankRequest {
        candidate_ids: ids,
        baseline_scores: scores,
        required_labels: labels,
        top_k: 1000,
        ..embedded(unit_vector(4096), SPACE)
    };
    let bytes = request.encode_to_vec();
    let mut scratch = RequestScratch::default();
    let decoded = decode(&bytes, &mut scratch).expect("within every bound");
    assert_eq!(decoded.candidates.len(), MAX_CANDIDATES);
    assert_same(&decoded, &request);
}

#[test]
fn refuses_a_candidate_named_twice() {
    let twice = ["x", "name", "y", "name"].map(String::from).to_vec();
    refused(|r| r.candidate_ids = twice, "DuplicateCandidate", &["\"name\" at 1", "at 3"]);
}

#[test]
fn refuses_scores_that_do_not_fit() {
    refused(|r| r.baseline_scores = vec![1.0; 3], "BaselineScoresCount", &["found 3", "2"]);
    refused(|r| r.baseline_scores = vec![1.0; 5000], "BaselineScoresCount", &["found 5000"]);
    refused(|r| r.baseline_scores = vec![1.0, f32::NAN], "BaselineScoreNotFinite", &["[1]", "NaN"]);
    refused(|r| r.baseline_scores = vec![f32::INFINITY, 0.0], "BaselineScoreNotFinite", &["[0]", "inf"]);
}

#[test]
fn refuses_embeddings_that_are_not_unit_vectors() {
    let refused = |values: Vec<u8>, space: &str, variant: &str, word: &str| {
        let error = error_of(&embedded(values, space).encode_to_vec());
        assert_eq!(error.variant(), variant, "{error}");
        assert!(error.to_string().contains(word), "{error} does not say {word}");
    };
    refused(vec![], SPACE, "EmbeddingLength", "found 0 bytes");
    refused(vec![0; 7], SPACE, "EmbeddingLength", "found 7 bytes");
    refused(unit_vector(4097), SPACE, "EmbeddingLength", "found 16388 bytes");
    refused(floats(&[0.6, f32::NAN, 0.8]), SPACE, "EmbeddingNotFinite", "values[1]: found NaN");
    refused(floats(&[f32::NEG_INFINITY]), SPACE, "EmbeddingNotFinite", "-inf");
    refused(floats(&[0.0, -0.0]), SPACE, "EmbeddingZeroNorm", "0");
    refused(floats(&[0.6, 0.9]), SPACE, "EmbeddingNotUnit", "1.08");
    refused(floats(&[f32::MAX, f32::MAX]), SPACE, "EmbeddingNotUnit", "length 48123");
    refused(unit_vector(2), "ABC", "Space", "ABC");
    refused(unit_vector(2), &SPACE.to_uppercase(), "Space", "32 lower-case");
    let error = match decode(&embedded(unit_vector(8), SPACE).encode_to_vec(), &mut RequestScratch::default()) {
        Ok(Request { query: Query::Embedding(embedding), .. }) => embedding.check_dim(16),
        other => panic!("{other:?}"),
    };
    let error = error.expect_err("another dimension than the gallery's");
    assert_eq!(error, RequestError::EmbeddingLength { found: 32, dim: Some(16) });
    assert!(error.to_string().contains("exactly 64"), "{error}");
}

#[test]
fn refuses_bytes_that_are_no_message_or_no_text() {
    let mut bytes = valid().encode_to_vec();
    let end = bytes.len();
    bytes.push(0x0a);
    let truncated = Malformed { offset: end + 1, cause: Cause::Truncated };
    assert_eq!(error_of(&bytes), RequestError::Malformed(truncated));
    bytes[end] = 0x0b;
    assert_eq!(error_of(&bytes).variant(), "Malformed");
    let fields = [(1, "request_id"), (2, "user_id"), (3, "text"), (5, "domain"), (9, "required_labels")];
    for (field, name) in fields.into_iter().chain([(6, "candidate_ids"), (11, "allowed_licences")]) {
        let mut bytes = valid().encode_to_vec();
        bytes.extend([field << 3 | 2, 1, 0xff]);
        assert_eq!(error_of(&bytes), RequestError::NotUtf8 { field: name });
    }
}

#[test]
fn errors_of_the_gallery_name_what_is_allowed() {
    let domain = RequestError::UnknownDomain { found: "cars".into(), allowed: "flowers, wine".into() };
    assert_eq!(domain.variant(), "UnknownDomain");
    assert!(domain.to_string().contains("\"cars\"") && domain.to_string().contains("flowers, wine"));
    let label =
        RequestError::UnknownLabel { field: "required_labels", found: "dgo".into(), allowed: "dog, ...".into() };
    assert_eq!(label.variant(), "UnknownLabel");
    assert!(label.to_string().starts_with("required_labels: found \"dgo\""));
}

#[test]
fn a_pool_is_held_to_the_rules_for_candidates() {
    let mut pool = Pool::default();
    let filled = pool.fill([&b"a"[..], b"bc"]).expect("distinct ids");
    assert_eq!(filled.iter().collect::<Vec<_>>(), [&b"a"[..], b"bc"]);
    assert_eq!(filled.hashes(), [xxh3_64(b"a"), xxh3_64(b"bc")]);
    let mut refused = |ids: &[&[u8]]| pool.fill(ids.iter().copied()).expect_err("refused").variant();
    assert_eq!(refused(&[]), "NoCandidates");
    assert_eq!(refused(&[b"a", b"a"]), "DuplicateCandidate");
    assert_eq!(refused(&[b"a", b""]), "Empty");
    assert_eq!(refused(&[&b"a"[..]; 201]), "TooMany");
}

#[test]
fn later_occurrences_win_and_embeddings_merge() {
    let space = QueryEmbedding { values: vec![], space: SPACE.into() };
    let values = QueryEmbedding { values: unit_vector(4), space: String::new() };
    let message = |query| RerankRequest { query: Some(query), ..RerankRequest::default() }.encode_to_vec();
    let (space, values) = (message(WireQuery::Embedding(space)), message(WireQuery::Embedding(values)));
    let text = message(WireQuery::Text("cat".into()));
    let mut scratch = RequestScratch::default();

    let bytes = [valid().encode_to_vec(), space.clone(), values.clone()].concat();
    let merged = decode(&bytes, &mut scratch).expect("an embedding in two parts");
    assert!(matches!(merged.query, Query::Embedding(e) if e.space == SPACE && e.dim() == 4));

    let bytes = [valid().encode_to_vec(), space.clone(), text.clone()].concat();
    assert_eq!(decode(&bytes, &mut scratch).expect("the text wins").query, Query::Text("cat"));

    let bytes = [valid().encode_to_vec(), space, text, values].concat();
    assert_eq!(error_of(&bytes).variant(), "Space", "the text in between cleared the space");
}

#[test]
fn every_truncation_is_an_error_or_a_smaller_message() {
    let full = RerankRequest {
        baseline_scores: vec![2.0, 1.0],
        required_labels: vec!["dog".into()],
        ..embedded(unit_vector(3), SPACE)
    };
    let bytes = full.encode_to_vec();
    for end in 0..bytes.len() {
        compare(&bytes[..end]);
    }
}

/// The same fields with the same bits as prost read.
fn assert_same(ours: &Request<'_>, theirs: &RerankRequest) {
    assert_eq!((ours.request_id, ours.user_id), (theirs.request_id.as_str(), theirs.user_id.as_str()));
    assert_eq!(ours.domain, theirs.domain);
    let ids: Vec<_> = theirs.candidate_ids.iter().map(String::as_bytes).collect();
    assert_eq!(ours.candidates.iter().collect::<Vec<_>>(), ids);
    let bits = |scores: &[f32]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(ours.baseline_scores), bits(&theirs.baseline_scores));
    assert_eq!((ours.top_k, ours.pool_size), (theirs.top_k as usize, theirs.pool_size as usize));
    assert_eq!(ours.explain, theirs.explain);
    assert_eq!(*ours.required_labels, theirs.required_labels);
    assert_eq!(*ours.forbidden_labels, theirs.forbidden_labels);
    assert_eq!(*ours.allowed_licences, theirs.allowed_licences);
    match (ours.query, &theirs.query) {
        (Query::Text(ours), Some(WireQuery::Text(theirs))) => assert_eq!(ours, theirs),
        (Query::Embedding(ours), Some(WireQuery::Embedding(theirs))) => {
            assert_eq!((ours.values, ours.space), (&theirs.values[..], theirs.space.as_str()));
        }
        other => panic!("{other:?}"),
    }
}

/// Holds our reading of any bytes against prost's.
///
/// The two differ by design in two places: prost reads unknown groups, which we refuse, and refuses a known field
/// with another wire type, which we skip as Google's implementation does.
fn compare(bytes: &[u8]) {
    let mut scratch = RequestScratch::default();
    match (decode(bytes, &mut scratch), RerankRequest::decode(bytes)) {
        (Ok(ours), Ok(theirs)) => assert_same(&ours, &theirs),
        (Ok(_), Err(theirs)) => {
            assert!(theirs.to_string().contains("invalid wire type"), "{theirs}")
        }
        (Err(RequestError::Malformed(Malformed { cause: Cause::WireType, .. })), Ok(_)) => {}
        (Err(ours), Ok(_)) => {
            assert!(!matches!(ours, RequestError::Malformed(_) | RequestError::NotUtf8 { .. }), "{ours}");
        }
        (Err(_), Err(_)) => {}
    }
}

prop_compose! {
    fn any_request()(
        (request_id, user_id, domain) in ("[a-z]{1,5}", "\\PC{1,3}", "[a-z]{0,4}"),
        query in prop_oneof![
            "\\PC{1,9}".prop_map(WireQuery::Text),
            (1usize..9).prop_map(|dim| WireQuery::Embedding(QueryEmbedding {
                values: unit_vector(dim), space: SPACE.into()
            })),
        ],
        ids in proptest::collection::btree_set("[a-z0-9é]{1,12}", 1..40),
        (scored, score) in (any::<bool>(), -1e30f32..1e30),
        (top_k, pool_size, explain) in (0u32..1000, 0u32..200, any::<bool>()),
        (required_labels, forbidden_labels) in (vec("[a-z ]{1,9}", 0..4), vec("[a-z ]{1,9}", 0..4)),
        allowed_licences in vec("[A-Z0-9-]{1,9}", 0..3),
    ) -> RerankRequest {
        let candidate_ids: Vec<_> = ids.into_iter().collect();
        let baseline_scores = if scored { vec![score; candidate_ids.len()] } else { vec![] };
        RerankRequest {
            request_id, user_id, query: Some(query), domain, candidate_ids, baseline_scores, top_k, required_labels,
            forbidden_labels, allowed_licences, explain, pool_size,
        }
    }
}

proptest! {
    #[test]
    fn reads_what_prost_wrote(requests in vec(any_request(), 1..4)) {
        let mut scratch = RequestScratch::default();
        for request in requests {
            let bytes = request.encode_to_vec();
            assert_same(&decode(&bytes, &mut scratch).expect("within bounds"), &request);
        }
    }

    #[test]
    fn reads_damaged_requests_as_prost_does(
        request in any_request(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (place, value, kind) in damage {
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = value,
                1 => bytes.insert(place, value),
                _ => drop(bytes.splice(place..place + 1, [])),
            }
            prop_assume!(!bytes.is_empty());
        }
        compare(&bytes);
    }

    #[test]
    fn reads_unpacked_scores_and_skips_unknown_fields(request in any_request(), unknown in 14u32..536_870_911) {
        let mut bytes = RerankRequest { baseline_scores: vec![], ..request.clone() }.encode_to_vec();
        for score in &request.baseline_scores {
            prost::encoding::float::encode(7, score, &mut bytes);
            prost::encoding::fixed64::encode(unknown, &1, &mut bytes);
        }
        prost::encoding::string::encode(unknown, &"ignored".into(), &mut bytes);
        prost::encoding::uint64::encode(unknown, &u64::MAX, &mut bytes);
        assert_same(&decode(&bytes, &mut RequestScratch::default()).expect("within bounds"), &request);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        compare(&bytes);
    }
}

proptest! {
    #[test]
    fn candidates_are_counted_without_decoding(bytes in prop::collection::vec(any::<u8>(), 0..200), n in 0usize..40) {
        let ids = (0..n).map(|i| format!("2{i}")).collect();
        let request = RerankRequest { candidate_ids: ids, ..valid() };
        prop_assert_eq!(count_candidates(&request.encode_to_vec()), n);
        // Arbitrary bytes end the count, never the process.
        prop_assert!(count_candidates(&bytes) <= bytes.len() / 2);
    }
}
