//! Plans: what is read, what is refused, and what a replica holds on to.

mod support;

use proptest::prelude::*;
use prost::Message;
use ra_guard_core::plan::{Mode, Plan, PlanCell, PlanError, seal, unseal};
use ra_guard_core::score::Weights;
use serde::Deserialize;
use support::messages::{self, DomainWeights, SealedPlan};
use support::{SPACE, unhex, vectors};
use xxhash_rust::xxh3::xxh3_64;

const SECOND: u64 = 1_000_000_000;

#[derive(Deserialize)]
struct Case {
    bytes: String,
}

#[test]
fn reads_what_googles_protobuf_wrote() {
    let cases: Vec<Case> = vectors("wire_plans.json");
    let plan = Plan::decode(&unhex(&cases[0].bytes)).expect("a valid plan");
    assert_eq!((plan.revision, plan.ramp_bp, plan.lease_s, plan.killed), (12, 500, 60, false));
    assert_eq!((plan.experiment_key.as_str(), plan.salt.as_str()), ("clip-rerank", "epoch-2"));
    let default = Weights { cosine: 1.0, consistency: 0.5, contradiction: 0.5, prior: 0.25 };
    assert_eq!(plan.weights_for(""), default);
    assert_eq!(plan.weights_for("cars"), default);
    assert_eq!(plan.weights_for("flowers"), Weights { prior: 1.0, ..Weights::default() });
    assert_eq!(plan.weights_for("wine"), Weights { cosine: 2.0, ..Weights::default() });
    assert!(plan.allows_space(SPACE) && !plan.allows_space("another"));
    let killed = Plan::decode(&unhex(&cases[1].bytes)).expect("a valid plan");
    assert_eq!((killed.killed, killed.weights_for("wine")), (true, Weights::default()));
    assert!(killed.allows_space("any"));
    let modes = cases.iter().map(|case| Plan::decode(&unhex(&case.bytes)).expect("a valid plan").mode);
    assert_eq!(modes.collect::<Vec<_>>(), [Mode::Ab, Mode::Ab, Mode::Shadow, Mode::Interleaving]);
}

fn valid() -> messages::Plan {
    messages::Plan {
        revision: 1,
        experiment_key: "clip-rerank".into(),
        lease_s: 60,
        default_weights: Some(messages::Weights::default()),
        ..messages::Plan::default()
    }
}

fn refused(change: impl FnOnce(&mut messages::Plan), variant: &str, words: &[&str]) {
    let mut plan = valid();
    change(&mut plan);
    let error = seal(&plan.encode_to_vec()).expect_err("a plan that is refused");
    assert_eq!(error.variant(), variant, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{error} does not say {word}");
    }
}

fn domain(name: &str, weights: Option<messages::Weights>) -> DomainWeights {
    DomainWeights { domain: name.into(), weights }
}

#[test]
fn refuses_what_is_out_of_bounds() {
    refused(|p| p.revision = 0, "Revision", &["found 0"]);
    refused(|p| p.experiment_key.clear(), "Key", &["1..64"]);
    refused(|p| p.experiment_key = "a:b".into(), "Key", &["a:b"]);
    refused(|p| p.experiment_key = "a".repeat(65), "Key", &["1..64"]);
    refused(|p| p.salt = "s".repeat(65), "Salt", &["65", "64"]);
    refused(|p| p.ramp_bp = 5001, "Ramp", &["5001", "5000"]);
    refused(|p| p.ramp_bp = 65536 + 100, "Ramp", &["65636"]);
    refused(|p| p.lease_s = 0, "Lease", &["found 0", "3600"]);
    refused(|p| p.lease_s = 3601, "Lease", &["3601"]);
    refused(|p| p.mode = 5, "Mode", &["found 5", "rollout"]);
    refused(|p| p.mode = -1, "Mode", &["found"]);
    refused(|p| p.spaces = vec!["xyz".into()], "Space", &["xyz", "32"]);
}

#[test]
fn a_mode_that_is_not_named_is_a_b() {
    let read = |mode| {
        let plan = messages::Plan { mode, epoch: 3, feedback_window_s: 60, retention_days: 90, ..valid() };
        Plan::decode(&plan.encode_to_vec()).expect("a valid plan").mode
    };
    assert_eq!([0, 1, 2, 3, 4].map(read), [Mode::Ab, Mode::Ab, Mode::Shadow, Mode::Interleaving, Mode::Rollout]);
}

#[test]
fn refuses_weights_that_cannot_be() {
    refused(|p| p.default_weights = None, "MissingWeights", &["the default"]);
    refused(|p| p.domain_weights = vec![domain("wine", None)], "MissingWeights", &["wine"]);
    let prior = |prior| messages::Weights { prior, ..messages::Weights::default() };
    refused(|p| p.default_weights = Some(prior(-0.5)), "Weight", &["prior", "-0.5", "the default"]);
    refused(|p| p.default_weights = Some(prior(f32::NAN)), "Weight", &["NaN"]);
    refused(|p| p.domain_weights = vec![domain("wine", Some(prior(f32::INFINITY)))], "Weight", &["inf", "wine"]);
    refused(|p| p.domain_weights = vec![domain("", Some(prior(1.0)))], "Domain", &["1..32"]);
    refused(|p| p.domain_weights = vec![domain(&"d".repeat(33), Some(prior(1.0)))], "Domain", &["ddd"]);
    refused(|p| p.domain_weights = vec![domain("wine", Some(prior(1.0))); 2], "DuplicateDomain", &["wine"]);
}

