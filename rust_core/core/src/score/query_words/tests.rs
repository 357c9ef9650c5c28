//! Queries and what they say, label by label, for the COCO detector and for another one.
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use super::*;
use crate::limits::MAX_TEXT_BYTES;
use proptest::prelude::*;

/// The labels of the COCO detector, in its order.
const COCO: &str = "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,\
    fire hydrant,stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,\
    umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,\
    surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,\
    carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,\
    keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,\
    toothbrush";

/// A detector with names of its own.
const OTHER: &str = "Golden_Gate-Bridge,flowers,glass,berry,dog,woman,man";

fn labels(list: &str) -> Vec<String> {
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

/// Facts with names instead of ids, one space between all: `+cat -dog cat=2 cat<table`.
fn facts(text: &str, list: &str) -> String {
    let labels = labels(list);
    let name = |label: u16| labels[usize::from(label)].replace(' ', "_");
    let facts =
        if list == COCO { WordFacts::read(text, &LEXICON) } else { WordFacts::read(text, &Lexicon::new(&labels)) };
    let named = facts.named.iter().map(|label| format!("+{}", name(*label)));
    let ruled_out = facts.ruled_out.iter().map(|label| format!("-{}", name(*label)));
    let counts = facts.counts.iter().map(|fact| format!("{}={}", name(fact.label), fact.count));
    let relations =
        facts.relations.iter().map(|fact| format!("{}:{:?}:{}", name(fact.subject), fact.side, name(fact.object)));
    named.chain(ruled_out).chain(counts).chain(relations).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, wanted) in cases {
        assert_eq!(facts(text, COCO), *wanted, "{text:?}");
    }
}

#[test]
fn labels_by_name_plural_and_synonym() {
    check(&[
        ("a dog", "+dog"),
        ("Dogs!", "+dog"),
        ("puppies and kittens", "+dog +cat"),
        ("wine glasses", "+wine_glass"),
        ("a glass of wine", "+wine_glass"),
        ("people on benches", "+person +bench"),
        ("women, men and children", "+person"),
        ("knives", "+knife"),
        ("buses near a bus stop", "+bus"),
        ("sheep", "+sheep"),
        ("an old-fashioned motor bike", "+motorcycle"),
        ("TV", "+tv"),
        ("a cellphone & a laptop", "+cell_phone +laptop"),
        ("skis", "+skis"),
        ("teeth", ""),
        ("a sunset over the sea", ""),
        ("", ""),
    ]);
}

#[test]
fn the_longest_phrase_wins() {
    check(&[
        ("hot dog", "+hot_dog"),
        ("hot dogs", "+hot_dog"),
        ("teddy bear", "+teddy_bear"),
        ("a bear with a teddy bear", "+bear +teddy_bear"),
        ("apple pie", ""),
        ("a clock tower", ""),
        ("a dog in a dog house", "+dog"),
        ("baseball players with baseball bats", "+person +baseball_bat"),
        ("an orange", "+orange"),
        ("oranges in a bowl", "+orange +bowl"),
        ("an orange cat", "+cat"),
    ]);
}

#[test]
fn a_phrase_covers_its_words_though_the_detector_lacks_it() {
    assert_eq!(facts("a hot dog", "dog,cat"), "");
    assert_eq!(facts("a teddy bear and a cat", "bear,cat"), "+cat");
}

#[test]
fn negation() {
    check(&[
        ("no people", "-person"),
        ("without a cup", "-cup"),
        ("a beach without people", "-person"),
        ("a dog, no cats", "+dog -cat"),
        ("no big old dogs", "-dog"),
        ("street without cars or buses", "-car -bus"),
        ("street without cars, bikes or buses", "-car -bicycle -bus"),
        ("no cats and dogs", "-cat -dog"),
        ("no cats and a dog", "+dog -cat"),
        ("no cats, dogs on a beach", "+dog -cat"),
        ("no one with a dog", "+dog"),
        ("not only a dog", "+dog"),
        ("no hot dog and a dog", "+dog -hot_dog"),
        ("a dog but no dog", "-dog"),
        ("no clock tower, a clock", "+clock"),
    ]);
}

#[test]
fn counts() {
    check(&[
        ("two dogs", "+dog dog=2"),
        ("2 dogs", "+dog dog=2"),
        ("twelve big red apples", "+apple apple=12"),
        ("13 apples", "+apple"),
        ("one dog", "+dog dog=1"),
        ("a dog", "+dog"),
        ("an apple", "+apple"),
        ("three sheep and two cats", "+sheep +cat sheep=3 cat=2"),
        ("two people", "+person person=2"),
        ("a man and two women", "+person"),
        ("a two person tent", "+person"),
        ("about two dogs", "+dog"),
        ("at least two dogs", "+dog"),
        ("no more than two dogs", "+dog"),
        ("two or three dogs", "+dog"),
        ("next to two dogs", "+dog dog=2"),
        ("two of the dogs", "+dog"),
        ("2 story house with dogs", "+dog"),
        ("two wine glasses", "+wine_glass wine_glass=2"),
        ("no two dogs", "-dog"),
    ]);
}

