//! SIGKILL at any moment of a publication leaves the old generation or the new one, whole.
//!
//! The publisher is this test binary, started again with a gallery in its environment.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ra_guard_core::shard::{Dtype, Generation, PublisherLock};

use crate::fixture::{Gallery, OwnedRow, Random, rows, spec, write};

const GALLERY: &str = "RA_GUARD_TEST_GALLERY";
const KILLS: usize = 240;
/// What a child says before each publication.
const PROGRESS: &str = "publishing";

/// The rows of generation `number`: each tells by its phash where it belongs.
fn rows_of(number: u64) -> Vec<OwnedRow> {
    let mut rows = rows(number, 30, 16);
    rows.iter_mut().for_each(|row| row.phash = number);
    rows
}

/// Publishes one generation after the other until it is killed.
#[test]
#[ignore = "runs as the child of kill_at_random_points"]
fn publish_until_killed() {
    let Some(gallery) = std::env::var_os(GALLERY) else {
        return;
    };
    let gallery = Path::new(&gallery);
    let lock = PublisherLock::acquire(gallery).unwrap();
    let mut number = Generation::open(gallery, None).unwrap().number();
    loop {
        eprintln!("{PROGRESS}");
        // The process id keeps clear of what an earlier child left over.
        let name = format!("{number}-{}.shard", std::process::id());
        write(&gallery.join("shards").join(&name), spec(16, Dtype::F16), &rows_of(number)).unwrap();
        // A number may be used up by an earlier child's manifest: the shard says which number it expected at least.
        let published = lock.publish(&[&name], number).unwrap();
        assert!(published > number);
        number = published;
    }
}

fn spawn_publisher(gallery: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::publish_until_killed", "--ignored", "--nocapture"])
        .env(GALLERY, gallery)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills a child that has published `publications` times, `delay` after it began to publish once more.
fn kill_during_publication(gallery: &Path, publications: u64, delay: Duration) {
    let mut child = spawn_publisher(gallery);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..=publications {
        assert_eq!(said.next().expect("the child lives until it is killed").unwrap(), PROGRESS);
    }
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Opens what CURRENT names, verifies it, and checks that it holds its own rows; returns its number.
fn inspect(gallery: &Path) -> u64 {
    let generation = Generation::open(gallery, None).unwrap();
    generation.verify().unwrap();
    let expected = generation.manifest().created_unix_s;
    let wanted = rows_of(expected);
    let mut handles = Vec::new();
    generation.lookup(wanted.iter().map(|row| row.id.as_slice()), &mut handles);
    for handle in handles {
        assert!(handle.is_known());
        assert_eq!(generation.phash(handle), expected);
    }
    generation.number()
}

/// Whether there is anything that no finished publication leaves: the kill came in the middle of one.
fn left_something_over(gallery: &Path, current: u64) -> bool {
    let listed = Generation::open(gallery, None).unwrap().manifest().shards[0].file.clone();
    let newest = format!("{current}-");
    let manifest = names(gallery, "generations").contains(&format!("{:010}.json", current + 1));
    let shard = names(gallery, "shards").iter().any(|name| name.starts_with(&newest) && *name != listed);
    has_temporary_files(gallery) || manifest || shard
}

#[test]
fn kill_at_random_points() {
    let seed = 0x5eed_0001;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let gallery = Gallery::new();
    write(&gallery.shard("0.shard"), spec(16, Dtype::F16), &rows_of(0)).unwrap();
    let mut current = ra_guard_core::shard::publish_manifest(gallery.path(), &["0.shard"], 0).unwrap();
    let mut interrupted = 0;
    for _ in 0..KILLS {
        let publications = random.below(3);
        kill_during_publication(gallery.path(), publications, Duration::from_micros(random.below(6_000)));
        let now = inspect(gallery.path());
        assert!(now >= current + publications, "CURRENT is {now}, was {current} before {publications} publications");
        interrupted += usize::from(left_something_over(gallery.path(), now));
        current = now;
        discard_shards_but(gallery.path(), now);
    }
    let lock = PublisherLock::acquire(gallery.path()).unwrap();
    write(&gallery.shard("last.shard"), spec(16, Dtype::F16), &rows_of(current)).unwrap();
    assert!(lock.publish(&["last.shard"], current).unwrap() > current);
    assert!(!has_temporary_files(gallery.path()), "a publication sweeps what killed writers left");
    println!("{interrupted} of {KILLS} kills came in the middle of a publication");
    assert!(interrupted > 0);
}

/// Names in a folder of the gallery.
fn names(gallery: &Path, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(gallery.join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Whether a file in the making is left in the gallery.
fn has_temporary_files(gallery: &Path) -> bool {
    ["", "generations", "shards"].iter().any(|folder| names(gallery, folder).iter().any(|name| name.ends_with(".tmp")))
}

/// Removes the shards that no later child needs.
fn discard_shards_but(gallery: &Path, current: u64) {
    let listed = Generation::open(gallery, Some(current)).unwrap().manifest().shards[0].file.clone();
    for name in names(gallery, "shards").into_iter().filter(|name| name.ends_with(".shard") && *name != listed) {
        std::fs::remove_file(gallery.join("shards").join(name)).unwrap();
    }
}