#[test]
fn refuses_bytes_that_are_no_plan() {
    assert_eq!(seal(&[0x0b]).expect_err("a group").variant(), "Malformed");
    let mut bytes = valid().encode_to_vec();
    bytes.extend([0x1a, 1, 0xff]);
    assert_eq!(seal(&bytes), Err(PlanError::NotUtf8 { field: "salt" }));
    let error = PlanCell::default().publish(&[0x0a, 9], 1).expect_err("cut short");
    assert_eq!(error.variant(), "Malformed");
}

#[test]
fn a_seal_covers_the_exact_bytes() {
    let mut plan = valid().encode_to_vec();
    plan.extend([0xa0, 0x06, 1]); // an unknown field survives, as the plan is never encoded again
    let sealed = seal(&plan).expect("a valid plan");
    let message = SealedPlan::decode(&sealed[..]).expect("a message");
    assert_eq!((message.plan, message.checksum), (plan.clone(), xxh3_64(&plan)));
    assert_eq!(unseal(&sealed), Ok(&plan[..]));
    let cell = PlanCell::default();
    for place in 2..sealed.len() {
        let mut damaged = sealed.clone();
        damaged[place] ^= 0x10;
        let error = cell.publish(&damaged, 1).expect_err("damaged");
        assert!(matches!(error.variant(), "Checksum" | "Malformed"), "{error}");
    }
    assert_eq!(cell.publish(&[], 1).expect_err("nothing").variant(), "Checksum");
    assert_eq!((cell.revision(), cell.age_ns(5)), (0, None));
}

fn sealed(revision: u64, ramp_bp: u32) -> Vec<u8> {
    seal(&messages::Plan { revision, ramp_bp, ..valid() }.encode_to_vec()).expect("a valid plan")
}

#[test]
fn a_replica_never_goes_back() {
    let cell = PlanCell::default();
    assert!(cell.load().is_none());
    assert_eq!(cell.publish(&sealed(5, 100), 10), Ok(5));
    let stale = |found| Err(PlanError::Stale { found, in_force: 5 });
    assert_eq!(cell.publish(&sealed(4, 100), 20), stale(4));
    assert_eq!(cell.publish(&sealed(5, 200), 20), stale(5), "another plan under the same revision");
    assert_eq!(cell.age_ns(30), Some(20), "a refused plan is no contact");
    let before = cell.load().clone().expect("a plan");
    assert_eq!(cell.publish(&sealed(5, 100), 40), Ok(5), "the same plan again");
    assert!(std::sync::Arc::ptr_eq(&before, cell.load().as_ref().expect("a plan")), "and nothing was swapped");
    assert_eq!(cell.age_ns(40), Some(0));
    assert_eq!(cell.publish(&sealed(9, 200), 50), Ok(9));
    assert_eq!((cell.revision(), before.plan.revision), (9, 5), "a call in flight keeps the plan that it began with");
}

#[test]
fn a_lease_runs_from_the_last_contact() {
    let cell = PlanCell::default();
    let holds = |now_ns| cell.load().as_ref().is_some_and(|in_force| in_force.holds_lease(now_ns));
    assert!(!cell.renew(0, 100 * SECOND) && !holds(100 * SECOND), "before the first plan there is no lease");
    cell.publish(&sealed(1, 0), 100 * SECOND).expect("a valid plan");
    assert!(holds(160 * SECOND) && !holds(160 * SECOND + 1));
    assert!(cell.renew(1, 150 * SECOND) && holds(210 * SECOND));
    assert!(cell.renew(1, 140 * SECOND), "a late answer counts");
    assert_eq!(cell.age_ns(200 * SECOND), Some(50 * SECOND), "and takes nothing away");
    assert!(!cell.renew(2, 190 * SECOND) && !cell.renew(0, 190 * SECOND), "another revision is not in force");
    assert_eq!(cell.age_ns(200 * SECOND), Some(50 * SECOND));
    let early = PlanCell::default();
    early.publish(&sealed(1, 0), 0).expect("a valid plan");
    assert_eq!(early.age_ns(1), Some(0), "a clock may start at zero");
}

#[test]
fn a_call_under_the_plan_before_finds_no_lease_of_its_successor() {
    let cell = PlanCell::default();
    cell.publish(&sealed(1, 100), 100 * SECOND).expect("a valid plan");
    let before = cell.load().clone().expect("a plan");
    cell.publish(&sealed(2, 0), 170 * SECOND).expect("a newer plan");
    assert!(!before.holds_lease(170 * SECOND), "the control plane no longer counts on revision 1");
}

