//! The words of `lexicon.txt`, bound to one detector's label list.
//!
//! Every label is known by its own name and its plural. What the file adds (synonyms, irregular plurals,
//! phrases that look like a label and are none) applies to labels of the same name; a label's own name
//! always wins over another label's synonym.

use std::collections::{HashMap, HashSet};

use super::plural::{plural_of, singular_of};

const DATA: &str = include_str!("lexicon.txt");

/// What a phrase stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Label(Form),
    /// A thing, but none that the detector knows.
    OtherThing,
    Negator,
    /// Contains a negator's word without its sense.
    NotNegator,
    Relation(Side),
}

/// A phrase that names a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) label: u16,
    pub(super) number: Number,
    /// Names the label only where no further word of the same noun phrase follows.
    pub(super) adjective: bool,
}

/// Grammatical number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Singular,
    Plural,
    Either,
}

/// Where the subject of a relation must be, seen from its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Its centre is further left.
    Left,
    /// Its centre is further right.
    Right,
    /// Its centre is higher.
    Above,
    /// Its centre is lower.
    Below,
}

/// Phrases and word classes, for one label list.
#[derive(Debug)]
pub(super) struct Lexicon {
    phrases: HashMap<String, Meaning>,
    longest_phrase: usize,
    inexact: HashSet<&'static str>,
    function_words: HashSet<&'static str>,
    determiners: HashSet<&'static str>,
    numerals: Vec<&'static str>,
}

impl Lexicon {
    /// Binds the file to `labels`; a label's id is its position.
    pub(super) fn new(labels: &[String]) -> Lexicon {
        let mut lexicon = Lexicon {
            phrases: HashMap::new(),
            longest_phrase: 1,
            inexact: HashSet::new(),
            function_words: HashSet::new(),
            determiners: HashSet::new(),
            numerals: Vec::new(),
        };
        let names: Vec<String> = labels.iter().map(|label| normalise(label)).collect();
        // First come, first kept: names, then what follows from them by rule, then the file's synonyms.
        let spelt = spelt_forms();
        let own: Vec<_> = names.iter().zip(0..).map(|(name, label)| own_forms(name, label, &spelt)).collect();
        own.iter().for_each(|[(phrase, meaning), _]| lexicon.add_phrase(phrase, *meaning));
        own.iter().for_each(|[_, (phrase, meaning)]| lexicon.add_phrase(phrase, *meaning));
        lexicon.add_file(&names);
        lexicon
    }