#[test]
fn relations() {
    check(&[
        ("a cat on top of a table", "+cat +dining_table cat:Above:dining_table"),
        ("a cat under the small table", "+cat +dining_table cat:Below:dining_table"),
        ("dog left of a cat", "+dog +cat dog:Left:cat"),
        ("a dog is sitting to the left of two cats", "+dog +cat cat=2 dog:Left:cat"),
        ("a dog to the right of a cat", "+dog +cat dog:Right:cat"),
        ("a kite above people", "+kite +person kite:Above:person"),
        ("birds below an airplane", "+bird +airplane bird:Below:airplane"),
        ("a dog above a puppy", "+dog"),
        ("a dog, left of a cat", "+dog +cat"),
        ("no dog left of a cat", "+cat -dog"),
        ("a dog near a tree above a cat", "+dog +cat dog:Above:cat"),
        ("a dog on the grass under a cloud", "+dog"),
        ("above a table", "+dining_table"),
        ("a cat under", "+cat"),
    ]);
}

#[test]
fn labels_of_another_detector_go_by_their_own_names() {
    let cases = [
        ("the golden gate bridge", "+Golden_Gate-Bridge"),
        ("golden gate bridges", "+Golden_Gate-Bridge"),
        ("one flower", "+flowers flowers=1"),
        ("flowers without berries", "+flowers -berry"),
        ("three glasses", "+glass glass=3"),
        ("two women", "+woman woman=2"),
        ("two puppies", "+dog dog=2"),
        ("people", ""),
        ("a cat", ""),
    ];
    for (text, wanted) in cases {
        assert_eq!(facts(text, OTHER), wanted, "{text:?}");
    }
}

#[test]
fn a_label_keeps_its_own_name_against_a_synonym() {
    assert_eq!(facts("a puppy and dogs", "dog,puppy"), "+puppy +dog");
    assert_eq!(facts("skis", "ski,skis"), "+skis");
    assert_eq!(facts("people", "person,people"), "+people");
}

#[test]
fn every_coco_label_has_an_entry_and_works_in_both_numbers() {
    let labels = labels(COCO);
    assert_eq!(labels.len(), 80);
    let lexicon = Lexicon::new(&labels);
    for (id, label) in (0u16..).zip(&labels) {
        assert_eq!(WordFacts::read(label, &lexicon).named, [id], "{label}");
        assert!(include_str!("../lexicon.txt").contains(&format!("\n{label} = ")), "{label}: no entry");
    }
    for (plural, label) in [
        ("people", "person"),
        ("buses", "bus"),
        ("knives", "knife"),
        ("mice", "mouse"),
        ("benches", "bench"),
        ("sandwiches", "sandwich"),
        ("couches", "couch"),
        ("cell phones", "cell phone"),
        ("toothbrushes", "toothbrush"),
    ] {
        assert_eq!(facts(plural, COCO), format!("+{}", label.replace(' ', "_")));
    }
}

#[test]
fn two_bindings_of_one_list_agree() {
    let labels = labels("skis,ski,dogs,dog,person,man,people");
    for text in ["ski", "skis", "dogs", "dog", "people", "men", "children"] {
        let read = |_| WordFacts::read(text, &Lexicon::new(&labels));
        assert!((0..8).map(read).all(|facts| facts == read(0)), "{text}");
    }
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::new(&labels(COCO)));

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC{0,200}") {
        let facts = WordFacts::read(&text, &LEXICON);
        prop_assert!(facts.named.iter().all(|label| !facts.ruled_out.contains(label)));
    }

    #[test]
    fn facts_stay_within_the_labels_that_are_mentioned(
        words in prop::collection::vec(prop::sample::select(vec![
            "no", "two", "3", "dog", "cats", "table", "left of", "above", "or", "and", "a", ",", "red", "without", "of",
        ]), 0..40)
    ) {
        let text = words.join(" ");
        prop_assume!(text.len() <= MAX_TEXT_BYTES);
        let facts = WordFacts::read(&text, &LEXICON);
        for fact in &facts.counts {
            prop_assert!(facts.named.contains(&fact.label) && (1..=12).contains(&fact.count));
        }
        for fact in &facts.relations {
            prop_assert!(fact.subject != fact.object);
        }
        prop_assert!(facts.named.iter().chain(&facts.ruled_out).count() <= 3);
    }
}