#[test]
fn a_restored_plan_assigns_and_grants_no_lease() {
    let cell = PlanCell::default();
    assert_eq!(cell.restore(&sealed(3, 5000)), Ok(3));
    let restored = cell.load().clone().expect("a plan");
    assert!(restored.age_ns(SECOND).is_none() && !restored.holds_lease(0));
    assert_eq!(restored.plan.ramp_bp, 5000);
    assert_eq!(cell.restore(&sealed(2, 0)), Err(PlanError::Stale { found: 2, in_force: 3 }));
    assert!(cell.renew(3, SECOND) && restored.holds_lease(SECOND), "until it is confirmed");
    assert_eq!(cell.restore(&sealed(3, 5000)), Ok(3));
    assert!(restored.holds_lease(SECOND), "restored again, it changes nothing");
    assert_eq!(cell.restore(&sealed(4, 0)), Ok(4));
    assert_eq!(cell.age_ns(SECOND), None, "a lease is not passed on");
}

#[test]
fn an_answer_on_its_way_survives_no_revocation() {
    let cell = PlanCell::default();
    cell.publish(&sealed(1, 0), 100).expect("a valid plan");
    cell.revoke(200);
    assert_eq!(cell.age_ns(200), None);
    assert!(!cell.renew(1, 150) && !cell.renew(1, 200), "asked before");
    assert_eq!(cell.publish(&sealed(1, 0), 200), Ok(1));
    assert_eq!(cell.publish(&sealed(2, 0), 200), Ok(2), "the plan itself is as good as ever");
    assert_eq!(cell.age_ns(200), None);
    cell.revoke(50);
    assert!(!cell.renew(2, 200), "revocations do not undo each other");
    assert!(cell.renew(2, 201));
    assert_eq!(cell.age_ns(211), Some(10));
}

/// What may happen to a cell, with a time on a small clock.
#[derive(Debug, Clone)]
enum Event {
    Publish(u64, u64),
    Restore(u64),
    Renew(u64, u64),
    Revoke(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let (revision, time) = (1u64..5, 1u64..40);
    prop_oneof![
        (revision.clone(), time.clone()).prop_map(|(revision, time)| Event::Publish(revision, time)),
        revision.clone().prop_map(Event::Restore),
        (revision, time.clone()).prop_map(|(revision, time)| Event::Renew(revision, time)),
        time.prop_map(Event::Revoke),
    ]
}

proptest! {
    /// A lease stands exactly for the last of those contacts that confirmed the plan in force since it came, and that
    /// began after every revocation.
    #[test]
    fn a_lease_is_what_the_contacts_say(events in proptest::collection::vec(event(), 0..30)) {
        let cell = PlanCell::default();
        let (mut in_force, mut contacts, mut revoked) = (0, Vec::new(), 0);
        for event in events {
            match event {
                Event::Publish(revision, time) => {
                    let taken = cell.publish(&sealed(revision, 0), time).is_ok();
                    prop_assert_eq!(taken, revision >= in_force);
                    if revision > in_force {
                        (in_force, contacts) = (revision, Vec::new());
                    }
                    if taken && time > revoked {
                        contacts.push(time);
                    }
                }
                Event::Restore(revision) => {
                    prop_assert_eq!(cell.restore(&sealed(revision, 0)).is_ok(), revision >= in_force);
                    if revision > in_force {
                        (in_force, contacts) = (revision, Vec::new());
                    }
                }
                Event::Renew(revision, time) => {
                    let counts = revision == in_force && time > revoked;
                    prop_assert_eq!(cell.renew(revision, time), counts);
                    if counts {
                        contacts.push(time);
                    }
                }
                Event::Revoke(time) => {
                    cell.revoke(time);
                    revoked = revoked.max(time);
                    contacts.clear();
                }
            }
            prop_assert_eq!(cell.revision(), in_force);
            prop_assert_eq!(cell.age_ns(40), contacts.iter().max().map(|contact| 40 - contact));
        }
    }

    /// prost refuses a known field with another wire type; we skip it, as Google's implementation does.
    #[test]
    fn damaged_plans_are_read_as_prost_reads_them(
        end in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let weights = messages::Weights { cosine: 1.0, ..messages::Weights::default() };
        let plan = messages::Plan { domain_weights: vec![domain("wine", Some(weights))], ramp_bp: 500, ..valid() };
        let mut bytes = plan.encode_to_vec();
        bytes.truncate(end.index(bytes.len()) + 1);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        match (Plan::decode(&bytes), messages::Plan::decode(&bytes[..])) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!((ours.revision, u32::from(ours.ramp_bp)), (theirs.revision, theirs.ramp_bp));
                prop_assert_eq!((ours.lease_s, ours.killed), (theirs.lease_s, theirs.killed));
                let default = theirs.default_weights.expect("ours insists on it");
                prop_assert_eq!(ours.default_weights.cosine.to_bits(), default.cosine.to_bits());
            }
            (Ok(_), Err(theirs)) => prop_assert!(theirs.to_string().contains("invalid wire type"), "{theirs}"),
            (Err(_), _) => {}
        }
        prop_assert!(PlanCell::default().publish(&bytes, 1).is_err(), "bytes without a seal");
    }
}