    fn add_file(&mut self, names: &[String]) {
        let mut section = "";
        for line in data_lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
            } else if let Some((name, forms)) = line.split_once(" = ") {
                let label = names.iter().position(|own| own == name).map(|position| position as u16);
                forms.split(',').for_each(|form| self.add_form(&FormText::parse(form), label));
            } else {
                line.split(',').for_each(|entry| self.add_entry(section, entry.trim()));
            }
        }
    }

    fn add_form(&mut self, form: &FormText, label: Option<u16>) {
        for (phrase, number) in form.numbered() {
            let meaning = label.map_or(Meaning::OtherThing, |label| Meaning::Label(form.of(label, number)));
            self.add_phrase(&phrase, meaning);
        }
    }

    fn add_entry(&mut self, section: &str, entry: &'static str) {
        match section {
            "none" => self.add_form(&FormText::parse(entry), None),
            "negators" => self.add_phrase(entry, Meaning::Negator),
            "not negators" => self.add_phrase(entry, Meaning::NotNegator),
            "left of" => self.add_phrase(entry, Meaning::Relation(Side::Left)),
            "right of" => self.add_phrase(entry, Meaning::Relation(Side::Right)),
            "above" => self.add_phrase(entry, Meaning::Relation(Side::Above)),
            "below" => self.add_phrase(entry, Meaning::Relation(Side::Below)),
            "inexact" => drop(self.inexact.insert(entry)),
            "function words" => drop(self.function_words.insert(entry)),
            "determiners" => drop(self.determiners.insert(entry)),
            "numerals" => self.numerals.push(entry),
            // The file is compiled in: a test reads all of it.
            other => unreachable!("lexicon.txt: section [{other}]"),
        }
    }

    fn add_phrase(&mut self, phrase: &str, meaning: Meaning) {
        self.longest_phrase = self.longest_phrase.max(phrase.split(' ').count());
        self.phrases.entry(phrase.to_owned()).or_insert(meaning);
    }

    /// Words of the longest phrase.
    pub(super) fn longest_phrase(&self) -> usize {
        self.longest_phrase
    }

    /// The meaning of words joined by single spaces.
    pub(super) fn meaning(&self, phrase: &str) -> Option<Meaning> {
        self.phrases.get(phrase).copied()
    }

    /// 1..=12, in words or digits.
    pub(super) fn numeral(&self, word: &str) -> Option<u8> {
        let by_name = self.numerals.iter().position(|name| *name == word).map(|position| position as u8 + 1);
        by_name.or_else(|| word.parse().ok().filter(|number| (1..=12).contains(number)))
    }

    /// Makes a numeral after it a bound or a guess.
    pub(super) fn is_inexact(&self, word: &str) -> bool {
        self.inexact.contains(word)
    }

    /// Ends a noun phrase.
    pub(super) fn is_function_word(&self, word: &str) -> bool {
        self.function_words.contains(word)
    }

    /// Begins a noun phrase.
    pub(super) fn is_determiner(&self, word: &str) -> bool {
        self.determiners.contains(word)
    }
}

fn data_lines() -> impl Iterator<Item = &'static str> {
    DATA.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A label's name, then its other number: from the file where it spells the name, else by rule.
fn own_forms(name: &str, label: u16, spelt: &HashMap<&str, FormText>) -> [(String, Meaning); 2] {
    if let Some(form) = spelt.get(name) {
        return form.numbered().map(|(phrase, number)| (phrase, Meaning::Label(form.of(label, number))));
    }
    let form = |number| Meaning::Label(Form { label, number, adjective: false });
    match singular_of(name) {
        Some(singular) => [(name.to_owned(), form(Number::Either)), (singular, form(Number::Singular))],
        None => [(name.to_owned(), form(Number::Singular)), (plural_of(name), form(Number::Plural))],
    }
}

/// Every form of every entry, by its singular: "woman" has an irregular plural as a label of its own, too.
fn spelt_forms() -> HashMap<&'static str, FormText> {
    let entries = data_lines().filter_map(|line| line.split_once(" = "));
    let forms = entries.flat_map(|(_, forms)| forms.split(',')).map(FormText::parse);
    forms.map(|form| (form.singular, form)).collect()
}

/// `singular`, `singular~` or `singular:plural`.
struct FormText {
    singular: &'static str,
    plural: Option<&'static str>,
    adjective: bool,
}

impl FormText {
    fn parse(text: &'static str) -> FormText {
        let text = text.trim();
        match (text.split_once(':'), text.strip_suffix('~')) {
            (Some((singular, plural)), _) => FormText { singular, plural: Some(plural), adjective: false },
            (None, Some(singular)) => FormText { singular, plural: None, adjective: true },
            (None, None) => FormText { singular: text, plural: None, adjective: false },
        }
    }

    /// The singular, then the plural.
    fn numbered(&self) -> [(String, Number); 2] {
        let plural = self.plural.map_or_else(|| plural_of(self.singular), str::to_owned);
        let singular = if plural == self.singular { Number::Either } else { Number::Singular };
        [(self.singular.to_owned(), singular), (plural, Number::Plural)]
    }

    fn of(&self, label: u16, number: Number) -> Form {
        Form { label, number, adjective: self.adjective && number != Number::Plural }
    }
}

/// A label's name as its words appear in a text: lower case, single spaces.
fn normalise(name: &str) -> String {
    let words: Vec<String> = super::query_words::words(name).collect();
    words.join(" ")
}
